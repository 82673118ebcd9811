"""How often each frame is to be learnt, so that held pictures do not crowd out all others."""

import numpy as np

from vae_gan_jax.film.store.batches import Stretches

NEAR = 240  # frames; so far apart in time frames are compared
ALIKE = 20.0  # 1/255; the standard deviation of likeness, in the root mean square of pixels
ROWS = 9  # of the thumbnails that are compared, or up to twice as many
BLOCK = 1000  # frames that are read and compared at a time


def frame_weights(
    frames_THWC: np.ndarray, training_T: np.ndarray | Stretches, novelty: float
) -> np.ndarray | None:
    """The share of an epoch that each frame gets: float64 ``[T]``, of the sum 1.

    ``None`` for novelty 0, by which all have the same.

    It goes with the power ``-novelty`` of how many frames are like it, itself and those up to 240
    frames before and after: a frame so far away as ``ALIKE`` counts exp(-1/2). A picture held for
    n frames so gets n^(1 - novelty) of what one gets that stands alone.

    Args:
      frames_THWC: the film, uint8.
      training_T: numbers of the frames to learn from, in order.
      novelty: 0 gives all frames the same share, 1 all pictures.
    """
    if not novelty:
        return None
    count = len(training_T)
    thumbnails_TP = np.concatenate(
        [
            _thumbnails(frames_THWC[training_T[np.arange(first, min(first + BLOCK, count))]])
            for first in range(0, count, BLOCK)
        ]
    )
    alike_T = np.empty(len(thumbnails_TP))
    for first in range(0, len(thumbnails_TP), BLOCK):
        some_T = np.arange(first, min(first + BLOCK, len(thumbnails_TP)))
        near_T = np.arange(max(0, first - NEAR), min(some_T[-1] + 1 + NEAR, len(thumbnails_TP)))
        likeness = _likeness(thumbnails_TP[some_T], thumbnails_TP[near_T])
        alike_T[some_T] = (likeness * (abs(some_T[:, None] - near_T) <= NEAR)).sum(1)
    shares_T = alike_T**-novelty
    return shares_T / shares_T.sum()


def _thumbnails(frames_THWC: np.ndarray) -> np.ndarray:
    """Means over squares, rounded to whole numbers, float64 ``[T, P]``."""
    frames, height, width, channels = frames_THWC.shape
    side = max(1, min(height, width) // ROWS)
    rows, columns = height // side, width // side
    squares = frames_THWC[:, : rows * side, : columns * side]
    lines = squares.reshape(frames, rows, side, -1).sum(2, dtype=np.int32)  # rows first: quick
    sums = lines.reshape(frames, rows, columns, side, channels).sum(3)
    return np.rint(sums / side**2).reshape(frames, -1)


def _likeness(some_SP: np.ndarray, near_NP: np.ndarray) -> np.ndarray:
    """Of each thumbnail to each, 1 for the same: ``[S, N]``."""
    # Sums of whole numbers are exact in whatever order a machine adds them up.
    squares = (some_SP**2).sum(1)[:, None] + (near_NP**2).sum(1) - 2 * some_SP @ near_NP.T
    return np.exp(-squares / (some_SP.shape[1] * 2 * ALIKE**2))
