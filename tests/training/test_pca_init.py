"""PCA initialisation: the linear skip is the film's principal components."""

import dataclasses

import jax
import numpy as np
import pytest

from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder
from vae_gan_jax.training import pca_init, train_state, train_step


def pictures(count, pixels, rank):
    random = np.random.default_rng(0)
    mixed = random.normal(size=(count, rank)) @ random.normal(size=(rank, pixels))
    return 0.1 + 0.05 * mixed


@pytest.mark.parametrize("count", [50, 20])
def test_pictures_of_few_components_are_restored(count):
    """With more pictures than pixels, and with fewer."""
    small_NP = pictures(count, 30, 4)
    centre_P, encoding_PZ, decoding_ZP = pca_init.components(small_NP, 6)
    codes_NZ = (small_NP - centre_P) @ encoding_PZ
    assert np.allclose(codes_NZ @ decoding_ZP + centre_P, small_NP, atol=1e-5)
    assert np.allclose(codes_NZ[:, :4].std(0), 1, atol=1e-4)  # whitened
    assert np.abs(codes_NZ[:, 4:]).max() < 1e-4


def test_small_components_are_not_amplified_to_unit_variance():
    small_NP = pictures(500, 30, 1) + np.random.default_rng(1).normal(size=(500, 30)) * 1e-5
    centre_P, encoding_PZ, _ = pca_init.components(small_NP, 6)
    stds_Z = ((small_NP - centre_P) @ encoding_PZ).std(0)
    assert np.isclose(stds_Z[0], 1, atol=1e-4)
    assert stds_Z[1:].max() < 0.1


@pytest.mark.parametrize("count", [5, 50])
def test_a_film_of_one_picture_gives_that_picture(count):
    """Also if the pictures differ by rounding errors."""
    small_NP = 0.3 + 1e-9 * np.random.default_rng(0).normal(size=(count, 12))
    centre_P, encoding_PZ, decoding_ZP = pca_init.components(small_NP, 20)
    assert not encoding_PZ.any()
    assert not decoding_ZP.any()
    assert np.allclose(centre_P, 0.3)


def test_initialised_reconstructions_are_closer_to_the_film(small):
    """Frames of one varying grey level, which the first component represents."""
    between = np.linspace(40, 200, 10)[:, None, None, None]
    frames_THWC = np.broadcast_to(between, (10, small.height, small.width, 3)).astype(np.uint8)
    config = dataclasses.replace(small, networks="residual")
    fresh = train_state.create(config, jax.random.key(0))
    initialised = pca_init.begin(config, fresh, TrainingFrames(frames_THWC))
    assert jax.tree.structure(initialised) == jax.tree.structure(fresh)
    errors = []
    for state in (fresh, initialised):
        x_BHWC, _ = autoencoder.autoencode(
            config.step,
            state.inference_variables,
            frames_THWC,
            jax.random.key(1),
            None,
            train=False,
        )
        difference = np.asarray(x_BHWC) - np.asarray(autoencoder.from_frames(frames_THWC))
        errors.append(np.square(difference).mean())
    assert errors[1] < 0.02 * errors[0]


@pytest.mark.slow
def test_training_does_not_change_the_components(small, frames_THWC):
    """They are data, without moments of Adam."""
    config = dataclasses.replace(small, networks="residual")
    state = pca_init.begin(
        config, train_state.create(config, jax.random.key(0)), TrainingFrames(frames_THWC)
    )
    before = jax.device_get(state.constants)
    assert all(leaf.any() for leaf in jax.tree.leaves(before))
    for step in range(2):
        state, _ = train_step.train_step(
            state, frames_THWC[:4], jax.random.key(step), np.float32(0.1), config
        )
    jax.tree.map(np.testing.assert_array_equal, state.constants, before)
    assert "linear" not in str(jax.tree.structure((state.params, state.opt_state)))
    for name, constants in before.items():
        own = {"pca": state.inference_variables[name]["pca"]}
        jax.tree.map(np.testing.assert_array_equal, own, constants)
