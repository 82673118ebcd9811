"""Finds the shots of a film by its hard cuts.

Each frame is reduced to a small picture and a colour histogram. At a cut each of the four frames
before differs from each of the four after, so that a flash of up to three frames is no cut. The
difference must exceed the movement on both sides, or the movement on one side if the colours change
too, so that fast movement is no cut either. A fade or dissolve belongs to the shot in which it
begins, unless it ends in a jump.
"""

import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_gan_jax.film.area_means import area_means, grid_for
from vae_gan_jax.run import atomic_io, provenance

FOLDER = "shots"
SIDE_FRAMES = 4  # compared on each side of a cut
MAX_LAG = 2 * SIDE_FRAMES - 1  # frames between the two of a compared pair
MOVEMENT_FRAMES = 6  # on each side whose movement a cut must exceed
HISTOGRAM_ROWS = 18  # about; of the picture whose colours are counted, the small one has half
BINS = 6  # of the histogram, for each colour channel

# Pictures differ by the mean absolute difference of levels in 0..1, colours by half the sum of
# absolute differences of histograms: 0 for equal ones, 1 for disjoint ones. The values were chosen
# on Big Buck Bunny, the Sintel trailer and the demo film.
MIN_DIFFERENCE = 0.03  # between the pictures at a cut
NOISE_DIFFERENCE = 0.004  # added to movement, so that noise in a still picture matters little
# How many times the movement a cut must exceed, and by how much its colours must differ.
BOTH_SIDES_FACTOR, BOTH_SIDES_COLOURS = 2.0, 0.15
ONE_SIDE_FACTOR, ONE_SIDE_COLOURS = 3.5, 0.4


class Shot(NamedTuple):
    """Frames from ``first`` up to, not including, ``stop``."""

    first: int
    stop: int


class ShotFinder:
    """Finds the shots of a film that arrives in blocks; keeps 56 bytes of each frame."""

    def __init__(self):
        self._pictures_TP = self._colours_TN = None  # of the latest frames
        self._picture_rows, self._colour_rows = [], []  # [B, MAX_LAG]: differences by lag

    def add(self, frames_BHWC: np.ndarray) -> None:
        """Examines the next frames, uint8 ``[B, H, W, 3]``, B at least 1."""
        pictures_BP, colours_BN = _features(frames_BHWC)
        if self._pictures_TP is None:  # NaN, so that differences before the film begins are NaN
            self._pictures_TP = np.full((MAX_LAG, pictures_BP.shape[1]), np.nan, np.float32)
            self._colours_TN = np.full((MAX_LAG, colours_BN.shape[1]), np.nan, np.float32)
        self._pictures_TP = np.concatenate([self._pictures_TP[-MAX_LAG:], pictures_BP])
        self._colours_TN = np.concatenate([self._colours_TN[-MAX_LAG:], colours_BN])
        self._picture_rows.append(_differences(self._pictures_TP) / pictures_BP.shape[1])
        self._colour_rows.append(_differences(self._colours_TN) / 2)

    def shots(self) -> list[Shot]:
        """The shots of all frames so far, in order and without gaps."""
        if not self._picture_rows:
            return []
        cuts = _cuts(np.concatenate(self._picture_rows), np.concatenate(self._colour_rows))
        frames = sum(map(len, self._picture_rows))
        return [Shot(first, stop) for first, stop in itertools.pairwise([0, *cuts, frames])]


