"""Mixtures of neighbouring codes and paths along the codes of a film."""

import numpy as np
import pytest

from vae_gan_jax.inference.film_codes import MAX_CODES, NEIGHBOURS, FilmCodes, evenly_spaced

FRACTIONS = np.linspace(0, 1, 101)


@pytest.fixture
def circle_NZ():
    """60 codes on a circle: a film whose codes leave the middle of the space empty."""
    angle_N = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return np.stack([np.cos(angle_N), np.sin(angle_N)], axis=1)


def test_a_path_goes_along_the_codes_at_constant_speed(circle_NZ):
    path_TZ = FilmCodes(circle_NZ).shortest_path(circle_NZ[0], circle_NZ[30], FRACTIONS)
    np.testing.assert_allclose(path_TZ[[0, -1]], circle_NZ[[0, 30]], atol=1e-12)
    radius_T = np.linalg.norm(path_TZ, axis=1)
    assert radius_T.min() > 0.99  # a straight line passes through 0
    step_T = np.linalg.norm(np.diff(path_TZ, axis=0), axis=1)
    np.testing.assert_allclose(step_T, step_T[0], rtol=0.01)


def test_a_path_between_codes_that_the_film_lacks_begins_and_ends_there(circle_NZ):
    start_Z, end_Z = np.array([2.0, 0.1]), np.array([-2.0, 0.1])
    path_TZ = FilmCodes(circle_NZ).shortest_path(start_Z, end_Z, FRACTIONS)
    np.testing.assert_allclose(path_TZ[[0, -1]], [start_Z, end_Z])
    assert path_TZ[50] == pytest.approx([0, 1], abs=0.06)


def test_a_path_between_equal_codes_stays(circle_NZ):
    path_TZ = FilmCodes(circle_NZ).shortest_path(circle_NZ[3], circle_NZ[3], FRACTIONS)
    np.testing.assert_allclose(path_TZ, np.tile(circle_NZ[3], (101, 1)), atol=1e-12)


@pytest.mark.parametrize("count", [1, 2])
def test_without_codes_in_between_a_path_is_straight(count):
    codes_NZ = np.zeros((count, 3))
    np.testing.assert_allclose(
        FilmCodes(codes_NZ).shortest_path(np.zeros(3), np.ones(3), FRACTIONS),
        FRACTIONS[:, None] * np.ones(3),
    )
    np.testing.assert_array_equal(
        FilmCodes(codes_NZ).shortest_path(codes_NZ[0], codes_NZ[0], FRACTIONS), np.zeros((101, 3))
    )


def test_mixtures_lie_among_neighbouring_codes(circle_NZ):
    draws_NZ = FilmCodes(circle_NZ).mixtures(np.random.default_rng(0), 200)
    chord = np.cos(2 * np.pi * NEIGHBOURS / 60 / 2)  # how far within a circle such neighbours reach
    radius_N = np.linalg.norm(draws_NZ, axis=1)
    assert chord < radius_N.min() < radius_N.max() <= 1
    assert abs(draws_NZ.mean(axis=0)).max() < 0.15  # of the whole film
    assert len(np.unique(draws_NZ, axis=0)) == 200


def test_a_long_film_is_thinned_evenly():
    codes_TZ = np.arange(3 * MAX_CODES)[:, None] * np.ones(2)
    thinned_NZ = FilmCodes.of(codes_TZ).codes_NZ
    np.testing.assert_array_equal(thinned_NZ, codes_TZ[::3])
    np.testing.assert_array_equal(FilmCodes.of(codes_TZ[:5]).codes_NZ, codes_TZ[:5])


def test_numbers_are_spaced_evenly():
    assert evenly_spaced(10, 4).tolist() == [0, 2, 5, 7]
    assert evenly_spaced(3, 4).tolist() == [0, 1, 2]
    assert evenly_spaced(3, 0, least=4).tolist() == [0, 0, 1, 2]
