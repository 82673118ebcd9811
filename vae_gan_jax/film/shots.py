"""Finds the shots of a film by its hard cuts.

Each frame is reduced to a small picture and a colour histogram. At a cut, each of the four frames
before differs from each of the four after, so a flash of up to three frames is not a cut. The
difference must exceed the movement on both sides, or clearly exceed it on one side while the
colours change, so fast movement is not a cut either. A fade or dissolve belongs to the shot in
which it begins, unless it ends in a jump.
"""

import itertools
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_gan_jax.film.area_means import area_means, grid_for
from vae_gan_jax.run import atomic_io, provenance

FOLDER = "shots"
SIDE_FRAMES = 4  # frames on each side of a cut that are compared with each other
MAX_LAG = 2 * SIDE_FRAMES - 1  # largest distance of two compared frames
MOVEMENT_FRAMES = 6  # frames on each side in which movement is measured
HISTOGRAM_ROWS = 18  # approximate height of the picture whose colours the histogram counts
BINS_PER_CHANNEL = 6

# The difference of two pictures is the mean absolute difference of their levels in 0..1. The
# difference of two histograms is half the sum of their absolute differences: 0 if they are equal,
# 1 if they are disjoint. The limits were chosen on Big Buck Bunny, the Sintel trailer and the demo.
MIN_DIFFERENCE = 0.03  # of the pictures at a cut
NOISE_DIFFERENCE = 0.004  # added to movement, so that noise in a still picture is not a cut
# At a cut, the pictures differ by at least the factor times the movement, and the colours by this.
BOTH_SIDES_FACTOR, BOTH_SIDES_COLOURS = 2.0, 0.15
ONE_SIDE_FACTOR, ONE_SIDE_COLOURS = 3.5, 0.4


class Shot(NamedTuple):
    """Frames from ``first`` up to, not including, ``stop``."""

    first: int
    stop: int


class ShotFinder:
    """Finds the shots of a film that arrives in blocks; needs 56 bytes of memory per frame."""

    def __init__(self):
        self._pictures_TP = self._histograms_TN = None  # of the latest MAX_LAG frames
        self._picture_blocks, self._colour_blocks = [], []  # differences by lag, [B, MAX_LAG]

    def add(self, frames_BHWC: np.ndarray) -> None:
        """Examines the next frames, uint8 ``[B, H, W, 3]``, B at least 1."""
        pictures_BP, histograms_BN = _features(frames_BHWC)
        if self._pictures_TP is None:  # no frames before the film: NaN
            self._pictures_TP = np.full((MAX_LAG, pictures_BP.shape[1]), np.nan, np.float32)
            self._histograms_TN = np.full((MAX_LAG, histograms_BN.shape[1]), np.nan, np.float32)
        self._pictures_TP = np.concatenate([self._pictures_TP[-MAX_LAG:], pictures_BP])
        self._histograms_TN = np.concatenate([self._histograms_TN[-MAX_LAG:], histograms_BN])
        self._picture_blocks.append(_differences(self._pictures_TP) / pictures_BP.shape[1])
        self._colour_blocks.append(_differences(self._histograms_TN) / 2)

    def shots(self) -> list[Shot]:
        """The shots of all frames so far, in order and without gaps."""
        if not self._picture_blocks:
            return []
        cuts = _cuts(np.concatenate(self._picture_blocks), np.concatenate(self._colour_blocks))
        frames = sum(map(len, self._picture_blocks))
        return [Shot(first, stop) for first, stop in itertools.pairwise([0, *cuts, frames])]


def _features(frames_BHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Small pictures ``[B, P]`` with levels in 0..1, and histograms ``[B, N]`` of sum 1."""
    rows, columns = grid_for(frames_BHWC, HISTOGRAM_ROWS)
    picture_BHWC = np.float32(area_means(frames_BHWC, rows, columns) / 255)
    small_BHWC = area_means(picture_BHWC, max(1, rows // 2), max(1, columns // 2))
    batch = len(frames_BHWC)
    # Each pixel is spread over the two nearest bins of each channel, so that the histogram changes
    # gradually during a fade.
    position_BNC = picture_BHWC.reshape(batch, -1, 3) * (BINS_PER_CHANNEL - 1)
    lower_BNC = np.minimum(position_BNC.astype(np.int32), BINS_PER_CHANNEL - 2)
    strides = BINS_PER_CHANNEL ** np.arange(4)[::-1]  # of one frame's histogram, and its channels
    upper_weight_BNC = position_BNC - lower_BNC
    histogram_BN = np.zeros((batch, strides[0]), np.float32)
    offset_B1 = np.arange(batch)[:, None] * strides[0]
    for corner in np.ndindex(2, 2, 2):
        bin_BN = (lower_BNC + np.array(corner)) @ strides[1:] + offset_B1
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
    pictures_T, colours_T = _difference_across(picture_TL), _difference_across(colour_TL)
    larger_T = np.maximum(before_T, after_T) + NOISE_DIFFERENCE
    smaller_T = np.minimum(before_T, after_T) + NOISE_DIFFERENCE
    both_T = (pictures_T >= BOTH_SIDES_FACTOR * larger_T) & (colours_T >= BOTH_SIDES_COLOURS)
    one_T = (pictures_T >= ONE_SIDE_FACTOR * smaller_T) & (colours_T >= ONE_SIDE_COLOURS)
    return np.flatnonzero((pictures_T >= MIN_DIFFERENCE) & (both_T | one_T)).tolist()


def _difference_across(difference_TL: np.ndarray) -> np.ndarray:
    """Smallest difference between the frames before and after each possible cut; 0 at frame 0."""
    frames = len(difference_TL)
    smallest_T = np.full(frames, np.inf, np.float32)
    for before in range(1, SIDE_FRAMES + 1):
        for after in range(min(SIDE_FRAMES, frames)):
            pair_T = difference_TL[after:, before + after - 1]
            smallest_T[: frames - after] = np.fmin(smallest_T[: frames - after], pair_T)
    smallest_T[0] = 0
    return smallest_T


def load(run_dir: str | Path, name: str, made_from: dict[str, Any]) -> list[Shot] | None:
    """The shots that ``save`` wrote under the same film name and ``made_from``, or None."""
    path = _path(run_dir, name)
    if not provenance.is_current(run_dir, f"{FOLDER}/{name}", made_from, [path]):
        return None
    return [Shot(*shot) for shot in json.loads(path.read_text())]


def save(run_dir: str | Path, name: str, made_from: dict[str, Any], shots: list[Shot]) -> None:
    """Writes a film's shots into the run's folder; ``made_from``, JSON, is what they depend on."""
    path = _path(run_dir, name)
    atomic_io.write(path, json.dumps(shots) + "\n")
    provenance.record(run_dir, f"{FOLDER}/{name}", made_from, [path])


def _path(run_dir: str | Path, name: str) -> Path:
    return Path(run_dir) / FOLDER / f"{name}.json"
