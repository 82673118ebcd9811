"""Noise, samples of the prior, and frames as floats."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.model import autoencoder


def test_noise_has_the_given_standard_deviation():
    """z - mean has the standard deviation sigma * noise_std."""
    mean_BZ = jnp.zeros((200, 300))
    log_variance_BZ = jnp.full((200, 300), 0.4)
    epsilon_BZ = autoencoder.noise(jax.random.key(0), mean_BZ.shape, 0.25)
    z_BZ = autoencoder.reparameterise(mean_BZ, log_variance_BZ, epsilon_BZ)
    np.testing.assert_allclose(z_BZ.std(), 0.25 * np.exp(0.2), rtol=0.01)
    silence_BZ = autoencoder.noise(jax.random.key(0), mean_BZ.shape, 0.0)
    silent_BZ = autoencoder.reparameterise(mean_BZ, log_variance_BZ, silence_BZ)
    np.testing.assert_array_equal(silent_BZ, mean_BZ)


@pytest.mark.parametrize(("prior", "std"), [("normal", 1.0), ("uniform", 3**-0.5)])
def test_priors(prior, std):
    z_BZ = autoencoder.sample_prior(prior, jax.random.key(0), (200, 300))
    np.testing.assert_allclose(z_BZ.mean(), 0, atol=0.02)
    np.testing.assert_allclose(z_BZ.std(), std, rtol=0.02)
    assert (float(jnp.abs(z_BZ).max()) <= 1) is (prior == "uniform")


def test_frames_to_floats_and_back_is_exact():
    frames_BHWC = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    x_BHWC = autoencoder.from_frames(jnp.asarray(frames_BHWC))
    assert (x_BHWC.min(), x_BHWC.max()) == (-1, 1)
    np.testing.assert_array_equal(autoencoder.to_frames(x_BHWC), frames_BHWC)
