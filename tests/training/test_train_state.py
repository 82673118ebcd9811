"""The learning rate's decay: its values, and that the training loop knows how long it is."""

import dataclasses

import jax
import numpy as np
import pytest

from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import loop, train_state, train_step


@pytest.fixture
def cosine(small):
    return dataclasses.replace(small, networks="residual")


@pytest.mark.parametrize(
    ("middle", "factor"), [(0, 0.0), (25, 0.5), (50, 1.0), (525, 0.5), (1000, 0.0)]
)
def test_the_rate_rises_for_a_twentieth_then_falls_along_a_cosine(cosine, middle, factor):
    decay = train_state.decay(cosine, middle - 0.5, np.int32(1000))
    assert np.isclose(decay, factor, atol=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 19, 1000])
def test_the_rate_of_every_step_is_above_0(cosine, steps):
    assert train_state.decay(cosine, np.arange(steps), np.int32(steps)).min() > 0


def test_the_rate_is_constant_for_the_thesis_s_networks_and_without_a_known_length(small, cosine):
    assert train_state.decay(small, 500, np.int32(1000)) == 1
    assert train_state.decay(cosine, 500, np.int32(0)) == 1


@pytest.mark.slow
def test_the_factor_scales_the_updates(cosine, frames_THWC):
    """With half the rate, a first step moves the weights half as far."""
    state = train_state.create(cosine, jax.random.key(0))
    updates = [
        train_step.network_updates(
            state.replace(step=np.int32(1), total_steps=np.int32(total)),
            frames_THWC[:4], jax.random.key(1), np.float32(0.1), cosine,
        ).updates
        for total in (0, 40)
    ]  # fmt: skip
    for whole, half in zip(*map(jax.tree.leaves, updates), strict=True):
        np.testing.assert_allclose(half, 0.5 * whole, rtol=1e-5)


@pytest.mark.slow
def test_a_run_that_is_made_longer_decays_over_its_new_length(cosine, frames_THWC, tmp_path):
    film = TrainingFrames(frames_THWC)
    for epochs in (1, 3):
        config = dataclasses.replace(cosine, noise_schedule=(0.1,) * epochs)
        state = loop.train(config, film, tmp_path)
        assert int(state.total_steps) == int(state.step) == 2 * epochs
