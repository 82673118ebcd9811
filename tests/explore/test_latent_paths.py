"""Paths through the latent space: where they begin and end, and how they are distributed."""

import numpy as np
import pytest

from vae_gan_jax.explore import latent_paths
from vae_gan_jax.inference.gaussian import fit

FRACTIONS = np.linspace(0, 1, 9)


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize("interpolation", [latent_paths.slerp, latent_paths.lerp])
def test_an_interpolation_begins_and_ends_at_its_stops(interpolation, random):
    stops_NZ = random.normal(size=(4, 5))
    position_T = np.linspace(0, 3, 31)
    path_TZ = latent_paths.path_through(stops_NZ, position_T, interpolation)
    np.testing.assert_allclose(path_TZ[::10], stops_NZ, atol=1e-12)
    np.testing.assert_allclose(
        latent_paths.path_through(stops_NZ[:1], np.zeros(3), interpolation),
        np.repeat(stops_NZ[:1], 3, axis=0),
    )


def test_slerp_keeps_lengths_and_turns_evenly(random):
    """Between codes of length 2 and 4; a linear interpolation would be shorter."""
    start_Z, end_Z = random.normal(size=(2, 6))
    start_Z, end_Z = 2 * start_Z / np.linalg.norm(start_Z), 4 * end_Z / np.linalg.norm(end_Z)
    path_TZ = latent_paths.slerp(start_Z, end_Z, FRACTIONS)
    length_T = np.linalg.norm(path_TZ, axis=1)
    np.testing.assert_allclose(length_T, np.linspace(2, 4, 9))
    direction_TZ = path_TZ / length_T[:, None]
    cosine_T = (direction_TZ[1:] * direction_TZ[:-1]).sum(axis=1)
    np.testing.assert_allclose(cosine_T, cosine_T[0])
    straight_TZ = latent_paths.lerp(start_Z, end_Z, FRACTIONS)
    assert (np.linalg.norm(straight_TZ[1:-1], axis=1) < length_T[1:-1]).all()


@pytest.mark.parametrize("end", [[2.0, 0.0], [-1.0, 0.0], [0.0, 0.0], [1.0, 1e-9]])
def test_slerp_along_one_line_is_linear(end):
    start_Z, end_Z = np.array([1.0, 0.0]), np.array(end)
    np.testing.assert_allclose(
        latent_paths.slerp(start_Z, end_Z, FRACTIONS), latent_paths.lerp(start_Z, end_Z, FRACTIONS)
    )


def test_eased_positions_stop_at_the_stops():
    position_T = latent_paths.eased_positions(3, 201)
    assert (position_T[0], position_T[100], position_T[-1]) == (0, 1, 2)
    pace_T = np.diff(position_T)
    assert (pace_T >= 0).all()
    assert max(pace_T[0], pace_T[99], pace_T[100], pace_T[-1]) < 0.1 * pace_T.max()


def test_the_step_that_closes_a_loop_is_as_large_as_the_others():
    path_TZ = latent_paths.loop(0, frames=200, dimensions=50, harmonics=3)
    step_T = np.linalg.norm(np.roll(path_TZ, -1, axis=0) - path_TZ, axis=1)
    assert step_T[-1] < 1.05 * max(step_T[0], step_T[-2])
    assert step_T.max() < 0.2 * np.linalg.norm(path_TZ, axis=1).mean()


def test_every_point_of_a_loop_is_a_draw_of_the_prior():
    """Over many seeds, at one point and at another: mean 0 and variance 1 in every dimension."""
    draws = np.stack([latent_paths.loop(seed, 7, 4, 2)[[0, 3]] for seed in range(2000)])
    assert np.abs(draws.mean(axis=0)).max() < 0.1
    assert np.abs(draws.var(axis=0) - 1).max() < 0.15
    uniform = latent_paths.to_uniform(draws)
    assert (uniform.min(), uniform.max()) == pytest.approx((-1, 1), abs=0.01)
    assert np.abs(uniform.var(axis=0) - 1 / 3).max() < 0.05


def test_a_fitted_gaussian_has_the_mean_and_covariance_of_the_codes(random):
    codes_TZ = random.normal(size=(500, 3)) @ np.array([[2, 1, 0], [0, 0.5, 0], [0, 0.1, 0.1]]) + 5
    gaussian = fit(codes_TZ)
    assert (np.diff(gaussian.std_K) < 0).all()
    np.testing.assert_allclose(
        gaussian.components_KZ @ gaussian.components_KZ.T, np.eye(3), atol=1e-9
    )
    scaled_KZ = gaussian.std_K[:, None] * gaussian.components_KZ
    np.testing.assert_allclose(gaussian.mean_Z, codes_TZ.mean(axis=0))
    np.testing.assert_allclose(scaled_KZ.T @ scaled_KZ, np.cov(codes_TZ.T), atol=1e-9)


def test_a_gaussian_of_two_codes_lies_on_their_line():
    gaussian = fit(np.array([[0.0, 0.0, 1.0], [0.2, 0.0, 1.0]]))
    np.testing.assert_allclose(gaussian.components_KZ[0], [1, 0, 0], atol=1e-9)
    np.testing.assert_allclose(gaussian.std_K, [0.2 / np.sqrt(2), 0, 0], atol=1e-9)
