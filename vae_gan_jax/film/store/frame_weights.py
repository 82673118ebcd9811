"""Weights frames by their rarity, so that static scenes do not dominate training."""

import logging
from pathlib import Path

import numpy as np

from vae_gan_jax.film.area_means import area_means, grid_for
from vae_gan_jax.film.store.frame_store import FrameStore
from vae_gan_jax.film.store.training_frames import FrameRanges, TrainingFrames
from vae_gan_jax.run import atomic_io, provenance

MAX_DISTANCE_FRAMES = 240  # frames further apart are not compared
SIMILARITY_STD = 20.0  # of the Gaussian over the root mean square difference, levels of 0..255
MIN_THUMBNAIL_ROWS = 9
BLOCK_FRAMES = 1000  # frames that are read and compared at a time
RECORD, FILE = "similar_frames", "similar_frames.f8"

logger = logging.getLogger(__name__)


def training_frames(store: FrameStore, frame_reweighting: float) -> TrainingFrames:
    """The training frames of a store with their ``weights``; caches ``similar_frames`` in it."""
    frames_THWC, training_T = store.frames_THWC, store.training_T
    if not frame_reweighting:
        return TrainingFrames(frames_THWC, training_T)
    weights_T = weights(_stored_similar_frames(store), frame_reweighting)
    return TrainingFrames(frames_THWC, training_T, weights_T)


def weights(similar_T: np.ndarray, frame_reweighting: float) -> np.ndarray:
    """The fraction of an epoch in which each frame is drawn: float64, sum 1.

    A picture that is shown for n frames gets n^(1 - frame_reweighting) times the fraction of a
    picture that is shown for one frame.

    Args:
      similar_T: result of ``similar_frames``.
      frame_reweighting: 0 weights all frames equally, 1 all pictures.
    """
    weights_T = similar_T**-frame_reweighting
    return weights_T / weights_T.sum()


def similar_frames(frames_THWC: np.ndarray, training_T: np.ndarray | FrameRanges) -> np.ndarray:
    """The number of training frames similar to each, itself included: float64, at least 1.

    Compares frames, uint8, up to ``MAX_DISTANCE_FRAMES`` apart. Each counts between 0 and 1, by a
    Gaussian of the difference of the thumbnails. ``training_T`` has ascending frame numbers.
    """
    count = len(training_T)
    starts = range(0, count, BLOCK_FRAMES)
    blocks = [np.arange(start, min(start + BLOCK_FRAMES, count)) for start in starts]
    thumbnails = [_thumbnails(frames_THWC[training_T[block_S]]) for block_S in blocks]
    thumbnails_TP, similar_T = np.concatenate(thumbnails), np.empty(count)
    for block_S in blocks:
        stop = min(block_S[-1] + 1 + MAX_DISTANCE_FRAMES, count)
        other_N = np.arange(max(0, block_S[0] - MAX_DISTANCE_FRAMES), stop)
        similarity_SN = _similarity(thumbnails_TP[block_S], thumbnails_TP[other_N])
        compared_SN = abs(block_S[:, None] - other_N) <= MAX_DISTANCE_FRAMES
        similar_T[block_S] = (similarity_SN * compared_SN).sum(1)
    return similar_T


def _stored_similar_frames(store: FrameStore) -> np.ndarray:
    """``similar_frames`` of a store, cached in its folder."""
    path = Path(store.folder) / FILE
    constants = MAX_DISTANCE_FRAMES, SIMILARITY_STD, MIN_THUMBNAIL_ROWS
    left_out = {"exclude": store.exclude, "hold_out": store.hold_out}
    made_from = {"frames": store.digest, **left_out, "constants": constants}
    key = store.folder, RECORD, made_from, [path]
    try:
        with atomic_io.locked(store.folder):  # other processes wait and then read the file
            if not provenance.is_current(*key):
                content = similar_frames(store.frames_THWC, store.training_T).tobytes()
                atomic_io.write(path, content)
                provenance.record(*key)
            return np.fromfile(path)
    except OSError as error:  # a full disk, or a shared folder that is read-only
        logger.debug("%s is not written (%s)", path, error.strerror)
    return similar_frames(store.frames_THWC, store.training_T)


def _thumbnails(frames_THWC: np.ndarray) -> np.ndarray:
    """Small pictures with integer levels, float64 ``[T, P]``."""
    means_TYXC = area_means(frames_THWC, *grid_for(frames_THWC, MIN_THUMBNAIL_ROWS))
    return np.rint(means_TYXC).reshape(len(frames_THWC), -1)


def _similarity(some_SP: np.ndarray, other_NP: np.ndarray) -> np.ndarray:
    """The similarity of each pair of thumbnails, ``[S, N]`` in 0..1."""
    # Sums of integers are exact, so that all machines get the same weights.
    squares_SN = (some_SP**2).sum(1)[:, None] + (other_NP**2).sum(1) - 2 * some_SP @ other_NP.T
    return np.exp(-squares_SN / (some_SP.shape[1] * 2 * SIMILARITY_STD**2))
