"""Explorations: what their films and contact sheets show, and what is refused."""

import dataclasses
import logging
import re
import typing
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.explore import explore, explore_context, latent_map
from vae_gan_jax.explore.explore_context import ExploreContext
from vae_gan_jax.figures import style
from vae_gan_jax.film.read import video
from vae_gan_jax.run import provenance

SECONDS = 0.5  # twelve frames


@pytest.fixture
def explorer(model, shown, tmp_path, tmp_path_factory):
    """Makes contexts of the film of 26 frames, whose films are written without loss."""
    run_dir = str(tmp_path_factory.mktemp("run"))

    def make(film=shown, **settings):
        settings = {"seconds": SECONDS, "codec": "ffv1", "run_dir": run_dir, **settings}
        config = dataclasses.replace(model.config, **settings)
        return ExploreContext(config, model, film, tmp_path, "a model")

    return make


@pytest.fixture
def sheets(monkeypatch):
    """Rows and labels of the contact sheets, which are recorded instead of drawn."""
    drawn = []

    def record(_, rows, title, caption, labels):
        drawn.append(([np.asarray(row) for row in rows], labels))

    monkeypatch.setattr(explore_context.picture_page, "draw", record)
    return drawn


def films_of(folder, name):
    """The films of an exploration; some names end in a time."""
    return [path for path in folder.glob("*.mkv") if re.search(rf"_{name}(_\d\S*)?$", path.stem)]


def frames_of(path, width=20, height=18):
    framing = video.Framing(width=width, height=height, crop="none")
    return np.stack(list(video.decode(path, framing)))


def decoded(model, z_TZ):
    return model.decode(z_TZ)


def test_every_exploration_writes_a_film_and_a_sheet(explorer, tmp_path, caplog):
    """Without --at these are all except the interpolation."""
    with caplog.at_level(logging.INFO, "vae_gan_jax"):
        explore.explore(explorer())
    names = set(explore.NAMES) - {"interpolation"}
    assert len(list(tmp_path.iterdir())) == 2 * len(names)
    for name in names:
        (path,) = films_of(tmp_path, name)
        with Image.open(path.with_suffix(".png")) as sheet:
            assert sheet.width > 1000
        count = 9 if name == "slow_motion" else 12  # two frames, eight times slower
        assert f"{count} frames in {path}, and {path.with_suffix('.png')}" in caplog.text
        size = latent_map.SIZE if name == "map" else (20, 18)
        assert len(frames_of(path, *size)) == count


def test_the_explorations_are_those_that_the_flag_allows():
    (choices,) = (
        field.metadata["choices"] for field in dataclasses.fields(Config) if field.name == "explore"
    )
    assert choices == explore.NAMES
    for name in choices:
        Config(explore=(name,))
    with pytest.raises(InputError, match="--explore=astral is none of prior, fitted,"):
        Config(explore=("prior", "astral"))


def test_slow_motion_by_one_is_the_reconstruction(explorer, model, shown, tmp_path, sheets):
    explore.explore(explorer(explore=("slow_motion",), slowdown=1, at=(0.25,)))
    codes_TZ = model.encode(shown.at(range(6, 18))).mean
    film_THWC = frames_of(*films_of(tmp_path, "slow_motion"))
    np.testing.assert_array_equal(film_THWC, decoded(model, codes_TZ))


def test_slow_motion_shows_every_frame_of_its_range(explorer, model, shown, tmp_path, sheets):
    explore.explore(explorer(explore=("slow_motion",), slowdown=5, at=(0.0,)))
    film_THWC = frames_of(*films_of(tmp_path, "slow_motion"))
    codes_TZ = model.encode(shown.at(range(3))).mean
    assert len(film_THWC) == 11
    difference = film_THWC[::5].astype(int) - decoded(model, codes_TZ)
    assert np.abs(difference).max() <= 1
    ((_, labels),) = sheets
    assert labels.pictures[0][0] == "0:00:00.00"
    assert labels.pictures[-1][-1] == "0:00:00.08"


