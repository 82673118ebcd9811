"""Explorations: what their films and contact sheets show, and what is refused."""

import dataclasses
import itertools
import logging
import re
import typing
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import runs
from tests.runs import frames_of
from vae_gan_jax import modes
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.explore import explore, presets
from vae_gan_jax.explore.explore import Explorer
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.figures import latent_map, style
from vae_gan_jax.film.read import video
from vae_gan_jax.film.write import segments
from vae_gan_jax.run import atomic_io, provenance
from vae_gan_jax.run.settings import record_settings

SECONDS = 0.5  # twelve frames


@pytest.fixture
def explorer(model, shown, tmp_path, tmp_path_factory):
    """Makes contexts of the film of 26 frames, whose films are written without loss."""
    run_dir = str(tmp_path_factory.mktemp("run"))

    def make(film=shown, **settings):
        settings = {"seconds": SECONDS, "codec": "ffv1", "run_dir": run_dir, **settings}
        config = dataclasses.replace(model.config, **settings)
        played = dataclasses.replace(model, config=config)
        return Explorer(config, FilmContext(played, film), tmp_path, "a model")

    return make


@pytest.fixture
def run(small, film, frames_THWC, tmp_path):
    return runs.make(tmp_path / "run", small, film, frames_THWC, crop="none", codec="ffv1")


@pytest.fixture
def sheets(monkeypatch):
    """Rows and labels of the contact sheets, which are recorded instead of drawn."""
    drawn = []

    def record(_, rows, title, caption, labels):
        drawn.append(([np.asarray(row) for row in rows], labels))

    monkeypatch.setattr(explore.picture_page, "draw", record)
    return drawn


def films_of(folder, name):
    """The films of an exploration; some names end in a time."""
    return [path for path in folder.glob("*.mkv") if re.search(rf"_{name}(_\d\S*)?$", path.stem)]


def test_every_exploration_writes_a_film_and_a_sheet(explorer, tmp_path, caplog):
    """Without --at these are all except the interpolation."""
    with caplog.at_level(logging.INFO, "vae_gan_jax"):
        explorer().explore()
    names = set(explore.NAMES) - {"interpolation"}
    assert len(list(tmp_path.iterdir())) == 2 * len(names)
    for name in names:
        (path,) = films_of(tmp_path, name)
        with Image.open(path.with_suffix(".png")) as sheet:
            assert sheet.width > 1000
        assert f"12 frames in {path}, and {path.with_suffix('.png')}" in caplog.text
        size = latent_map.SIZE if name == "map" else (20, 18)
        assert len(frames_of(path, *size)) == 12


def test_slow_motion_by_one_is_the_reconstruction(explorer, model, shown, tmp_path, sheets):
    explorer(explore=("slow_motion",), slowdown=1, at=(0.25,)).explore()
    codes_TZ = model.encode(shown.at(range(6, 18))).mean
    film_THWC = frames_of(*films_of(tmp_path, "slow_motion"))
    np.testing.assert_array_equal(film_THWC, model.decode(codes_TZ))


def test_slow_motion_shows_every_frame_of_its_range(explorer, model, shown, tmp_path, sheets):
    explorer(explore=("slow_motion",), slowdown=5, at=(0.0,)).explore()
    film_THWC = frames_of(*films_of(tmp_path, "slow_motion"))
    codes_TZ = model.encode(shown.at(range(3))).mean
    assert len(film_THWC) == 12
    difference = film_THWC[::5].astype(int) - model.decode(codes_TZ)
    assert np.abs(difference).max() <= 1
    ((rows, labels),) = sheets
    np.testing.assert_array_equal(np.concatenate(rows), film_THWC)
    assert (labels.pictures[0][0], labels.pictures[-1][-1]) == ("frame 0.00", "frame 2.20")


