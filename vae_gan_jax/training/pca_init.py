"""PCA initialisation: the linear skip starts as the film's principal components."""

import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder, networks
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.train_state import TrainState

MAX_FRAMES = 4000  # frames that the components are computed from
BLOCK_FRAMES = 100  # frames read and downscaled at a time
LATENT_STD = 0.7  # standard deviation of each latent before tanh
# Components with less than this fraction of the first component's standard deviation get a smaller
# LATENT_STD; full amplification would mostly amplify noise.
MIN_RELATIVE_STD = 0.2
NOISE_STD = 0.05  # noise on the codes that the decoder's regression expects; schedules end with it
MAX_TANH = 0.98  # pixels are clipped to this before arctanh, which is infinite at 1
LAST_LAYER_SCALE = 0.1  # factor on the kernels of the last convolutional layers


def begin(config: Config, fresh: TrainState, film: TrainingFrames) -> TrainState:
    """Initialises the linear skip to encode and decode the film's principal components.

    The last convolutional layers start small, so that they add what linear maps cannot represent.

    Args:
      config: settings with ``linear_skip``.
      fresh: a state from ``train_state.create``.
      film: the frames to learn from; the components come from up to ``MAX_FRAMES`` of them, evenly
        spaced, regardless of their weights.
    """
    count = min(MAX_FRAMES, len(film))
    chosen = film.training_T[np.arange(count) * len(film) // count]
    blocks = np.split(chosen, range(BLOCK_FRAMES, count, BLOCK_FRAMES))
    small_NHWC = np.concatenate([_downscale(config, film.frames_THWC[block]) for block in blocks])
    linear_maps = components(small_NHWC.reshape(count, -1), config.z_dim, config.tanh_scale)
    centre_P, encoding_PZ, decoding_ZP, offset_P = processes.broadcast_from_first(linear_maps)
    encoder, decoder = (
        fresh.params[name] | {last: _scale_kernel(fresh.params[name][last])}
        for name, last in (("encoder", "mean"), ("decoder", f"convolution_{networks.LAYERS}"))
    )
    encoder |= {"linear": {"kernel": networks.SKIP_DIVISOR * encoding_PZ}}
    decoder |= {"linear": {"kernel": decoding_ZP, "bias": offset_P}}
    centre_HWC = centre_P.reshape(fresh.constants["encoder"]["pca"]["centre"].shape)
    return fresh.replace(
        params=fresh.params | {"encoder": encoder, "decoder": decoder},
        constants={"encoder": {"pca": {"centre": centre_HWC}}},
    )


def _downscale(config: Config, frames_BHWC: np.ndarray) -> np.ndarray:
    size = networks.skip_size(config.height, config.width)
    return np.asarray(networks.resize(autoencoder.from_frames(frames_BHWC), size))


def _scale_kernel(layer: dict) -> dict:
    return layer | {"kernel": LAST_LAYER_SCALE * layer["kernel"]}


def components(small_NP: np.ndarray, z_dim: int, tanh_scale: float) -> tuple[np.ndarray, ...]:
    """Computes linear maps from pictures to whitened principal components and back.

    The encoder applies tanh to the components. The decoder's map is a ridge regression from noisy
    codes to the arctanh of the pixels, because the decoder ends with a tanh.

    Args:
      small_NP: downscaled pictures in -1..1.
      z_dim: number of components; those that the pictures do not have are 0.
      tanh_scale: factor on the decoder's tanh.

    Returns:
      float32: mean picture ``[P]``, encoding ``[P, Z]``, decoding ``[Z, P]``, its bias ``[P]``.
    """
    small_NP = small_NP.astype(np.float64)
    count, pixels = small_NP.shape
    centre_P = small_NP.mean(0)
    difference_NP = small_NP - centre_P
    variance_P, direction_PP = np.linalg.eigh(difference_NP.T @ difference_NP / count)
    rank = min(z_dim, pixels)
    std_Z = np.sqrt(np.maximum(variance_P[::-1][:rank], 0))
    encoding_PZ = np.zeros((pixels, z_dim))
    if std_Z[0]:
        scale_Z = LATENT_STD / np.maximum(std_Z, MIN_RELATIVE_STD * std_Z[0])
        encoding_PZ[:, :rank] = direction_PP[:, ::-1][:, :rank] * scale_Z[None]
    codes_NZ = np.tanh(difference_NP @ encoding_PZ)
    mean_Z = codes_NZ.mean(0)
    target_NP = np.arctanh(np.clip(small_NP / tanh_scale, -MAX_TANH, MAX_TANH))
    difference_NZ = codes_NZ - mean_Z
    covariance_ZZ = difference_NZ.T @ difference_NZ + count * NOISE_STD**2 * np.eye(z_dim)
    decoding_ZP = np.linalg.solve(covariance_ZZ, difference_NZ.T @ target_NP)
    offset_P = target_NP.mean(0) - mean_Z @ decoding_ZP
    return tuple(map(np.float32, (centre_P, encoding_PZ, decoding_ZP, offset_P)))
