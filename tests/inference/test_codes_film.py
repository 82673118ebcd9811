"""The modes encode and decode: codes as files, and the films of such files."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests import runs
from tests.runs import frames_of
from vae_gan_jax import modes
from vae_gan_jax.config import InputError
from vae_gan_jax.film.read import video
from vae_gan_jax.film.write import segments
from vae_gan_jax.inference import codes_film, opened_run, reconstruct_film
from vae_gan_jax.inference.codes import Codes
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import provenance

pytestmark = pytest.mark.usefixtures("log_closed")


@pytest.fixture(scope="module")
def original(small, film, frames_THWC, tmp_path_factory):
    """A run of its own copy of the film, which starts at 0.25 s; with codes."""
    folder = tmp_path_factory.mktemp("runs")
    path = shutil.copy(film, folder / "mine.mp4")
    config = runs.make(folder / "run", small, path, frames_THWC, crop="none", trim_start=0.25)
    codes_film.encode_films(config, again=True)
    return config


@pytest.fixture
def run(original, tmp_path):
    """A copy of the run, for one test."""
    shutil.copytree(original.run_dir, tmp_path / "run")
    return dataclasses.replace(original, run_dir=str(tmp_path / "run"))


def file_of(config) -> Path:
    return Path(config.run_dir) / "codes" / "mine.npz"


def decode(config, **given) -> Path:
    """``--mode=decode`` of the run's codes, as the command resolves its settings."""
    given = {"run_dir": config.run_dir, "codes": str(file_of(config))} | given
    config = modes.resolve(given, "decode")
    for step in modes.MODES["decode"].steps:
        step(config, True)
    name = Path(given["codes"]).with_suffix(".mp4").name
    return Path(config.output or Path(config.run_dir, "codes", name))


def test_encode_then_decode_writes_the_film_of_reconstruct_byte_for_byte(run):
    """A trimmed film with its sound: 20 of 26 frames."""
    reconstruct_film.reconstruct_films(run, again=True)
    expected = Path(run.run_dir) / "films" / "mine.mp4"
    codes = Codes.load(file_of(run))
    assert len(codes) == 20
    assert codes.times[0] == pytest.approx(6 * 1001 / 24000)
    assert codes.shots.tolist() == [[0, 20]]
    assert {"step", "checkpoint", "film", "trim_start"} <= codes.made_from.keys()
    path = decode(run, source=run.film)
    assert path.read_bytes() == expected.read_bytes()
    assert video.probe(path).audio_streams == 1
    silent = decode(run, output=str(path.with_name("silent.mp4")))
    assert video.probe(silent).audio_streams == 0
    np.testing.assert_array_equal(frames_of(silent), frames_of(expected))
    for name in ("mine.npz", "mine.mp4"):
        assert provenance.recorded(run.run_dir, f"codes/{name}")["checkpoint"]


def test_codes_that_are_current_are_not_made_again(run, monkeypatch):
    monkeypatch.setattr(Model, "encode_film", lambda *_: pytest.fail("made again"))
    codes_film.encode_films(run, again=False)
    file_of(run).write_bytes(file_of(run).read_bytes() + b"\0")
    with pytest.raises(pytest.fail.Exception, match="made again"):
        codes_film.encode_films(run, again=False)


def test_encoding_reports_its_progress(run):
    done = []
    opened_run.open_model(run, read_only=True).encode_film(progress=done.append)
    np.testing.assert_allclose(done, np.arange(20) / 20)


def test_edited_codes_come_back_as_a_film(run, tmp_path):
    """Reversed codes give the reversed film; times hold a frame."""
    codes, model = Codes.load(file_of(run)), opened_run.open_model(run)
    edited = dataclasses.replace(codes, mean=codes.mean[::-1], times=None)
    edited.save(tmp_path / "reversed.npz")
    path = decode(
        run, codes=str(tmp_path / "reversed.npz"), codec="ffv1", output=f"{tmp_path}/a.mkv"
    )
    np.testing.assert_array_equal(frames_of(path), model.decode(codes.mean[::-1]))
    np.savez(tmp_path / "held.npz", mean=codes.mean[:2], times=[3.0, 4.0], rate=5)
    path = decode(run, codes=str(tmp_path / "held.npz"), codec="ffv1", output=f"{tmp_path}/b.mkv")
    assert (video.probe(path).rate, len(frames_of(path))) == (5, 6)
    np.testing.assert_array_equal(frames_of(path), model.decode(codes.mean[[0] * 5 + [1]]))