def test_slow_motion_ends_with_the_film(explorer, tmp_path, sheets):
    explorer(explore=("slow_motion",), slowdown=4, at=(0.95,), seconds=9.0).explore()
    assert len(frames_of(*films_of(tmp_path, "slow_motion"))) == (26 - 23 - 1) * 4 + 1
    with pytest.raises(InputError, match=r"no frame after 0:00:01.04"):
        explorer(explore=("slow_motion",), at=(1.05,)).explore()


@pytest.mark.parametrize("interpolation", ["film", "spherical", "linear"])
def test_an_interpolation_goes_through_the_frames_given(
    interpolation, explorer, model, shown, tmp_path, sheets
):
    explorer(
        explore=("interpolation",), at=(0.0, 0.5, 1.0), interpolation=interpolation,
        seconds=25 * 1001 / 24000,
    ).explore()  # fmt: skip
    (path,) = tmp_path.glob("*.mkv")
    assert path.stem == "film_interpolation_0h00m00.00s_to_0h00m01.00s_2_legs"
    film_THWC = frames_of(path)
    codes_TZ = model.encode(shown.at([0, 12, 24])).mean
    expected_THWC = model.decode(codes_TZ)
    assert len(film_THWC) == 25
    assert np.abs(film_THWC[[0, 12, 24]].astype(int) - expected_THWC).max() <= 1


def test_an_interpolation_needs_two_times(explorer, tmp_path):
    with pytest.raises(InputError, match="fewer than two times"):
        explorer(explore=("interpolation",), at=(0.5,)).explore()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("name", "at"), [("sweep", (9.0,)), ("interpolation", (0.5, 9.0))])
def test_a_time_outside_the_film_names_its_flag(name, at, explorer):
    with pytest.raises(InputError, match=r"^--at=0:00:09\.00 lies outside the film"):
        explorer(explore=(name,), at=at).explore()


def test_a_walk_ends_where_it_began(explorer, tmp_path, sheets):
    """The step from the last frame to the first is no larger than the others."""
    explorer(explore=("prior_walk", "fitted_walk"), seconds=4.0).explore()
    for name in ("prior_walk", "fitted_walk"):
        film_THWC = frames_of(tmp_path / f"film_{name}.mkv").astype(float)
        step_T = np.abs(np.roll(film_THWC, -1, axis=0) - film_THWC).mean(axis=(1, 2, 3))
        assert step_T[-1] <= step_T[:-1].max()
        assert np.abs(film_THWC[0] - film_THWC[48]).mean() > 3 * step_T.max()


def test_samples_are_the_same_for_the_same_seed(explorer, sheets):
    for seed in (0, 0, 1):
        explorer(explore=("prior",), seed=seed).explore()
    (first, _), (again, _), (other, _) = sheets
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.float32(first) - np.float32(other)).max() > 1


def test_the_map_is_drawn_frame_by_frame(explorer, tmp_path):
    """Its first frame shows no path yet; then the path grows."""
    explorer(explore=("map",)).explore()
    film_THWC = frames_of(tmp_path / "film_map.mkv", *latent_map.SIZE)
    assert len(film_THWC) == 12
    drawn_THW = (film_THWC != film_THWC[0]).any(axis=3)[:, :, : latent_map.MAP_WIDTH]
    area_T = drawn_THW.sum(axis=(1, 2))
    assert area_T[0] == 0
    assert area_T[-1] > area_T[5] > 0


def test_a_film_of_one_frame_names_what_is_left_out(explorer, make_film, tmp_path, caplog, sheets):
    film = make_film("testsrc2=size=64x36:rate=24", 1)
    explorer(film).explore()
    names = {path.name for path in tmp_path.iterdir() if path.suffix == ".mkv"}
    shown = ("prior", "prior_walk", "fitted", "fitted_walk")
    assert names == {f"made_{name}.mkv" for name in shown}
    for name in ("neighbourhood", "sweep", "map"):
        assert re.search(f"{name} is left out: .*made has only one frame", caplog.text)
    with pytest.raises(InputError, match="only one frame"):
        explorer(film, explore=("map",)).explore()


