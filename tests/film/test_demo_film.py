"""The demo film has ten shots that are easy to tell apart, a soft sound, and a black end."""

from fractions import Fraction

import numpy as np
import pytest

from tests.film.films import DEMO_SHOTS
from vae_gan_jax.film import sound
from vae_gan_jax.film.read.video import Framing, decode, probe
from vae_gan_jax.training.prepare import DEMO_FILM

SHOT = {shot.name: slice(shot.start, shot.stop) for shot in DEMO_SHOTS}


@pytest.fixture(scope="module")
def film_THWC() -> np.ndarray:
    return np.stack(list(decode(DEMO_FILM, Framing(64, 36))))


def test_it_lasts_twenty_seconds_and_has_a_sound(film_THWC):
    film = probe(str(DEMO_FILM))
    assert (film.width, film.height, film.rate, film.frames) == (256, 144, Fraction(24), 480)
    assert not film.variable_rate
    assert film.duration == pytest.approx(20, abs=0.01)
    assert film.audio_streams == 1
    assert len(film_THWC) == 480
    loudness_T = sound.features(DEMO_FILM, 24.0).levels["loudness"]
    for shot in DEMO_SHOTS:
        assert (loudness_T[shot.start + 6 : shot.stop - 6].min() > 0.1) == (shot.name != "black")


def test_every_frame_is_nearest_to_one_of_its_own_shot(film_THWC):
    x_TN = film_THWC.reshape(len(film_THWC), -1).astype(np.float32)
    square_T = (x_TN**2).sum(1)
    distance_TT = square_T[:, None] + square_T - 2 * x_TN @ x_TN.T
    np.fill_diagonal(distance_TT, np.inf)
    shot_T = np.repeat(np.arange(len(DEMO_SHOTS)), [shot.stop - shot.start for shot in DEMO_SHOTS])
    seen = slice(0, SHOT["black"].start - 2)
    np.testing.assert_array_equal(shot_T[distance_TT.argmin(1)][seen], shot_T[seen])


def test_the_night_is_dark_and_black_is_black(film_THWC):
    """The thesis's figures of dark and of black frames need both."""
    night_THWC, black_THWC = film_THWC[SHOT["night"]], film_THWC[SHOT["black"]]
    assert 20 < night_THWC.mean() < 50
    assert (np.ptp(night_THWC.mean(-1), (1, 2)) > 25).all()
    assert not black_THWC[1:].any()
