"""The film's principal components, which are the residual networks' linear skip."""

import numpy as np
import scipy.linalg

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder, residual
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.train_state import TrainState

MAX_FRAMES = 4000  # frames that the components are computed from
BLOCK_FRAMES = 100  # frames read and downscaled at a time
# Latents have unit variance, like samples of the prior. Components with less than this fraction of
# the first one's standard deviation are mostly noise, so they are not amplified to unit variance.
MIN_RELATIVE_STD = 0.02
MIN_STD = 1e-6  # of a component of pictures in -1..1; less is rounding


def begin(config: Config, fresh: TrainState, film: TrainingFrames) -> TrainState:
    """Sets the linear skip to encode and decode the film's principal components.

    ``fresh`` is a state of residual networks. The components come from up to ``MAX_FRAMES`` of the
    frames to learn from, evenly spaced.
    """
    count = min(MAX_FRAMES, len(film))
    chosen = film.training_T[np.arange(count) * len(film) // count]
    blocks = np.split(chosen, range(BLOCK_FRAMES, count, BLOCK_FRAMES))
    size = residual.skip_size(config.height, config.width)
    small = [
        np.asarray(residual.resize(autoencoder.from_frames(film.frames_THWC[block]), size))
        for block in blocks
    ]
    linear_maps = components(np.concatenate(small).reshape(count, -1), config.z_dim)
    centre_P, encoding_PZ, decoding_ZP = processes.broadcast_from_first(linear_maps)
    centre_HWC = centre_P.reshape(fresh.constants["encoder"]["pca"]["centre"].shape)
    encoder = {"centre": centre_HWC, "linear": {"kernel": encoding_PZ}}
    decoder = {"linear": {"kernel": decoding_ZP, "bias": centre_P}}
    return fresh.replace(constants={"encoder": {"pca": encoder}, "decoder": {"pca": decoder}})


def components(small_NP: np.ndarray, z_dim: int) -> tuple[np.ndarray, ...]:
    """Linear maps from pictures to scaled principal components and back, float32.

    ``small_NP`` are downscaled pictures in -1..1. Returns the mean picture ``[P]``, the encoding
    ``[P, Z]`` and the decoding ``[Z, P]``; components that the pictures do not have are 0.
    """
    difference_NP = small_NP.astype(np.float64)
    count, pixels = difference_NP.shape
    centre_P = difference_NP.mean(0)
    difference_NP -= centre_P  # in place: 4,000 pictures of 64x36 take 0.2 GB
    rank = min(z_dim, pixels, count)
    # Both matrices of products have the same non-zero eigenvalues; the smaller one is cheaper.
    few = count < pixels
    product_MM = difference_NP @ difference_NP.T if few else difference_NP.T @ difference_NP
    size = len(product_MM)
    variance_Z, vector_MZ = scipy.linalg.eigh(
        product_MM / count, subset_by_index=(size - rank, size - 1)
    )
    std_Z = np.sqrt(np.maximum(variance_Z[::-1], 0))
    direction_PZ = vector_MZ[:, ::-1]
    if few:
        # Without variance there is no direction, only rounding errors.
        direction_PZ = difference_NP.T @ (direction_PZ * (std_Z > MIN_STD))
        direction_PZ /= np.maximum(np.linalg.norm(direction_PZ, axis=0), MIN_STD)
    encoding_PZ, decoding_ZP = np.zeros((pixels, z_dim)), np.zeros((z_dim, pixels))
    if std_Z[0] > MIN_STD:
        scale_Z = np.maximum(std_Z, MIN_RELATIVE_STD * std_Z[0])
        encoding_PZ[:, :rank] = direction_PZ / scale_Z
        decoding_ZP[:rank] = (direction_PZ * scale_Z).T
    return tuple(map(np.float32, (centre_P, encoding_PZ, decoding_ZP)))