def test_two_frames_are_enough(explorer, make_film, tmp_path, caplog, sheets):
    explorer(make_film("testsrc2=size=64x36:rate=24", 2), seconds=0.2).explore()
    assert len(list(tmp_path.glob("*.mkv"))) == len(explore.NAMES) - 1
    assert "left out" not in caplog.text


def test_rate_and_length_are_as_asked(explorer, tmp_path, sheets):
    explorer(explore=("prior",), rate=Fraction(10), seconds=2.0).explore()
    probe = video.probe(tmp_path / "film_prior.mkv")
    assert (probe.frames, probe.rate) == (20, 10)


def test_a_failure_leaves_the_earlier_film(explorer, tmp_path, monkeypatch):
    """The earlier film stays, and no unfinished file remains."""
    explorer(explore=("prior",)).explore()
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def torn(*_) -> typing.Iterator:
        yield np.zeros((4, 8)), np.zeros((4, 18, 20, 3), np.uint8)
        raise InputError("torn.")

    monkeypatch.setattr(explore.play, "play", torn)
    with pytest.raises(InputError, match="torn"):
        explorer(explore=("prior",)).explore()
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_explorations_are_recorded_with_the_checksums_of_their_files(explorer, tmp_path, sheets):
    context = explorer(explore=("prior",))
    context.explore()
    groups = provenance.groups(context.config.run_dir, explore.FOLDER)
    ((name, (made_from, paths)),) = groups.items()
    assert name == "explorations/film_prior"
    assert {path.name for path in paths} == {"film_prior.mkv", "film_prior.png"}
    assert made_from["film"] == provenance.film_checksum([context.film.path])
    assert provenance.is_current(context.config.run_dir, name, made_from)
    (tmp_path / "film_prior.png").write_bytes(b"damaged")
    assert not provenance.is_current(context.config.run_dir, name, made_from)


def test_a_sweep_moves_one_component_after_the_other(explorer, sheets):
    """Three components have three parts of ten seconds, in units of 10/6 seconds each."""
    exploring, shown_z = explorer(explore=("sweep",), seconds=2.0, at=(0.5,)), []
    real = explore.play.Player.step

    def step(self, state, z_BZ, *arguments):
        result = real(self, state, z_BZ, *arguments)
        shown_z.append(np.asarray(result[2])[arguments[-1] :])
        return result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(explore.play.Player, "step", step)
        exploring.explore()
    gaussian, z_TZ = exploring.context.gaussian, np.concatenate(shown_z)
    offset_TK = (z_TZ - exploring.context.codes_TZ[12]) @ gaussian.components_KZ.T / gaussian.std_K
    assert np.abs(offset_TK).max(axis=0) == pytest.approx(3, rel=0.1)
    assert (np.sum(np.abs(offset_TK) > 1e-2, axis=1) <= 1).all()


@pytest.mark.parametrize(
    ("flags", "frame", "count"),
    [({}, 6, 12), ({"at": (0.5,)}, 12, 12), ({"seconds": 0.5}, 6, 4)],
)
def test_flags_come_before_codes_and_length_of_a_preset(
    explorer, model, tmp_path, sheets, flags, frame, count
):
    preset = presets.parse("codes: {time: 0.25}\nseconds: 1.5\ncontrols: []")
    exploring = explorer(**{"rate": Fraction(8), "seconds": None} | flags)
    exploring.write("still", preset)
    film_THWC = frames_of(*films_of(tmp_path, "still"))
    expected_HWC = model.decode(exploring.context.codes_TZ[[frame]])[0]
    np.testing.assert_array_equal(film_THWC, np.repeat(expected_HWC[None], count, axis=0))