def _features(frames_BHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Small pictures ``[B, P]`` with levels in 0..1, and histograms ``[B, N]`` of sum 1."""
    rows, columns = grid_for(frames_BHWC, HISTOGRAM_ROWS)
    picture_BHWC = np.float32(area_means(frames_BHWC, rows, columns) / 255)
    small_BHWC = area_means(picture_BHWC, max(1, rows // 2), max(1, columns // 2))
    batch = len(frames_BHWC)
    # Each pixel is spread over the two nearest bins of each channel, so that a slow fade moves the
    # histogram slowly rather than by whole bins.
    position_BNC = picture_BHWC.reshape(batch, -1, 3) * (BINS - 1)
    lower_BNC = np.minimum(position_BNC.astype(np.int32), BINS - 2)
    upper_weight_BNC = position_BNC - lower_BNC
    histogram_BN = np.zeros((batch, BINS**3), np.float32)
    offset_B1 = np.arange(batch)[:, None] * BINS**3
    for corner in np.ndindex(2, 2, 2):
        bin_BN = (lower_BNC + np.array(corner)) @ np.array([BINS**2, BINS, 1]) + offset_B1
        weight_BN = np.where(corner, upper_weight_BNC, 1 - upper_weight_BNC).prod(-1)
        counts = np.bincount(bin_BN.ravel(), weight_BN.ravel(), histogram_BN.size)
        histogram_BN += counts.reshape(histogram_BN.shape)
    return small_BHWC.reshape(batch, -1), histogram_BN / position_BNC.shape[1]


def _differences(features_TN: np.ndarray) -> np.ndarray:
    """Sums of absolute differences by lag, ``[T - MAX_LAG, MAX_LAG]``."""
    by_lag = [
        np.abs(features_TN[MAX_LAG:] - features_TN[MAX_LAG - lag : -lag]).sum(1)
        for lag in range(1, MAX_LAG + 1)
    ]
    return np.stack(by_lag, axis=1)


def _cuts(picture_TL: np.ndarray, colour_TL: np.ndarray) -> list[int]:
    """Numbers of the frames that begin a shot, except the first."""
    movement_T = np.nan_to_num(picture_TL[:, 0])
    padded = np.pad(movement_T, MOVEMENT_FRAMES)
    windows = np.lib.stride_tricks.sliding_window_view(padded, MOVEMENT_FRAMES).max(1)
    before_T, after_T = windows[: len(movement_T)], windows[MOVEMENT_FRAMES + 1 :]
    across_T, colours_T = _across(picture_TL), _across(colour_TL)
    larger_T = np.maximum(before_T, after_T) + NOISE_DIFFERENCE
    smaller_T = np.minimum(before_T, after_T) + NOISE_DIFFERENCE
    both_T = (across_T >= BOTH_SIDES_FACTOR * larger_T) & (colours_T >= BOTH_SIDES_COLOURS)
    one_T = (across_T >= ONE_SIDE_FACTOR * smaller_T) & (colours_T >= ONE_SIDE_COLOURS)
    return np.flatnonzero((across_T >= MIN_DIFFERENCE) & (both_T | one_T)).tolist()


def _across(difference_TL: np.ndarray) -> np.ndarray:
    """The smallest difference between a frame before each position and one after; 0 at frame 0."""
    frames = len(difference_TL)
    smallest_T = np.full(frames, np.inf, np.float32)
    for before in range(1, SIDE_FRAMES + 1):
        for after in range(min(SIDE_FRAMES, frames)):
            pair_T = difference_TL[after:, before + after - 1]
            smallest_T[: frames - after] = np.fmin(smallest_T[: frames - after], pair_T)
    smallest_T[0] = 0
    return smallest_T


def load(run_dir: str | Path, name: str, made_from: dict[str, Any]) -> list[Shot] | None:
    """The shots that ``save`` wrote for the same film, or None.

    Args:
      run_dir: the run's folder.
      name: the film's name in the run.
      made_from: what the shots depend on, as JSON.
    """
    path = _path(run_dir, name)
    if not provenance.is_current(run_dir, f"{FOLDER}/{name}", made_from, [path]):
        return None
    return [Shot(*shot) for shot in json.loads(path.read_text())]


def save(run_dir: str | Path, name: str, made_from: dict[str, Any], shots: list[Shot]) -> None:
    """Writes a film's shots into the run's folder, for ``load``."""
    path = _path(run_dir, name)
    atomic_io.write(path, json.dumps(shots) + "\n")
    provenance.record(run_dir, f"{FOLDER}/{name}", made_from, [path])


def _path(run_dir: str | Path, name: str) -> Path:
    return Path(run_dir) / FOLDER / f"{name}.json"
