"""The Python API: a run opened from Python, its bad input, and what it leaves alone."""

import dataclasses
import logging
import os
import shutil
import signal
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tensorboardX  # sets an environment variable when it is imported

import vae_gan_jax
from tests import runs
from tests.runs import frames_of
from vae_gan_jax import modes
from vae_gan_jax.film.store import preparation, run_frames
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.run import film_names
from vae_gan_jax.training.checkpoint import Checkpoints

assert tensorboardX
NETWORKS = ("thesis", "residual")


def learn(run_dir, small, film, frames_THWC, **settings):
    """A run that learnt the film, with prepared frames."""
    config = runs.make(run_dir, small, film, frames_THWC, crop="none", **settings)
    store = preparation.prepare(
        [str(film)], run_frames.store_folder(config), run_frames.framing_of(config)
    )
    film_names.record_learnt_films(config.run_dir, store.manifest["films"])
    return config


@pytest.fixture(scope="module", params=NETWORKS)
def run_dir(request, small, film, frames_THWC, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "mine"
    learn(folder, small, film, frames_THWC, networks=request.param)
    return folder


@pytest.fixture(scope="module")
def thesis_dir(small, film, frames_THWC, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "thesis"
    learn(folder, small, film, frames_THWC)
    return folder


@pytest.fixture(scope="module")
def model(run_dir):
    return vae_gan_jax.open(run_dir)


def contents(folder) -> dict[str, tuple[int, int]]:
    """The size and time of change of each file and folder below a folder."""
    status = {str(path): path.stat() for path in Path(folder).rglob("*")}
    return {path: (each.st_size, each.st_mtime_ns) for path, each in status.items()}


def process_state():
    """What a library must leave alone."""
    loggers = [logging.getLogger(), logging.getLogger("vae_gan_jax")]
    numbers = signal.SIGTERM, signal.SIGINT
    return (
        [(list(log.handlers), log.level, log.propagate, log.disabled) for log in loggers],
        [signal.getsignal(number) for number in numbers],
        sorted(os.environ.items()),
        jax.config.jax_compilation_cache_dir,
    )


def test_codes_decode_to_the_reconstruction_bit_for_bit(model, tmp_path):
    """26 frames in batches of 4, as arrays and as files; ffv1 keeps every bit."""
    frames_THWC = np.stack(list(model.film.frames()))
    codes = model.encode(frames_THWC)
    assert codes.mean.shape == codes.log_variance.shape == (26, model.settings["z_dim"])
    output_THWC = model.decode(codes.mean)
    pairs = reconstruct.reconstruct_frames(model, frames_THWC)
    expected = np.concatenate([output_BHWC for _, output_BHWC in pairs])
    np.testing.assert_array_equal(output_THWC, expected)
    assert output_THWC.dtype == np.uint8
    lossless = dataclasses.replace(model, config=dataclasses.replace(model.config, codec="ffv1"))
    path = lossless.reconstruct(output=tmp_path / "film.mkv")
    np.testing.assert_array_equal(frames_of(path), expected)
    from_codes = lossless.decode_film(
        lossless.encode_film(), output=tmp_path / "codes.mkv", sound=model.film.path
    )
    assert from_codes.read_bytes() == path.read_bytes()


def test_a_film_has_times_shots_and_frames(model, film):
    assert (model.film.count, model.film.rate) == (26, Fraction(24000, 1001))
    assert model.film.shots == [(0, 26)]
    frames_THWC = frames_of(film)
    number = model.film.number(0.5)
    np.testing.assert_array_equal(model.film.at([number, 3]), frames_THWC[[number, 3]])
    codes = model.encode_film()
    np.testing.assert_allclose(codes.times, np.arange(26) * 1001 / 24000)
    assert (codes.rate, codes.shots.tolist()) == (Fraction(24000, 1001), [[0, 26]])
    np.testing.assert_array_equal(codes.mean, model.encode(frames_THWC).mean)
    other = model.encode_film(film)  # by its path
    np.testing.assert_array_equal(other.mean, codes.mean)
    assert other.shots.tolist() == [[0, 26]]
    with pytest.raises(vae_gan_jax.InputError, match="frame=26 is out of range: give 0 to 25"):
        model.film.at([26])


def test_samples_depend_on_the_seed_alone(model):
    first, more, other = model.sample(3, seed=1), model.sample(6, seed=1), model.sample(3, seed=2)
    assert first.shape == (3, 18, 20, 3)
    np.testing.assert_array_equal(more[:3], first)
    assert (other != first).any()


def test_directions_are_principal_components(model):
    codes = model.encode_film()
    directions = model.directions(2)
    assert directions.components_KZ.shape == (2, 3)
    along_T2 = (codes.mean - directions.mean_Z) @ directions.components_KZ.T
    np.testing.assert_allclose(along_T2.std(axis=0, ddof=1), directions.std_K, rtol=1e-3)
    assert directions.std_K[0] > directions.std_K[1]
    given = model.directions(2, codes)
    np.testing.assert_array_equal(given.components_KZ, directions.components_KZ)


def test_one_compilation_serves_all_lengths(model, frames_THWC):
    jax.clear_caches()
    events = []

    def listen(event, seconds, **_):
        if event == "/jax/core/compile/backend_compile_duration":
            events.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        model.decode(model.encode(frames_THWC[:4]).mean)
        assert events
        before = len(events)
        for length in (1, 3, 5, 10):
            model.decode(model.encode(frames_THWC[:length]).mean)
        assert len(events) == before
    finally:
        jax.monitoring.clear_event_listeners()


def test_opening_leaves_the_run_and_the_process_alone(thesis_dir, tmp_path):
    run_dir = tmp_path / "run"
    shutil.copytree(thesis_dir, run_dir)
    shutil.rmtree(run_dir / "batch_norm_statistics")  # estimated again, but not written
    shutil.copytree(run_dir / "checkpoints" / "6", run_dir / "checkpoints" / "8")
    (run_dir / "checkpoints" / "8" / "checksums.json").unlink()  # damaged, but not renamed
    before, state = contents(run_dir), process_state()
    model = vae_gan_jax.open(run_dir)
    assert model.step == 6
    model.directions(1)
    model.sample(2)
    model.reconstruct(output=tmp_path / "film.mp4")
    model.decode_film(model.encode(model.film.at([0, 3])), output=tmp_path / "two.mp4")
    assert contents(run_dir) == before
    assert process_state() == state


@pytest.mark.slow
def test_training_from_python(film, tmp_path):
    """As ``--mode=train``: the same command resumes, and the lock is released."""
    settings = dict(
        width=20, height=18, filters=2, z_dim=3, batch_size=4, noise_schedule=[0], crop="none",
        sample_every="0",
    )  # fmt: skip
    state = process_state()
    model = vae_gan_jax.train(film, tmp_path / "run", **settings)
    assert process_state() == state
    assert model.step == 26 // 4
    assert model.settings["noise_schedule"] == (0,)
    opened = vae_gan_jax.open(tmp_path / "run")
    frames_THWC = model.film.at(range(5))
    np.testing.assert_array_equal(opened.encode(frames_THWC).mean, model.encode(frames_THWC).mean)
    longer = vae_gan_jax.train(film, tmp_path / "run", noise_schedule=(0.0, 0.1))
    assert longer.step == 2 * (26 // 4)
    with pytest.raises(vae_gan_jax.InputError, match="--width=40 disagrees with the run"):
        vae_gan_jax.train(film, tmp_path / "run", width=40)


def test_an_interrupt_saves_a_checkpoint(film, tmp_path, monkeypatch):
    from vae_gan_jax.training.monitoring.run_log import RunLog

    def interrupt(*_):
        signal.raise_signal(signal.SIGINT)

    state = process_state()
    monkeypatch.setattr(RunLog, "line", interrupt)
    with pytest.raises(KeyboardInterrupt):
        vae_gan_jax.train(
            film, tmp_path, width=20, height=18, filters=2, z_dim=3, batch_size=4,
            noise_schedule=[0, 0, 0], crop="none",
        )  # fmt: skip
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps
    assert process_state() == state


def test_a_run_in_use_is_refused(film, thesis_dir, tmp_path):
    import filelock

    run_dir = tmp_path / "run"
    shutil.copytree(thesis_dir, run_dir)
    with filelock.FileLock(run_dir / ".lock"):
        with pytest.raises(vae_gan_jax.InputError, match="is in use by another process"):
            vae_gan_jax.train(film, run_dir)
        assert vae_gan_jax.open(run_dir).step == 6


OPENINGS = {
    "no run": (lambda run, empty: vae_gan_jax.open(empty), "has no checkpoint: train it first"),
    "a folder": (lambda run, empty: vae_gan_jax.open(empty.parent), "is not a run folder"),
    "a setting": (lambda run, empty: vae_gan_jax.open(run, colour=3), "no setting colour"),
    "a value": (lambda run, empty: vae_gan_jax.open(run, codec=3), "--codec=3 is not one of h264"),
    "a type": (lambda run, empty: vae_gan_jax.open(run, upscale=3), "--upscale=3 is not a value"),
    "a source": (lambda run, empty: vae_gan_jax.open(run, source="a.mp4"), "does not take source"),
    "a fixed one": (lambda run, empty: vae_gan_jax.open(run, z_dim=8), "--z_dim=8 disagrees"),
    "no film": (lambda run, empty: vae_gan_jax.train("none.mp4", empty), "there is no film"),
}


@pytest.mark.parametrize(("call", "words"), OPENINGS.values(), ids=OPENINGS)
def test_what_cannot_be_opened_is_one_sentence(call, words, thesis_dir, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "other.txt").touch()
    with pytest.raises(vae_gan_jax.InputError, match=words) as refusal:
        call(thesis_dir, tmp_path / "empty")
    assert str(refusal.value).endswith(".")
    assert "\n" not in str(refusal.value)


FRAMES = {
    "a size": np.zeros((2, 18, 21, 3), np.uint8),
    "a type": np.zeros((2, 18, 20, 3), np.float32),
    "one frame": np.zeros((18, 20, 3), np.uint8),
    "grey": np.zeros((2, 18, 20), np.uint8),
    "nothing": None,
    "texts": ["a", "b"],
    "a number": np.array(3),
    "ragged": [[[1], [2, 3]]],
}
LATENTS = {
    "dimensions": (np.zeros((2, 4)), "4 dimensions and the model's codes have 3"),
    "one code": (np.zeros(3), r"shape \[3\]"),
    "NaN": (np.array([[0.0, np.nan, 0.0]]), "not finite"),
    "infinity": (np.array([[0.0, np.inf, 0.0]]), "not finite"),
    "too large": (np.array([[0.0, 1e300, 0.0]]), "not finite"),
    "objects": (np.array([[None, 1, 2]]), "not an array of numbers"),
    "ragged": ([[1, 2, 3], [1]], "not an array of numbers"),
    "nothing": (None, "not an array of numbers"),
}


@pytest.mark.parametrize("frames", FRAMES.values(), ids=FRAMES)
def test_other_frames_are_refused(frames, thesis):
    with pytest.raises(vae_gan_jax.InputError, match=r"give an array \[T, 18, 20, 3\] of uint8"):
        thesis.encode(frames)


@pytest.mark.parametrize(("latents", "words"), LATENTS.values(), ids=LATENTS)
def test_other_latents_are_refused(latents, words, thesis):
    with pytest.raises(vae_gan_jax.InputError, match=words):
        thesis.decode(latents)


@pytest.fixture(scope="module")
def thesis(thesis_dir):
    return vae_gan_jax.open(thesis_dir)


def test_other_numbers_are_refused(thesis, film, tmp_path):
    for call, words in {
        lambda: thesis.directions(0): "give 1 to 3",
        lambda: thesis.directions(1, vae_gan_jax.Codes([[0, 0, 0]])): "two codes or more",
        lambda: thesis.sample(-1): "n=-1",
        lambda: thesis.sample(2, seed=-1): "seed=-1 is out of range",
        lambda: thesis.reconstruct("none.mp4", output=tmp_path / "a.mp4"): "there is no film",
        lambda: thesis.reconstruct(output=tmp_path / "none" / "a.mp4"): "no folder",
        lambda: thesis.reconstruct(output=tmp_path / "a.txt"): "a.txt",
        lambda: thesis.encode_film(tmp_path): "no",
        lambda: thesis.encode_film(3): "film=3 is not a path",
        lambda: thesis.reconstruct(output=None): "output=None is not a path",
        lambda: thesis.decode_film(None, output=tmp_path / "a.mp4"): "not an array of numbers",
        lambda: thesis.decode_film(np.zeros((2, 3)), output=film): "would replace .*film.mp4",
        lambda: thesis.reconstruct(output=film): "would replace .*film.mp4",
        lambda: thesis.sample(2.5): "n=2.5 is not a whole number",
        lambda: thesis.sample(2, seed="a"): "seed='a' is not a whole number",
        lambda: thesis.directions("1"): "n='1' is not a whole number",
        lambda: thesis.sample(10**12): "n=10+ samples do not fit into memory: give [0-9]+ or fewer",
        lambda: thesis.encode_film(film, progress=3): "progress=3 is not a function",
        lambda: thesis.with_latent_statistics(np.zeros((3, 3))): "give 4 latents or more",
        lambda: thesis.encode_film("x" * 5000): "File name too long",
        lambda: thesis.play(np.zeros((2, 3)), "a\0b"): "'a.*b' is not a path",
        lambda: vae_gan_jax.train(film, "a\0b"): "has a NUL character",
        lambda: thesis.film.at(0): "0 is not a list of frame numbers",
        lambda: thesis.film.at([0.5]): "frame=0.5 is not a whole number",
        lambda: thesis.film.number(float("nan")): "seconds=nan is not a finite number",
        lambda: thesis.play(np.zeros((2, 3)), None): "preset=None is not a path",
        lambda: vae_gan_jax.open(film): "Not a directory",
    }.items():
        with pytest.raises(vae_gan_jax.InputError, match=words):
            call()


def test_every_argument_of_another_kind_is_refused(thesis, film, tmp_path):
    codes, learnt, output = vae_gan_jax.Codes(np.zeros((2, 3))), thesis.film, tmp_path / "a.mp4"
    (tmp_path / "mine.yaml").write_text("controls: [{control: truncate, amount: 0.5}]")
    preset = tmp_path / "mine.yaml"
    calls = {
        "encode": thesis.encode,
        "decode": thesis.decode,
        "decode_batches": lambda value: list(thesis.decode_batches(value)),
        "sample": thesis.sample,
        "seed": lambda value: thesis.sample(1, seed=value),
        "directions": lambda value: thesis.directions(value, codes),
        "with_latent_statistics": thesis.with_latent_statistics,
        "encode_film": lambda value: thesis.encode_film("none" if value is None else value),
        "progress": lambda value: thesis.encode_film("none", progress=value),
        "decode_film": lambda value: thesis.decode_film(value, output=output),
        "output": lambda value: thesis.decode_film(codes, output=value),
        "sound": lambda value: thesis.decode_film(codes, output=output, sound=value or "none"),
        "reconstruct": lambda value: thesis.reconstruct(film, output=value),
        "play": lambda value: thesis.play(value, preset),
        "preset": lambda value: thesis.play(codes, value),
        "time": lambda value: thesis.play(codes, preset, time=value),
        "rate": lambda value: thesis.play(codes, preset, rate=value or "none"),
        "at": learnt.at,
        "frame": lambda value: learnt.at([value]),
        "number": learnt.number,
        "seconds": learnt.seconds,
        "frames": learnt.frames,
        "Codes": vae_gan_jax.Codes,
        "times": lambda value: vae_gan_jax.Codes(codes.mean, times=value or "none"),
        "codes' rate": lambda value: vae_gan_jax.Codes(codes.mean, rate=value or "none"),
        "film_frames": codes.film_frames,
        "save": codes.save,
        "load": vae_gan_jax.Codes.load,
        "open": vae_gan_jax.open,
        "width": lambda value: vae_gan_jax.open(thesis.config.run_dir, codec=value),
    }
    values = None, "none", "a\0b", "x" * 5000, [1.5], float("nan"), 10**5000, object(), 1j
    for name, call in calls.items():
        for value in values:
            with pytest.raises(vae_gan_jax.InputError, match=r"\.$"):
                pytest.fail(f"{name} takes {type(value)} and returns {type(call(value))}")


def test_codes_that_were_changed_in_place_are_checked_again(thesis, tmp_path):
    codes = vae_gan_jax.Codes(np.zeros((2, 3)))
    codes.made_from = None
    with pytest.raises(vae_gan_jax.InputError, match="made_from of codes is not a dict"):
        thesis.decode_film(codes, output=tmp_path / "a.mp4")


def test_numpys_and_jaxs_numbers_are_as_good_as_pythons(thesis, film, tmp_path):
    seed, z_TZ = np.uint32(7), np.float32([[0, 0.5, 1], [1, 0, 0.5]])
    np.testing.assert_array_equal(thesis.sample(np.int64(2), seed=seed), thesis.sample(2, seed=7))
    expected_THWC = thesis.decode(z_TZ)
    for latents in (jnp.asarray(z_TZ), jnp.asarray(z_TZ, jnp.bfloat16), np.asfortranarray(z_TZ)):
        np.testing.assert_array_equal(thesis.decode(latents), expected_THWC)
    path = thesis.decode_film(z_TZ, output=os.fsencode(tmp_path / "two.mkv"))
    assert len(frames_of(path)) == 2


def test_the_import_is_cheap():
    """It imports neither jax nor absl nor what draws and serves; opening imports them."""
    code = (
        "import sys, vae_gan_jax;"
        "heavy = {'jax', 'flax', 'orbax', 'absl', 'matplotlib', 'fsspec', 'scipy'};"
        "sys.exit(','.join(heavy & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        cwd=Path(vae_gan_jax.__file__).parent.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_decode_mode_opens_a_run_as_the_api_does(thesis_dir):
    config = modes.resolve({"run_dir": str(thesis_dir)}, "decode")
    assert vae_gan_jax.open(thesis_dir).config == config


def test_play_passes_frames_and_codes_through_a_preset(model, tmp_path):
    """A neutral preset reconstructs; curves start at the given time."""
    preset = tmp_path / "mine.yaml"
    preset.write_text("controls: [{control: truncate, amount: {keys: [[1, 0], [1.01, 1]]}}]")
    codes = model.encode_film()
    frames_THWC, expected_THWC = model.film.at(range(5)), model.decode(codes.mean[:5])
    np.testing.assert_array_equal(model.play(frames_THWC, preset), expected_THWC)
    np.testing.assert_array_equal(model.play(codes.mean[:5], preset), expected_THWC)
    assert len(model.play(codes, preset)) == 26
    truncated_THWC = model.play(frames_THWC, preset, time=2.0)
    np.testing.assert_array_equal(truncated_THWC, np.repeat(truncated_THWC[:1], 5, axis=0))
    jax_THWC = model.play(jnp.asarray(codes.mean[:5]), preset, rate="24000/1001")
    np.testing.assert_array_equal(jax_THWC, expected_THWC)
    for arguments, words in (
        ({"preset": tmp_path / "none.yaml"}, "cannot be read"),
        ({"time": float("nan")}, "time=nan is not a finite number"),
        ({"time": 1e20}, r"time=1e\+20 is not a finite number up to 1e\+06"),
        ({"rate": float("inf")}, "is not a frame rate"),
        ({"rate": [24]}, "is not a frame rate"),
    ):
        with pytest.raises(vae_gan_jax.InputError, match=words):
            model.play(frames_THWC, **{"preset": preset} | arguments)