def test_an_interrupted_film_goes_on_to_the_same_frames(explorer, tmp_path, sheets, monkeypatch):
    """It fails after its fourth batch of four; two whole segments of 6 frames remain.

    Feedback needs the frames before; without it, only the batch before is played again.
    """
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 6)
    step, numbers = explore.play.Player.step, []

    def counting(self, state, *arguments):
        numbers.append(state.number)
        return step(self, state, *arguments)

    def failing(self, state, *arguments):
        if state.number == 16:
            raise InputError("failed.")
        return step(self, state, *arguments)

    for control, first in (("{control: noise}", 8), ("{control: feedback}", 0)):
        preset = presets.parse(f"codes: {{walk: film}}\ncontrols: [{control}]")
        exploring = explorer(seconds=1.0)
        exploring.write("whole", preset)
        monkeypatch.setattr(explore.play.Player, "step", failing)
        with pytest.raises(InputError, match="failed"):
            exploring.write("resumed", preset)
        assert not (tmp_path / "film_resumed.mkv").exists()
        monkeypatch.setattr(explore.play.Player, "step", counting)
        numbers.clear()
        exploring.write("resumed", preset)
        assert numbers[0] == first
        whole_THWC, resumed_THWC = (
            frames_of(tmp_path / f"film_{name}.mkv") for name in ("whole", "resumed")
        )
        np.testing.assert_array_equal(resumed_THWC, whole_THWC)
        (tmp_path / "film_resumed.mkv").unlink()


def test_a_film_with_other_codes_begins_again(explorer, tmp_path, sheets, monkeypatch):
    """The same preset with another seed resumes nothing."""
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 6)
    preset, play = presets.parse("codes: {walk: prior}\ncontrols: []"), explore.play.play

    def failing(*arguments):
        yield from itertools.islice(play(*arguments), 4)
        raise InputError("failed.")

    with monkeypatch.context() as patch:
        patch.setattr(explore.play, "play", failing)
        with pytest.raises(InputError, match="failed"):
            explorer(seconds=1.0).write("walk", preset)
    explorer(seconds=1.0, seed=1).write("walk", preset)
    resumed_THWC = frames_of(tmp_path / "film_walk.mkv")
    explorer(seconds=1.0, seed=1).write("again", preset)
    np.testing.assert_array_equal(frames_of(tmp_path / "film_again.mkv"), resumed_THWC)


def test_sheets_say_what_their_rows_and_pictures_show(explorer, sheets):
    """A sweep has a row for each component; samples are shown once; others have values."""
    for name in ("sweep", "neighbourhood", "fitted"):
        explorer(explore=(name,), seconds=3.0, at=(0.5,)).explore()
    (_, sweep), (_, around), (samples, fitted) = sheets
    assert sweep.rows == [f"direction {number}" for number in (1, 2, 3)] + ["", "", ""]
    assert sweep.pictures[0][1].startswith("0.08 s   2.")
    assert not around.rows
    assert around.pictures[0][0] == "0.00 s   0.00   0.00"
    assert list(itertools.chain(*fitted.pictures)) == [f"sample {number}" for number in range(1, 7)]
    assert len(np.unique(np.concatenate(samples), axis=0)) == 6


