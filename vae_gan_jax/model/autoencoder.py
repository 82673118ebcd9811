"""Frames to pixels in -1..1, through encoder and decoder (eq. 4.1), and back to frames."""

import jax
import jax.numpy as jnp

from vae_gan_jax.model import networks


def from_frames(frames_BHWC):
    """uint8 frames as floats in -1..1: 0 is -1, 255 is 1."""
    return frames_BHWC.astype(jnp.float32) / 127.5 - 1.0


def to_frames(x_BHWC):
    """Floats in -1..1 as uint8 frames, rounded to the nearest."""
    return jnp.clip(jnp.round((x_BHWC + 1.0) * 127.5), 0, 255).astype(jnp.uint8)


def noise(key, shape: tuple[int, int], noise_std):
    """epsilon ~ N(0, noise_std^2), ``[B, Z]`` (4.5.1)."""
    return noise_std * jax.random.normal(key, shape)


def reparameterise(mean_BZ, log_variance_BZ, epsilon_BZ):
    """z = mean + sigma * epsilon (4.2.1)."""
    return mean_BZ + jnp.exp(0.5 * log_variance_BZ) * epsilon_BZ


def sample_prior(prior: str, key, shape: tuple[int, int]):
    """z_p of Algorithm 1, ``[B, Z]``: from N(0, I), or uniform(-1, 1) as in the released code."""
    if prior == "uniform":
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
    return jax.random.normal(key, shape)


def _apply(config, name, params, batch_stats, inputs, train: bool):
    """A network's outputs and its batch statistics, updated if ``train``; a folded one has none."""
    variables = {"params": params[name], "batch_stats": batch_stats[name]}
    outputs, updated = networks.create(config, folded=not batch_stats[name])[name].apply(
        variables, inputs, train, mutable=["batch_stats"]
    )
    return outputs, updated.get("batch_stats", {})


def encode(config, params, batch_stats, frames_BHWC, train: bool):
    """Encodes uint8 frames to ``(mean_BZ, log_variance_BZ)``; also returns its batch statistics."""
    return _apply(config, "encoder", params, batch_stats, from_frames(frames_BHWC), train)


def decode(config, params, batch_stats, z_BZ, train: bool):
    """Decodes latents to ``x_BHWC`` in -1..1; also returns the decoder's batch statistics."""
    return _apply(config, "decoder", params, batch_stats, z_BZ, train)


def discriminate(config, params, batch_stats, frames_BHWC):
    """The discriminator's logit and activations of uint8 frames, by its running statistics."""
    x_BHWC = from_frames(frames_BHWC)
    outputs, _ = _apply(config, "discriminator", params, batch_stats, x_BHWC, train=False)
    return outputs


def autoencode(config, params, batch_stats, frames_BHWC, key, noise_std, train: bool):
    """Passes frames through encoder and decoder (4.6).

    Args:
      config: a ``Config``.
      params, batch_stats: of the networks, by name.
      frames_BHWC: uint8 frames.
      key: of the noise.
      noise_std: standard deviation of the noise; with 0 the decoder is given the mean.
      train: normalise by this batch's own statistics instead of the running ones.

    Returns:
      ``x_BHWC`` in -1..1 and the batch statistics of both networks, by name, updated if ``train``.
    """
    (mean_BZ, log_variance_BZ), encoder_stats = encode(
        config, params, batch_stats, frames_BHWC, train
    )
    z_BZ = mean_BZ
    if not isinstance(noise_std, float | int) or noise_std:  # or the variance need not be computed
        z_BZ = reparameterise(mean_BZ, log_variance_BZ, noise(key, mean_BZ.shape, noise_std))
    x_BHWC, decoder_stats = decode(config, params, batch_stats, z_BZ, train)
    return x_BHWC, {"encoder": encoder_stats, "decoder": decoder_stats}
