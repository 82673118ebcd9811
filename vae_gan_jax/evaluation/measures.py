"""Measures of reconstructed frames against their source: pure functions of arrays, in jax.

Frames are uint8; errors and changes are in their units, 1/255 of white.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vae_gan_jax.model import autoencoder, objectives

MEANS = ("ssim", "ms_ssim", "vmaf", "similarity")  # averaged over the frames of a shot or film
MAX_PSNR = 100.0  # dB; the PSNR of equal frames, whose error is 0
LUMA = (0.2126, 0.7152, 0.0722)  # BT.709
WINDOW, WINDOW_STD = 11, 1.5  # pixels; SSIM, Wang et al. 2004
SSIM_CONSTANTS = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # MS-SSIM, Wang et al. 2003
LOW_PASS = 4  # side in pixels of the squares over which movement is averaged
MIN_THUMBNAIL_SIDE = 18  # pixels


def psnr(squared_error):
    """Peak signal-to-noise ratio in dB of a mean squared error, at most ``MAX_PSNR``."""
    min_error = 255.0**2 / 10 ** (MAX_PSNR / 10)
    return 10 * np.log10(255.0**2 / np.maximum(squared_error, min_error))


def luma(frames_BHWC):
    """BT.709 luma of frames, float32 ``[B, H, W]``, 0..255."""
    weights = jnp.array(LUMA, jnp.float32)
    return jnp.einsum("bhwc,c->bhw", frames_BHWC.astype(jnp.float32), weights, precision="highest")


def errors(source_BHWC, output_BHWC):
    """Mean squared and mean absolute error of each frame over pixels and colours, ``[B]`` each."""
    difference_BHWC = source_BHWC.astype(jnp.float32) - output_BHWC.astype(jnp.float32)
    axes = (1, 2, 3)
    return jnp.square(difference_BHWC).mean(axes), jnp.abs(difference_BHWC).mean(axes)


def laplacian_energy(frames_BHWC):
    """Mean squared Laplacian (four neighbours) of each frame's luma, ``[B]``: its fine detail.

    Noise and checkerboards count as detail too, so the aim is the source's value, not more.
    """
    y_BHW = luma(frames_BHWC)
    vertical_BHW = y_BHW[:, :-2, 1:-1] + y_BHW[:, 2:, 1:-1]
    horizontal_BHW = y_BHW[:, 1:-1, :-2] + y_BHW[:, 1:-1, 2:]
    laplacian_BHW = vertical_BHW + horizontal_BHW - 4 * y_BHW[:, 1:-1, 1:-1]
    return jnp.square(laplacian_BHW).mean((1, 2))


def scales(height: int, width: int) -> int:
    """How many of MS-SSIM's five scales fit into frames of this size; at least one."""
    fitting = [s for s in range(len(SCALE_WEIGHTS)) if min(height, width) >> s >= WINDOW]
    return max(1, len(fitting))


def ssim(source_BHWC, output_BHWC):
    """SSIM and MS-SSIM of the luma of each frame, ``[B]`` each (Wang et al. 2004, 2003).

    The Gaussian window stays inside the picture. MS-SSIM uses the scales that fit, normalises their
    weights to the sum 1, and clips negative structure to 0.

    Args:
      source_BHWC, output_BHWC: uint8 frames of at least 11 by 11 pixels.
    """
    x_BHW, y_BHW = luma(source_BHWC), luma(output_BHWC)
    count = scales(*x_BHW.shape[1:])
    weights = np.array(SCALE_WEIGHTS[:count]) / sum(SCALE_WEIGHTS[:count])
    ssim_B, structure_B = _ssim_of_scale(x_BHW, y_BHW)
    single_B, product_B = ssim_B, jnp.ones(len(x_BHW))
    for weight in weights[:-1]:
        product_B *= jnp.maximum(structure_B, 0.0) ** weight
        x_BHW, y_BHW = _halve(x_BHW), _halve(y_BHW)
        ssim_B, structure_B = _ssim_of_scale(x_BHW, y_BHW)
    return single_B, product_B * jnp.maximum(ssim_B, 0.0) ** weights[-1]