def test_an_interrupted_decoding_resumes_to_the_same_film(run, monkeypatch):
    """It fails after 16 frames; two whole segments of 6 frames remain."""
    expected = decode(run).read_bytes()
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 6)
    decode_batches, starts = Model.decode_batches, []

    def failing(self, z_TZ):
        for number, frames_BHWC in enumerate(decode_batches(self, z_TZ)):
            if number == 4:
                raise InputError("failed.")
            yield frames_BHWC

    def counting(self, z_TZ):
        starts.append(20 - len(z_TZ))
        return decode_batches(self, z_TZ)

    monkeypatch.setattr(Model, "decode_batches", failing)
    with pytest.raises(InputError, match="failed"):
        decode(run)
    monkeypatch.setattr(Model, "decode_batches", counting)
    path = decode(run)
    assert starts == [8]  # the batch before the one that holds frame 12
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 1000)
    monkeypatch.setattr(Model, "decode_batches", decode_batches)
    resumed = frames_of(path)
    assert decode(run).read_bytes() == expected
    assert len(resumed) == 20


def test_codes_of_another_checkpoint_are_decoded_with_a_warning(run, frames_THWC, caplog):
    decode(run)
    assert "another checkpoint" not in caplog.text
    shutil.rmtree(Path(run.run_dir) / "checkpoints")
    runs.add_checkpoint(run, frames_THWC, seed=1, step=6)
    assert decode(run).exists()
    assert "the codes were made with another checkpoint" in caplog.text


def test_decoding_needs_neither_film_nor_write_access(run, tmp_path):
    Path(run.run_dir, "learnt_films.json").unlink(missing_ok=True)
    config = dataclasses.replace(run, film=str(tmp_path / "gone.mp4"))
    assert decode(config, output=str(tmp_path / "out.mp4")).exists()
    output = str(tmp_path / "out.npz")
    codes_film.encode_films(dataclasses.replace(run, output=output), again=True)
    np.testing.assert_array_equal(Codes.load(output).mean, Codes.load(file_of(run)).mean)


REFUSALS = {
    "no codes": ({"codes": ""}, "--codes is missing"),
    "no file": ({"codes": "none.npz"}, "none.npz: No such file"),
    "a bucket": ({"codes": "gs://bucket/mine.npz"}, "--codes=gs://bucket/mine.npz cannot be used"),
    "a layout": (
        {"layout": ("side_by_side",)},
        "--layout is for --mode=reconstruct and",
    ),
    "no sound": ({"source": "none.wav"}, "there is no film none.wav"),
    "two sounds": ({"source": "a.wav,b.wav"}, "there is no film a.wav,b.wav"),
    "no container": ({"output": "film.txt"}, "film.txt"),
}


@pytest.mark.parametrize(("given", "words"), REFUSALS.values(), ids=REFUSALS)
def test_what_cannot_be_decoded_is_one_sentence(given, words, run):
    before = sorted(Path(run.run_dir, "codes").iterdir())
    with pytest.raises(InputError, match=words):
        decode(run, **given)
    assert sorted(Path(run.run_dir, "codes").iterdir()) == before


def test_codes_of_other_networks_are_refused(run, tmp_path):
    np.savez(tmp_path / "wide.npz", mean=np.zeros((2, 4)))
    with pytest.raises(InputError, match="has 4 dimensions and the model's codes have 3"):
        decode(run, codes=str(tmp_path / "wide.npz"))
    np.savez(tmp_path / "empty.npz", mean=np.zeros((0, 3)))
    with pytest.raises(InputError, match="has the length 0"):
        decode(run, codes=str(tmp_path / "empty.npz"))
    with pytest.raises(InputError, match=r"--output=a\.mp4 does not end with \.npz"):
        codes_film.encode_films(dataclasses.replace(run, output="a.mp4"), again=True)


@pytest.mark.slow
def test_the_commands(run, program, tmp_path):
    """A user's commands: encode, decode, and a refusal."""
    file_of(run).unlink()
    code, stderr = program(["--mode=encode", f"--run_dir={run.run_dir}"])
    assert code == 0, stderr
    assert f"codes of 20 frames in {file_of(run)}" in stderr
    arguments = [f"--run_dir={run.run_dir}", f"--codes={file_of(run)}"]
    code, stderr = program(["--mode=decode", *arguments, f"--source={run.film}"])
    assert code == 0, stderr
    assert f"20 frames in {file_of(run).with_suffix('.mp4')}" in stderr
    file_of(run).write_bytes(b"")
    code, stderr = program(["--mode=decode", *arguments])
    assert code == 2
    assert stderr.count("\n") == 1
    assert "is not a readable file of codes" in stderr
