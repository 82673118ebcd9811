"""Measures of reconstructed frames against their source: pure functions of arrays, in jax.

Frames are uint8; errors and changes are in their units, 1/255 of white.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from vae_gan_jax.model import autoencoder, objectives

HIGHEST_PSNR = 100.0  # dB; that of equal frames, whose error is 0
LUMA = (0.2126, 0.7152, 0.0722)  # of BT.709
WINDOW, WINDOW_STD = 11, 1.5  # pixels; of SSIM, Wang et al. 2004
SSIM_CONSTANTS = (0.01 * 255) ** 2, (0.03 * 255) ** 2
SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of MS-SSIM, Wang et al. 2003
LOW_PASS = 4  # pixels on a side of the squares whose means tell of movement
THUMBNAIL_ROWS = 18  # at the least, where a frame has them


def psnr(squared_error):
    """Peak signal-to-noise ratio in dB of a mean squared error, 100 at the most."""
    # The floor is the error of 100 dB.
    least = 255.0**2 / 10 ** (HIGHEST_PSNR / 10)
    return 10 * np.log10(255.0**2 / np.maximum(squared_error, least))


def luma(frames_BHWC):
    """BT.709 luma of frames, float32 ``[B, H, W]``, 0..255."""
    weights = jnp.array(LUMA, jnp.float32)
    return jnp.einsum("bhwc,c->bhw", frames_BHWC.astype(jnp.float32), weights, precision="highest")


def errors(source_BHWC, output_BHWC):
    """Mean squared and mean absolute error of each frame over its pixels and colours, ``[B]``."""
    difference_BHWC = source_BHWC.astype(jnp.float32) - output_BHWC.astype(jnp.float32)
    axes = (1, 2, 3)
    return jnp.square(difference_BHWC).mean(axes), jnp.abs(difference_BHWC).mean(axes)


def laplacian_energy(frames_BHWC):
    """Mean square of the Laplacian of each frame's luma, ``[B]``: how much fine detail it has.

    Of four neighbours, where all lie within the picture. Noise and checkerboards have it too, so
    that of the source, not more, is what to come near to.
    """
    y_BHW = luma(frames_BHWC)
    middle_BHW = y_BHW[:, 1:-1, 1:-1]
    down_BHW = y_BHW[:, :-2, 1:-1] + y_BHW[:, 2:, 1:-1]
    across_BHW = y_BHW[:, 1:-1, :-2] + y_BHW[:, 1:-1, 2:]
    return jnp.square(down_BHW + across_BHW - 4 * middle_BHW).mean((1, 2))


def scales(height: int, width: int) -> int:
    """How many of MS-SSIM's five scales frames of this size have room for; at least one."""
    fitting = [s for s in range(len(SCALE_WEIGHTS)) if min(height, width) >> s >= WINDOW]
    return max(1, len(fitting))


def ssim(source_BHWC, output_BHWC):
    """SSIM and MS-SSIM of the luma of each frame, ``[B]`` each.

    Wang et al.: a Gaussian window of 11 pixels with standard deviation 1.5, where it lies wholly
    within the picture. MS-SSIM takes as many of the five scales as there is room for, their weights
    scaled to the sum 1, and negative structure as 0.

    Args:
      source_BHWC, output_BHWC: uint8 frames of 11 by 11 pixels or more.
    """
    x_BHW, y_BHW = luma(source_BHWC), luma(output_BHWC)
    count = scales(*x_BHW.shape[1:])
    weights = np.array(SCALE_WEIGHTS[:count]) / sum(SCALE_WEIGHTS[:count])
    ssim_B, structure_B = _ssim_of_scale(x_BHW, y_BHW)
    single_B, product_B = ssim_B, jnp.ones(len(x_BHW))
    for weight in weights[:-1]:
        product_B *= jnp.maximum(structure_B, 0.0) ** weight
        x_BHW, y_BHW = _halved(x_BHW), _halved(y_BHW)
        ssim_B, structure_B = _ssim_of_scale(x_BHW, y_BHW)
    return single_B, product_B * jnp.maximum(ssim_B, 0.0) ** weights[-1]


def _ssim_of_scale(x_BHW, y_BHW):
    """Means of SSIM and of its contrast and structure alone, ``[B]``."""
    _, height, width = x_BHW.shape
    down, across = _gaussian_rows(height), _gaussian_rows(width)

    def blur(picture_BHW):
        return jnp.einsum("ih,bhw,jw->bij", down, picture_BHW, across, precision="highest")

    mean_x, mean_y = blur(x_BHW), blur(y_BHW)
    variance_x = blur(x_BHW * x_BHW) - mean_x * mean_x
    variance_y = blur(y_BHW * y_BHW) - mean_y * mean_y
    covariance = blur(x_BHW * y_BHW) - mean_x * mean_y
    c1, c2 = SSIM_CONSTANTS
    structure = (2 * covariance + c2) / (variance_x + variance_y + c2)
    brightness = (2 * mean_x * mean_y + c1) / (mean_x * mean_x + mean_y * mean_y + c1)
    return (brightness * structure).mean((1, 2)), structure.mean((1, 2))