def test_output_and_frames_out_name_the_film(run, tmp_path, monkeypatch):
    """The run's folder stays as it was."""
    before = sorted(Path(run.run_dir).iterdir())
    config = dataclasses.replace(
        run, preset="experiments/presets/fitted_walk.yaml", seconds=SECONDS,
        output=str(tmp_path / "mine.mkv"), frames_out=str(tmp_path / "pngs"),
    )  # fmt: skip
    monkeypatch.setattr(explore, "model_caption", lambda *_: "a model")
    sheet = tmp_path / "mine.png"
    for content in (b"a user's file", atomic_io.png(np.zeros((9, 9, 3), np.uint8))):
        sheet.write_bytes(content)
        with pytest.raises(InputError, match=r"mine\.png is not a picture of this program: give"):
            explore.explore_run(config)
        assert sheet.read_bytes() == content
    sheet.unlink()
    explore.explore_run(config)
    style.require_replaceable(sheet)  # the same command may replace it
    assert sheet.exists()
    assert sorted(Path(run.run_dir).iterdir()) == before
    film_THWC = frames_of(tmp_path / "mine.mkv")
    pngs = [np.asarray(Image.open(path)) for path in sorted((tmp_path / "pngs").glob("*.png"))]
    np.testing.assert_array_equal(pngs, film_THWC)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"slowdown": 3}, "--slowdown changes nothing if codes come from walk"),
        ({"at": (0.5,)}, "--at changes nothing if codes come from walk"),
        ({"interpolation": "linear"}, "--interpolation changes nothing"),
        ({"codes": "a.npz", "seconds": 3.0}, "--seconds changes nothing if codes come from file"),
        ({"explore": ("map",)}, "--explore and --preset exclude each other"),
        ({"preset": "", "codes": "a.npz"}, "--codes needs --preset"),
        ({"preset": "", "explore": ("interpolation",), "at": (0.5,)}, "--at names fewer than two"),
        (
            {"preset": "", "explore": ("prior", "map"), "slowdown": 3},
            "--slowdown changes nothing with --explore=prior,map: leave it out",
        ),
        ({"preset": "", "explore": ("prior",), "at": (0.5,)}, "--at changes nothing with"),
        ({"preset": "", "output": "a.mkv"}, "--output is for one film and there are several"),
        ({"preset": "", "frames_out": "a"}, "--frames_out is for one film"),
        ({"preset": "", "explore": ("map",), "frames_out": "a"}, "has no frames of the map"),
        ({"output": "a.txt"}, r"a\.txt cannot hold ffv1"),
        ({"preset": "experiments/presets/breath.yaml"}, "codes have none: give --sound=FILE"),
    ],
)
def test_flags_that_would_change_nothing_are_refused(settings, message):
    """Before the run is opened."""
    settings = {"codec": "ffv1", "preset": "experiments/presets/fitted_walk.yaml"} | settings
    with pytest.raises(InputError, match=message):
        explore.explore_run(Config(run_dir="no run", **settings))


def test_a_preset_and_named_explorations_come_before_what_the_run_was_made_with(run):
    given = {"run_dir": run.run_dir, "preset": "experiments/presets/sweep.yaml"}
    record_settings(Path(run.run_dir), dataclasses.replace(run, seconds=3.0, at=(0.5,), every=5))
    for wanted in (given, {"run_dir": run.run_dir, "explore": ("prior",)}):
        config = modes.resolve(wanted, "explore")
        assert (config.seconds, config.at, config.every) == (None, (), None)
    assert modes.resolve({"run_dir": run.run_dir}, "explore").seconds == 3


def test_codes_of_a_file(explorer, model, tmp_path, sheets):
    codes = model.encode(explorer().film.at(range(5)))
    codes.save(tmp_path / "mine.npz")
    explorer().write("mine", presets.parse(f"codes: {{file: {tmp_path}/mine.npz}}\ncontrols: []"))
    np.testing.assert_array_equal(frames_of(tmp_path / "film_mine.mkv"), model.decode(codes.mean))


def test_codes_of_another_model_are_refused(explorer, tmp_path):
    np.savez(tmp_path / "foreign.npz", mean=np.zeros((5, 99), np.float32))
    preset = presets.parse(f"codes: {{file: {tmp_path}/foreign.npz}}")
    with pytest.raises(InputError, match=r"foreign\.npz has 99 dimensions and the model's codes"):
        explorer().write("foreign", preset)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("about: x\ncodes: {time: 9}", "^the preset:2: 0:00:09.00 lies outside the film"),
        ("codes:\n  path: [0.1, 9]", "^the preset:2: 0:00:09.00 lies outside the film"),
        ("codes:\n  path: [0.1]", "^the preset:2: path names fewer than two times: give two"),
        ("codes: {walk: film}\nseconds: 1000000", "24000000 frames, more than 1000000"),
        ("codes: {walk: film}\ncontrols: [{control: blend}]", ":2: blend needs a source film"),
        ("codes: {file: foreign.npz}", "^the preset:1: foreign.npz: No such file"),
    ],
)
def test_presets_that_cannot_be_explored_are_refused(explorer, tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        explorer(seconds=None, rate=Fraction(24)).write("bad", presets.parse(text))
    assert not list(tmp_path.iterdir())