def _ssim_of_scale(x_BHW, y_BHW):
    """Means of SSIM, and of its contrast and structure terms alone, ``[B]`` each."""
    _, height, width = x_BHW.shape
    rows, columns = _gaussian_matrix(height), _gaussian_matrix(width)

    def blur(picture_BHW):
        return jnp.einsum("ih,bhw,jw->bij", rows, picture_BHW, columns, precision="highest")

    mean_x, mean_y = blur(x_BHW), blur(y_BHW)
    variance_x = blur(x_BHW * x_BHW) - mean_x * mean_x
    variance_y = blur(y_BHW * y_BHW) - mean_y * mean_y
    covariance = blur(x_BHW * y_BHW) - mean_x * mean_y
    c1, c2 = SSIM_CONSTANTS
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    brightness = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return (brightness * structure).mean((1, 2)), structure.mean((1, 2))


def _gaussian_matrix(length: int) -> np.ndarray:
    """Convolution with the Gaussian window along a side, as a matrix ``[length - 10, length]``."""
    weights = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / WINDOW_STD) ** 2)
    matrix = np.zeros((length - WINDOW + 1, length), np.float32)
    for offset, row in enumerate(matrix):
        row[offset : offset + WINDOW] = weights / weights.sum()
    return matrix


def _halve(picture_BHW):
    return _area_means(picture_BHW[..., None], 2)[..., 0]


def _area_means(picture_BHWC, factor: int):
    """Means over squares of ``factor`` pixels; crops incomplete squares at the right and bottom."""
    batch, height, width, channels = picture_BHWC.shape
    height, width = height // factor, width // factor
    squares = picture_BHWC[:, : height * factor, : width * factor]
    return squares.reshape(batch, height, factor, width, factor, channels).mean((2, 4))


def low_pass(frames_BHWC):
    """Means over squares of 4 by 4 pixels, float32 ``[B, H // 4, W // 4, 3]``, 0..255."""
    return _area_means(frames_BHWC.astype(jnp.float32), LOW_PASS)