def _gaussian_rows(length: int) -> np.ndarray:
    """The matrix of the Gaussian window at all its places in a line: ``[length - 10, length]``."""
    weights = np.exp(-0.5 * ((np.arange(WINDOW) - WINDOW // 2) / WINDOW_STD) ** 2)
    rows = np.zeros((length - WINDOW + 1, length), np.float32)
    for place, row in enumerate(rows):
        row[place : place + WINDOW] = weights / weights.sum()
    return rows


def _halved(picture_BHW):
    """Means over squares of two by two pixels."""
    return _means(picture_BHW[..., None], 2)[..., 0]


def _means(picture_BHWC, factor: int):
    """Means over squares of ``factor`` pixels; what is left at the right and the bottom is cut."""
    batch, height, width, channels = picture_BHWC.shape
    height, width = height // factor, width // factor
    squares = picture_BHWC[:, : height * factor, : width * factor]
    return squares.reshape(batch, height, factor, width, factor, channels).mean((2, 4))


def low_pass(frames_BHWC):
    """Area means over 4 by 4 pixels, float32 ``[B, H // 4, W // 4, 3]``, 0..255."""
    return _means(frames_BHWC.astype(jnp.float32), LOW_PASS)


def thumbnails(frames_BHWC):
    """Area means over squares that leave 18 rows or columns or more, uint8 ``[B, P]``."""
    factor = max(1, min(frames_BHWC.shape[1:3]) // THUMBNAIL_ROWS)
    means_BHWC = _means(frames_BHWC.astype(jnp.float32), factor)
    return jnp.round(means_BHWC).astype(jnp.uint8).reshape(len(frames_BHWC), -1)


def changes(source_THWC, output_THWC):
    """What collapse is measured by: of each frame's change since the one before, five means.

    With the changes d of the source and e of the reconstruction, over low-passed pixels and
    colours.

    Args:
      source_THWC, output_THWC: low-passed frames in order, one more than there are changes.

    Returns:
      A dict of ``[T - 1]``: ``source`` |d|, ``output`` |e|, ``source_square`` d², ``output_square``
      e², ``product`` d·e.
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
    """L_like of eq. 4.11 of each frame, ``[B]``; 0 is alike.

    The discriminator normalises both by its running statistics: by their own batch's, as in
    training, a frame's value would depend on its neighbours, which in the film's order are all
    one shot.

    Args:
      config: of the run.
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
    distance_BN = squares_N[None] - 2 * product_BN  # but for the block's own square
    itself_BN = jnp.arange(len(candidates_NP))[None] == excluded_B[:, None]
    return jnp.where(itself_BN, jnp.inf, distance_BN).argmin(1)


def nearest(frames_TP, candidates_NP, excluded_T=None, block: int = 256) -> np.ndarray:
    """Which candidate has the least squared error to each frame, int ``[T]``.

    Args:
      frames_TP, candidates_NP: thumbnails, uint8.
      excluded_T: for each frame a candidate that is not meant, or -1.
      block: frames that are compared at a time.
    """
    excluded_T = np.full(len(frames_TP), -1) if excluded_T is None else excluded_T
    candidates_NP = jnp.asarray(candidates_NP)
    found = []
    for start in range(0, len(frames_TP), block):
        block_BP, excluded_B = (a[start : start + block] for a in (frames_TP, excluded_T))
        missing = block - len(block_BP)  # filled up: compiled once
        filled_BP = np.pad(block_BP, ((0, missing), (0, 0)))
        filled_B = np.pad(excluded_B, (0, missing))
        found.append(np.asarray(_nearest(filled_BP, candidates_NP, filled_B))[: len(block_BP)])
    return np.concatenate(found)


def of_pair(source_BHWC, output_BHWC, clean_BHWC, before):
    """Measures of frames and their reconstructions that need neither networks nor later frames.

    Args:
      source_BHWC, output_BHWC: uint8 frames.
      clean_BHWC: what the codes alone decode to, without noise.
      before: low-passed source and ``clean`` of the frame before these, ``[H, W, 3]``.

    Returns:
      A dict of arrays with the axis B in front, and ``before`` for the next frames.
    """
    squared_error_B, absolute_error_B = errors(source_BHWC, output_BHWC)
    ssim_B, ms_ssim_B = ssim(source_BHWC, output_BHWC)
    low = low_pass(source_BHWC), low_pass(clean_BHWC)
    with_before = (jnp.concatenate([b[None], a]) for b, a in zip(before, low, strict=True))
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
        "change": changes(*with_before),
    }
    return measured, tuple(a[-1] for a in low)


@partial(jax.jit, static_argnames=("config", "train"))
def of_batch(config, variables, frames_BHWC, key, noise_std, train: bool, before):
    """A batch through the networks, and all measures of it that need no other frames.

    Args:
      config: of the run and of this command.
      variables: collections by network.
      frames_BHWC: uint8 frames.
      key: of the noise, of which ``config.reconstruct_noise`` says how much.
      before: low-passed source and reconstruction of the frame before the batch, ``[H, W, 3]``.

    Returns:
      A dict of arrays with the axis B in front, and ``before`` for the next batch.
    """
    (mean_BZ, log_variance_BZ), _ = autoencoder.encode(config, variables, frames_BHWC, train)

    def decode(z_BZ):
        return autoencoder.to_frames(autoencoder.decode(config, variables, z_BZ, train)[0])

    clean_BHWC = output_BHWC = decode(mean_BZ)
    if noise_std is not None:
        epsilon_BZ = autoencoder.noise(key, mean_BZ.shape, noise_std)
        output_BHWC = decode(autoencoder.reparameterise(mean_BZ, log_variance_BZ, epsilon_BZ))
    measured, last = of_pair(frames_BHWC, output_BHWC, clean_BHWC, before)
    measured |= {
        "output": output_BHWC,
        "mean": mean_BZ,
        "similarity": similarity(config, variables, frames_BHWC, output_BHWC),
    }
    return measured, last