def test_slow_motion_ends_with_the_film(explorer, tmp_path, sheets):
    explore.explore(explorer(explore=("slow_motion",), slowdown=4, at=(0.95,), seconds=9.0))
    assert len(frames_of(*films_of(tmp_path, "slow_motion"))) == (26 - 23 - 1) * 4 + 1
    with pytest.raises(InputError, match=r"no frame after 0:00:01.04"):
        explore.explore(explorer(explore=("slow_motion",), at=(1.05,)))


@pytest.mark.parametrize("interpolation", ["film", "spherical", "linear"])
def test_an_interpolation_goes_through_the_frames_given(
    interpolation, explorer, model, shown, tmp_path, sheets
):
    explore.explore(
        explorer(
            explore=("interpolation",), at=(0.0, 0.5, 1.0), interpolation=interpolation,
            seconds=25 * 1001 / 24000,
        )
    )  # fmt: skip
    (path,) = tmp_path.glob("*.mkv")
    assert path.stem == "film_interpolation_0h00m00.00s_to_0h00m01.00s_2_legs"
    film_THWC = frames_of(path)
    codes_TZ = model.encode(shown.at([0, 12, 24])).mean
    expected_THWC = decoded(model, codes_TZ)
    assert len(film_THWC) == 25
    assert np.abs(film_THWC[[0, 12, 24]].astype(int) - expected_THWC).max() <= 1
    (((first, second), labels),) = sheets
    np.testing.assert_array_equal(first[-1], second[0])
    assert labels.pictures[1] == ["0:00:00.50", "20%", "40%", "60%", "80%", "0:00:01.00"]


def test_an_interpolation_needs_two_times(explorer, tmp_path):
    with pytest.raises(InputError, match="fewer than two times"):
        explore.explore(explorer(explore=("interpolation",), at=(0.5,)))
    assert not list(tmp_path.iterdir())


def test_a_walk_ends_where_it_began(explorer, tmp_path, sheets):
    """The step from the last frame to the first is no larger than the others."""
    explore.explore(explorer(explore=("prior_walk", "fitted_walk"), seconds=4.0))
    for name in ("prior_walk", "fitted_walk"):
        film_THWC = frames_of(tmp_path / f"film_{name}.mkv").astype(float)
        step_T = np.abs(np.roll(film_THWC, -1, axis=0) - film_THWC).mean(axis=(1, 2, 3))
        assert step_T[-1] <= step_T[:-1].max()
        assert np.abs(film_THWC[0] - film_THWC[48]).mean() > 3 * step_T.max()


def test_a_sweep_shows_the_widest_dimensions_first(explorer, model, sheets):
    exploring = explorer(explore=("sweep",))
    explore.explore(exploring)
    ((rows, labels),) = sheets
    assert len(rows) == model.config.z_dim
    spreads = [float(label.split()[-1]) for label in labels.rows]
    assert spreads == sorted(spreads, reverse=True)
    dimension = int(labels.rows[0].split()[1])
    z_TZ = np.repeat(exploring.gaussian.mean_Z[None], 7, axis=0)
    z_TZ[:, dimension] = [-3, -2, -1, 0, 1, 2, 3]
    assert labels.columns == ["−3", "−2", "−1", "0", "+1", "+2", "+3"]
    assert np.abs(rows[0].astype(int) - decoded(model, z_TZ)).max() <= 1


def test_a_neighbourhood_surrounds_its_frame(explorer, model, shown, sheets):
    explore.explore(explorer(explore=("neighbourhood",), at=(0.5,)))
    ((rows, _),) = sheets
    code_1Z = model.encode(shown.at([12])).mean
    assert np.abs(rows[2][2].astype(int) - decoded(model, code_1Z)[0]).max() <= 1


def test_samples_are_the_same_for_the_same_seed(explorer, sheets):
    for seed in (0, 0, 1):
        explore.explore(explorer(explore=("prior",), seed=seed))
    (first, _), (again, _), (other, _) = sheets
    np.testing.assert_array_equal(first, again)
    assert np.abs(np.float32(first) - np.float32(other)).max() > 1


