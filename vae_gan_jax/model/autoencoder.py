"""uint8 frames through encoder and decoder (eq. 4.1) and back to uint8 frames.

``variables`` holds each network's Flax collections by the network's name: ``params``,
``batch_stats`` and, of residual networks, the encoder's ``pca``.
"""

import jax
import jax.numpy as jnp

from vae_gan_jax.model import networks


def from_frames(frames_BHWC):
    """Converts uint8 frames to floats: 0 becomes -1, 255 becomes 1."""
    return frames_BHWC.astype(jnp.float32) / 127.5 - 1.0


def to_frames(x_BHWC):
    """Converts floats to uint8 frames: rounds, and clips values outside -1..1."""
    return jnp.clip(jnp.round((x_BHWC + 1.0) * 127.5), 0, 255).astype(jnp.uint8)


def noise(key, shape: tuple[int, int], noise_std):
    """Draws epsilon ~ N(0, noise_std^2), ``[B, Z]`` (4.5.1)."""
    return noise_std * jax.random.normal(key, shape)


def reparameterise(mean_BZ, log_variance_BZ, epsilon_BZ):
    """Reparameterises: z = mean + sigma * epsilon (4.2.1)."""
    return mean_BZ + jnp.exp(0.5 * log_variance_BZ) * epsilon_BZ


def sample_prior(prior: str, key, shape: tuple[int, int]):
    """Draws z_p of Algorithm 1, ``[B, Z]``: N(0, I), or uniform(-1, 1) as in the released code."""
    if prior == "uniform":
        return jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
    return jax.random.normal(key, shape)


def with_batch_stats(variables: dict, batch_stats: dict) -> dict:
    """Replaces the batch-norm statistics of the networks that ``batch_stats`` names."""
    replaced = {name: variables[name] | {"batch_stats": batch_stats[name]} for name in batch_stats}
    return variables | replaced


def _apply(config, name: str, variables: dict, inputs, train: bool):
    fused = "batch_stats" not in variables[name]
    outputs, updated = networks.create(config, fused)[name].apply(
        variables[name], inputs, train, mutable=["batch_stats"]
    )
    return outputs, updated.get("batch_stats", {})


def encode(config, variables: dict, frames_BHWC, train: bool):
    """Encodes uint8 frames.

    Args:
      config: a ``StepConfig``.
      variables: collections by network.
      frames_BHWC: uint8 frames.
      train: normalise with the batch's own statistics instead of the running ones.

    Returns:
      ``(mean_BZ, log_variance_BZ)``, and the encoder's batch statistics, updated if ``train``.
    """
    return _apply(config, "encoder", variables, from_frames(frames_BHWC), train)


def decode(config, variables: dict, z_BZ, train: bool):
    """Decodes latent codes to ``x_BHWC``; also returns the decoder's batch statistics."""
    return _apply(config, "decoder", variables, z_BZ, train)


def discriminate(config, variables: dict, frames_BHWC):
    """Applies the discriminator to uint8 frames, normalised with the running statistics.

    Returns ``logit_B`` and its four activations ``[B, H_l, W_l, F_l]``.
    """
    x_BHWC = from_frames(frames_BHWC)
    outputs, _ = _apply(config, "discriminator", variables, x_BHWC, train=False)
    return outputs


def autoencode(config, variables: dict, frames_BHWC, key, noise_std, train: bool):
    """Passes uint8 frames through encoder and decoder (4.6).

    Args:
      config: a ``StepConfig``.
      variables: collections by network.
      frames_BHWC: uint8 frames.
      key: for the noise.
      noise_std: standard deviation of the noise; with ``None`` the mean is decoded, and XLA drops
        the variance.
      train: normalise with the batch's own statistics instead of the running ones.

    Returns:
      ``x_BHWC`` in -1..1 and the batch statistics of both networks by name, updated if ``train``.
    """
    (mean_BZ, log_variance_BZ), encoder_stats = encode(config, variables, frames_BHWC, train)
    z_BZ = mean_BZ
    if noise_std is not None:
        z_BZ = reparameterise(mean_BZ, log_variance_BZ, noise(key, mean_BZ.shape, noise_std))
    x_BHWC, decoder_stats = decode(config, variables, z_BZ, train)
    return x_BHWC, {"encoder": encoder_stats, "decoder": decoder_stats}
