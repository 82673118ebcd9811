"""The demo film is complete and steady, and its shots are easy to tell apart."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest

from tests.film.films import DEMO_SHOTS as SHOTS
from vae_gan_jax.config import InputError
from vae_gan_jax.film import demo_film
from vae_gan_jax.film.read.video import Framing, decode, probe

SHOT = {shot.name: slice(shot.start, shot.stop) for shot in SHOTS}


@pytest.fixture(scope="module")
def film_THWC() -> np.ndarray:
    return np.stack(list(demo_film.frames(128, 72)))


@pytest.fixture(scope="module")
def distance_TT(film_THWC) -> np.ndarray:
    """Mean squared differences of all pairs of frames; infinite between a frame and itself."""
    x_TN = film_THWC.reshape(len(film_THWC), -1).astype(np.float32)
    square_T = (x_TN**2).sum(1)
    distance_TT = (square_T[:, None] + square_T - 2 * x_TN @ x_TN.T) / x_TN.shape[1]
    np.fill_diagonal(distance_TT, np.inf)
    return distance_TT


def test_shots_cover_the_film_without_gap():
    assert len(SHOTS) >= 8
    assert [SHOTS[0].start] + [shot.stop for shot in SHOTS] == [s.start for s in SHOTS] + [480]
    assert len({shot.name for shot in SHOTS}) == len(SHOTS)
    for shot in SHOTS:
        seconds = (shot.stop - shot.start) / demo_film.RATE
        assert 1.5 <= seconds <= 3 or shot.name == "black"


def test_frames_have_the_requested_size():
    film = list(demo_film.frames(50, 28))
    assert len(film) == 480
    assert {(frame_HWC.shape, frame_HWC.dtype.name) for frame_HWC in film} == {
        ((28, 50, 3), "uint8")
    }


def test_each_frame_is_an_array_of_its_own(film_THWC):
    np.testing.assert_array_equal(next(demo_film.frames(128, 72)), film_THWC[0])
    assert not np.array_equal(film_THWC[0], film_THWC[SHOTS[0].stop - 1])


def test_size_changes_only_the_resolution(film_THWC):
    for large_HWC, small_HWC in zip(film_THWC, demo_film.frames(64, 36), strict=True):
        halved_HWC = large_HWC.reshape(36, 2, 64, 2, 3).mean((1, 3))
        assert np.abs(halved_HWC - small_HWC).mean() < 3


def test_cuts_are_hard(distance_TT):
    step_T = np.diagonal(distance_TT, 1)
    for before, after in pairwise(SHOTS):
        if after.name == "black":  # follows a fade, not a cut
            continue
        steps = [*step_T[before.start : before.stop - 1], *step_T[after.start : after.stop - 1]]
        assert step_T[before.stop - 1] > 3 * max(steps)


def test_every_frame_is_nearest_to_one_of_its_own_shot(distance_TT):
    shot_T = np.repeat(np.arange(len(SHOTS)), [shot.stop - shot.start for shot in SHOTS])
    nearest_T = distance_TT.argmin(1)
    seen = slice(0, SHOT["black"].start)
    np.testing.assert_array_equal(shot_T[nearest_T][seen], shot_T[seen])


def test_every_shot_moves_and_none_flickers(film_THWC, distance_TT):
    for shot in SHOTS[:-1]:
        inside = slice(shot.start, shot.stop)
        assert film_THWC[inside].std(0).max() > 10, shot.name
        # Two frames apart differ more than neighbours: the motion goes somewhere.
        one, two = (
            np.diagonal(distance_TT[inside, inside], 1),
            np.diagonal(distance_TT[inside, inside], 2),
        )
        assert two.mean() > 1.2 * one.mean(), shot.name


def test_black_is_black_after_a_fade(film_THWC):
    black = SHOT["black"]
    assert 12 <= black.stop - black.start <= 18
    assert not film_THWC[black].any()
    assert film_THWC[: black.start].any((1, 2, 3)).all()
    light_T = film_THWC[SHOT["triangles"]].mean((1, 2, 3))
    assert (np.diff(light_T[-12:]) < 0).all()
    assert light_T[-1] < 0.1 * light_T[0]


def test_the_night_shot_is_dark_but_not_empty(film_THWC):
    night_THWC = film_THWC[SHOT["night"]]
    assert night_THWC.min() >= 20
    assert night_THWC.max() <= 95
    assert night_THWC.mean() < 50
    assert (np.ptp(night_THWC.mean(-1), (1, 2)) > 30).all()


def test_face_moves_before_a_still_background(film_THWC):
    face_THWC = film_THWC[SHOT["face"]].astype(int)
    moved_HW = np.ptp(face_THWC, axis=0).max(-1) > 0
    assert not moved_HW[:, :40].any()
    assert not moved_HW[:, 88:].any()
    assert not moved_HW[64:].any()
    assert moved_HW[:, 40:88].mean() > 0.25
    # The whites of the eyes move with the head to both sides and vanish with each blink.
    whites_TW = (face_THWC[:, 30:46, 40:88].min(-1) > 235).sum(1)
    open_T = whites_TW.any(1)
    middle_T = (whites_TW * (np.arange(40, 88) - 63.5)).sum(1)[open_T] / whites_TW.sum(1)[open_T]
    assert middle_T.min() < -4
    assert middle_T.max() > 4
    assert open_T[[0, -1]].all()
    assert (np.diff(open_T.astype(int)) < 0).sum() >= 3


def test_soundtrack_is_gentle_and_does_not_click():
    sound_N = demo_film.soundtrack()
    assert sound_N.dtype == np.int16
    assert sound_N.shape == (20 * 48_000,)
    level_N = sound_N / 32768
    assert 0.1 < np.abs(level_N).max() < 0.5
    assert np.abs(np.diff(level_N)).max() < 0.05
    for shot in SHOTS:
        inside_N = level_N[shot.start * 2000 : shot.stop * 2000]
        assert np.abs(inside_N[[0, -1]]).max() < 1e-3
        assert (np.sqrt(np.mean(inside_N**2)) > 0.03) == (shot.name != "black")


def test_rendered_film_holds_the_frames_and_their_sound(tmp_path, film_THWC):
    path = tmp_path / "demo.mp4"
    demo_film.render(path)
    film = probe(path)
    assert (film.width, film.height, film.rate, film.frames) == (256, 144, Fraction(24), 480)
    assert not film.variable_rate
    assert film.duration == pytest.approx(20, abs=0.01)
    assert film.audio_streams == 1
    pairs = zip(decode(path, Framing(128, 72)), film_THWC, strict=True)
    error_T = np.array([((shown.astype(float) - drawn) ** 2).mean() for shown, drawn in pairs])
    assert error_T.max() < 100  # 28 dB
    assert error_T.mean() < 30  # 33 dB
    assert [entry.name for entry in tmp_path.iterdir()] == ["demo.mp4"]


def test_film_that_cannot_be_written_leaves_nothing(tmp_path):
    with pytest.raises(InputError, match="cannot hold h264"):
        demo_film.render(tmp_path / "demo.nothing")
    assert not list(tmp_path.iterdir())