def thumbnails(frames_BHWC):
    """Frames reduced to a shorter side of 18 to 35 pixels, flattened, uint8 ``[B, P]``."""
    factor = max(1, min(frames_BHWC.shape[1:3]) // MIN_THUMBNAIL_SIDE)
    means_BHWC = _area_means(frames_BHWC.astype(jnp.float32), factor)
    return jnp.round(means_BHWC).astype(jnp.uint8).reshape(len(frames_BHWC), -1)


def changes(source_THWC, output_THWC):
    """Means over pixels and colours that measure collapse, for each frame's change.

    d is the change of the low-passed source since the previous frame, e that of the reconstruction.
    Returns a dict of ``[T - 1]``: ``source`` |d|, ``output`` |e|, ``source_square`` d²,
    ``output_square`` e², ``product`` d·e.
    """
    d, e = (frames[1:] - frames[:-1] for frames in (source_THWC, output_THWC))
    values = {
        "source": jnp.abs(d),
        "output": jnp.abs(e),
        "source_square": d * d,
        "output_square": e * e,
        "product": d * e,
    }
    return {name: value.mean((1, 2, 3)) for name, value in values.items()}


def similarity(config, variables, source_BHWC, output_BHWC):
    """L_like (eq. 4.11) of each frame, ``[B]``; 0 for equal frames.

    The discriminator normalises with its running statistics. With a batch's own statistics, as in
    training, a frame's value would depend on the other frames of its batch.

    Args:
      config: a ``StepConfig``.
      variables: collections by network.
      source_BHWC, output_BHWC: uint8 frames.
    """
    source, output = (
        autoencoder.discriminate(config, variables, frames_BHWC)[1]
        for frames_BHWC in (source_BHWC, output_BHWC)
    )
    return jax.vmap(objectives.learned_similarity)(source, output)


@jax.jit
def _nearest(block_BP, candidates_NP, excluded_B):
    x_BP = block_BP.astype(jnp.float32) - 128
    candidates_NP = candidates_NP.astype(jnp.float32) - 128
    squares_N = jnp.square(candidates_NP).sum(1)
    product_BN = jnp.matmul(x_BP, candidates_NP.T, precision="highest")
    distance_BN = squares_N[None] - 2 * product_BN  # without |x|², which is equal for all
    is_excluded_BN = jnp.arange(len(candidates_NP))[None] == excluded_B[:, None]
    return jnp.where(is_excluded_BN, jnp.inf, distance_BN).argmin(1)


def nearest(frames_TP, candidates_NP, excluded_T=None, block: int = 256) -> np.ndarray:
    """The number of the candidate with the least squared error to each frame, int ``[T]``.

    Args:
      frames_TP, candidates_NP: thumbnails, uint8.
      excluded_T: for each frame the number of a candidate to leave out, or -1.
      block: frames per compiled call.
    """
    excluded_T = np.full(len(frames_TP), -1) if excluded_T is None else excluded_T
    candidates_NP = jnp.asarray(candidates_NP)
    numbers = []
    for start in range(0, len(frames_TP), block):
        block_BP, excluded_B = (a[start : start + block] for a in (frames_TP, excluded_T))
        missing = block - len(block_BP)  # padded, so that one compilation suffices
        padded_BP = np.pad(block_BP, ((0, missing), (0, 0)))
        padded_B = np.pad(excluded_B, (0, missing))
        numbers.append(np.asarray(_nearest(padded_BP, candidates_NP, padded_B))[: len(block_BP)])
    return np.concatenate(numbers)


def measure_frames(source_BHWC, output_BHWC, denoised_BHWC, previous):
    """Measures of frames and reconstructions that need neither networks nor later frames.

    Args:
      source_BHWC, output_BHWC: uint8 frames.
      denoised_BHWC: the reconstruction without noise; movement is measured on it.
      previous: low-passed source and denoised frame before these, ``[H, W, 3]`` each.

    Returns:
      A dict of arrays whose first axis is B, and ``previous`` for the next frames.
    """
    squared_error_B, absolute_error_B = errors(source_BHWC, output_BHWC)
    ssim_B, ms_ssim_B = ssim(source_BHWC, output_BHWC)
    low = low_pass(source_BHWC), low_pass(denoised_BHWC)
    in_order = (jnp.concatenate([p[None], a]) for p, a in zip(previous, low, strict=True))
    measured = {
        "source_thumbnail": thumbnails(source_BHWC),
        "output_thumbnail": thumbnails(output_BHWC),
        "brightness": luma(source_BHWC).mean((1, 2)),
        "squared_error": squared_error_B,
        "absolute_error": absolute_error_B,
        "source_detail": laplacian_energy(source_BHWC),
        "output_detail": laplacian_energy(output_BHWC),
        "ssim": ssim_B,
        "ms_ssim": ms_ssim_B,
        "change": changes(*in_order),
    }
    return measured, tuple(a[-1] for a in low)


@partial(jax.jit, static_argnames=("config", "train"))
def measure_batch(config, variables, frames_BHWC, key, noise_std, train: bool, previous):
    """Reconstructs a batch and measures it, except for measures that need other frames.

    Args:
      config, variables, frames_BHWC, key, noise_std, train: as for ``reconstruct_batch``.
      previous: as for ``measure_frames``.

    Returns:
      A dict of arrays whose first axis is B, and ``previous`` for the next batch.
    """
    (mean_BZ, log_variance_BZ), _ = autoencoder.encode(config, variables, frames_BHWC, train)

    def decode(z_BZ):
        return autoencoder.to_frames(autoencoder.decode(config, variables, z_BZ, train)[0])

    denoised_BHWC = output_BHWC = decode(mean_BZ)
    if noise_std is not None:
        epsilon_BZ = autoencoder.noise(key, mean_BZ.shape, noise_std)
        output_BHWC = decode(autoencoder.reparameterise(mean_BZ, log_variance_BZ, epsilon_BZ))
    measured, last = measure_frames(frames_BHWC, output_BHWC, denoised_BHWC, previous)
    measured |= {
        "output": output_BHWC,
        "mean": mean_BZ,
        "similarity": similarity(config, variables, frames_BHWC, output_BHWC),
    }
    return measured, last