def test_the_map_is_drawn_frame_by_frame(explorer, tmp_path):
    """Its first frame shows no path yet; then the path grows."""
    explore.explore(explorer(explore=("map",)))
    film_THWC = frames_of(tmp_path / "film_map.mkv", *latent_map.SIZE)
    assert len(film_THWC) == 12
    drawn_THW = (film_THWC != film_THWC[0]).any(axis=3)[:, :, : latent_map.MAP_WIDTH]
    area_T = drawn_THW.sum(axis=(1, 2))
    assert area_T[0] == 0
    assert area_T[-1] > area_T[5] > 0


def test_thumbnails_of_equal_codes_do_not_cover_each_other(shown):
    """Five red thumbnails at one code show five times the area of one."""
    point_T2 = np.zeros((5, 2), np.float32)
    red_HWC = np.full((18, 20, 3), (255, 0, 0), np.uint8)
    with style.figure(8, 8) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        thumbnails = {number: red_HWC for number in range(5)}
        the_map = latent_map.LatentMap(point_T2, (1.0, 0.0), thumbnails, shown, "a model")
        the_map._draw_thumbnails(figure, axes, np.arange(5.0))
        figure.canvas.draw()
        page_HWC = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        one = (latent_map.THUMBNAIL_WIDTH * axes.get_window_extent().width) ** 2 * 18 / 20
    red_HW = (page_HWC[..., 0] > 200) & (page_HWC[..., 1] < 60)
    assert red_HW.sum() == pytest.approx(5 * one, rel=0.1)


def test_a_film_of_one_frame_names_what_is_left_out(explorer, make_film, tmp_path, caplog, sheets):
    film = make_film("testsrc2=size=64x36:rate=24", 1)
    explore.explore(explorer(film))
    names = {path.name for path in tmp_path.iterdir() if path.suffix == ".mkv"}
    shown = ("prior", "prior_walk", "fitted", "fitted_walk")
    assert names == {f"made_{name}.mkv" for name in shown}
    for name in ("neighbourhood", "sweep", "map"):
        assert f"{name} is left out: made has only one frame" in caplog.text
    with pytest.raises(InputError, match="only one frame"):
        explore.explore(explorer(film, explore=("map",)))


def test_two_frames_are_enough(explorer, make_film, tmp_path, caplog, sheets):
    explore.explore(explorer(make_film("testsrc2=size=64x36:rate=24", 2), seconds=0.2))
    assert len(list(tmp_path.glob("*.mkv"))) == len(explore.NAMES) - 1
    assert "left out" not in caplog.text


def test_rate_and_length_are_as_asked(explorer, tmp_path, sheets):
    explore.explore(explorer(explore=("prior",), rate=Fraction(10), seconds=2.0))
    probe = video.probe(tmp_path / "film_prior.mkv")
    assert (probe.frames, probe.rate) == (20, 10)


def test_a_failure_leaves_the_earlier_film(explorer, tmp_path, monkeypatch):
    """The earlier film stays, and no unfinished file remains."""
    explore.explore(explorer(explore=("prior",)))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def torn(*_) -> typing.Iterator:
        yield np.zeros((4, 18, 20, 3), np.uint8)
        raise InputError("torn.")

    exploring = explorer(explore=("prior",))
    with pytest.raises(InputError, match="torn"):
        exploring.write_film(exploring.path_of("prior"), torn(), 12)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_explorations_are_recorded_with_the_checksums_of_their_files(explorer, tmp_path, sheets):
    context = explorer(explore=("prior",))
    explore.explore(context)
    groups = provenance.groups(context.config.run_dir, explore.FOLDER)
    ((name, (made_from, paths)),) = groups.items()
    assert name == "explorations/film_prior"
    assert {path.name for path in paths} == {"film_prior.mkv", "film_prior.png"}
    assert made_from["film"] == provenance.film_checksum([context.film.path])
    assert provenance.is_current(context.config.run_dir, name, made_from)
    (tmp_path / "film_prior.png").write_bytes(b"damaged")
    assert not provenance.is_current(context.config.run_dir, name, made_from)
