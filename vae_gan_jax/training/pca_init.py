"""How the linear path begins: as the film's principal components, which linear maps would learn."""

import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder, networks
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.train_state import TrainState

FRAMES = 4000  # that the components are taken from, or all there are
BLOCK = 100  # frames that are read and made small at a time
AMPLITUDE = 0.7  # of a component before its tanh, its standard deviation
# Of the first component's deviation. One that has less is not amplified more: its noise would be.
LEAST = 0.2
NOISE = 0.05  # standard deviation of what the way back takes the codes to have: schedules end so
WITHIN = 0.98  # of the last tanh's range; beyond, the way back would go far for a last bit of black
CONVOLUTIONS = 0.1  # what kernels of the last convolutional layers begin at, of what they have been


def begin(
    config: Config,
    fresh: TrainState,
    film: TrainingFrames,
) -> TrainState:
    """A fresh state whose linear path encodes and decodes the film's principal components.

    What the convolutions add to both begins small, and so as what linear maps cannot do.

    Args:
      config: of a run with ``linear_skip``.
      fresh: what ``train_state.create`` gives.
      film: the frames to learn from. Some are looked at, evenly over the film,
        also with ``novelty``: held pictures and fades are what components know best.
    """
    count = min(FRAMES, len(film))
    chosen = film.training_T[np.arange(count) * len(film) // count]
    blocks = np.split(chosen, range(BLOCK, count, BLOCK))
    small_NHWC = np.concatenate([_small(config, film.frames_THWC[block]) for block in blocks])
    found = components(small_NHWC.reshape(count, -1), config.z_dim, config.tanh_scale)
    centre_P, encoding_PZ, decoding_ZP, offset_P = processes.broadcast_from_first(found)
    encoder, decoder = (
        fresh.params[name] | {last: _smaller(fresh.params[name][last])}
        for name, last in (("encoder", "mean"), ("decoder", f"convolution_{networks.LAYERS}"))
    )
    encoder |= {"linear": {"kernel": networks.SMALL_DIVISOR * encoding_PZ}}
    decoder |= {"linear": {"kernel": decoding_ZP, "bias": offset_P}}
    centre_HWC = centre_P.reshape(fresh.constants["encoder"]["pca"]["centre"].shape)
    return fresh.replace(
        params=fresh.params | {"encoder": encoder, "decoder": decoder},
        constants={"encoder": {"pca": {"centre": centre_HWC}}},
    )


def _small(config: Config, frames_BHWC: np.ndarray) -> np.ndarray:
    size = networks.small_size(config.height, config.width)
    return np.asarray(networks.resized(autoencoder.from_frames(frames_BHWC), size))


def _smaller(layer: dict) -> dict:
    return layer | {"kernel": CONVOLUTIONS * layer["kernel"]}


def components(small_NP: np.ndarray, z_dim: int, tanh_scale: float) -> tuple[np.ndarray, ...]:
    """Linear maps to codes of the principal components, of which the tanh is taken, and back.

    The components have one scale, but for those of little deviation. The way back is the ridge
    regression, for codes with noise, of what the decoder's own tanh makes the pictures of.

    Args:
      small_NP: small pictures in -1..1.
      z_dim: how many components; what the pictures do not have of them is 0.
      tanh_scale: what the decoder's tanh is multiplied by.

    Returns:
      The pictures' mean ``[P]``, the way there ``[P, Z]``, the way back ``[Z, P]`` and what it is
      added to, ``[P]``; float32.
    """
    small_NP = small_NP.astype(np.float64)
    count, pixels = small_NP.shape
    centre_P = small_NP.mean(0)
    difference_NP = small_NP - centre_P
    variance_P, direction_PP = np.linalg.eigh(difference_NP.T @ difference_NP / count)
    found = min(z_dim, pixels)
    deviation_Z = np.sqrt(np.maximum(variance_P[::-1][:found], 0))
    encoding_PZ = np.zeros((pixels, z_dim))
    if deviation_Z[0]:
        scale_Z = AMPLITUDE / np.maximum(deviation_Z, LEAST * deviation_Z[0])
        encoding_PZ[:, :found] = direction_PP[:, ::-1][:, :found] * scale_Z[None]
    codes_NZ = np.tanh(difference_NP @ encoding_PZ)
    middle_Z = codes_NZ.mean(0)
    target_NP = np.arctanh(np.clip(small_NP / tanh_scale, -WITHIN, WITHIN))
    centred_NZ = codes_NZ - middle_Z
    square_ZZ = centred_NZ.T @ centred_NZ + count * NOISE**2 * np.eye(z_dim)
    decoding_ZP = np.linalg.solve(square_ZZ, centred_NZ.T @ target_NP)
    offset_P = target_NP.mean(0) - middle_Z @ decoding_ZP
    return tuple(map(np.float32, (centre_P, encoding_PZ, decoding_ZP, offset_P)))
