"""Shots of a film, found by its hard cuts.

Each frame is reduced to a coarse picture and a histogram of colours. At a cut every one of the four
frames before differs from every one of the four after: a flash of up to three frames makes no
cut. The difference must stand out from the movement on both sides, or from that on one side if
the colours change with it, so that fast movement makes none either. Fades and dissolves are part
of the shot that they begin in, unless they end in a jump.
"""

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vae_gan_jax.film.area_means import area_means, grid_for
from vae_gan_jax.run import atomic_io

FOLDER, VERSION = "shots", 1
SIDE = 4  # frames looked at on each side of a cut
LAGS = 2 * SIDE - 1  # of the pairs of frames that are compared
CALM = 6  # frames on each side whose movement a cut must stand out from
ROWS = 18  # about as many has the picture that colours are counted in; half of them the coarse one
BINS = 6  # of the histogram, for each colour

# Differences of coarse pictures are means of absolute values, colours in 0..1; of histograms half
# the sum of absolute values, 0 the same colours, 1 none in common. Chosen on Big Buck Bunny, the
# Sintel trailer and the demo film.
LEAST = 0.03  # difference of pictures at a cut
STILL = 0.004  # added to movement, so that noise in a held picture counts for little
BOTH_SIDES, BOTH_SIDES_COLOURS = 2.0, 0.15  # times the movement, and difference of colours
ONE_SIDE, ONE_SIDE_COLOURS = 3.5, 0.4


class Shot(NamedTuple):
    """Frames from ``first`` up to, not including, ``stop``."""

    first: int
    stop: int


class ShotFinder:
    """Finds the shots of a film whose frames come in pieces; keeps 56 bytes of each."""

    def __init__(self):
        self._pictures_TP = self._colours_TN = None  # of the latest frames
        self._picture_rows, self._colour_rows = [], []  # [B, LAGS]: difference from lag 1, 2, ...

    def add(self, frames_BHWC: np.ndarray) -> None:
        """Looks at the next frames, uint8 ``[B, H, W, 3]``, B at least 1."""
        pictures_BP, colours_BN = _features(frames_BHWC)
        if self._pictures_TP is None:  # a NaN differs from everything by NaN
            self._pictures_TP = np.full((LAGS, pictures_BP.shape[1]), np.nan, np.float32)
            self._colours_TN = np.full((LAGS, colours_BN.shape[1]), np.nan, np.float32)
        self._pictures_TP = np.concatenate([self._pictures_TP[-LAGS:], pictures_BP])
        self._colours_TN = np.concatenate([self._colours_TN[-LAGS:], colours_BN])
        self._picture_rows.append(_differences(self._pictures_TP) / pictures_BP.shape[1])
        self._colour_rows.append(_differences(self._colours_TN) / 2)

    def shots(self) -> list[Shot]:
        """The shots of all frames that were added, in order; together they are the film."""
        if not self._picture_rows:
            return []
        cuts = _cuts(np.concatenate(self._picture_rows), np.concatenate(self._colour_rows))
        frames = sum(map(len, self._picture_rows))
        edges = [0, *cuts, frames]
        return [Shot(first, stop) for first, stop in itertools.pairwise(edges)]


def find(blocks: Iterable[np.ndarray]) -> list[Shot]:
    """The shots of a film that comes in blocks of frames, uint8 ``[B, H, W, 3]``."""
    finder = ShotFinder()
    for frames_BHWC in blocks:
        finder.add(frames_BHWC)
    return finder.shots()


def _features(frames_BHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coarse pictures ``[B, P]`` with colours in 0..1, and histograms ``[B, N]`` whose sum is 1."""
    rows, columns = grid_for(frames_BHWC, ROWS)
    picture_BHWC = np.float32(area_means(frames_BHWC, rows, columns) / 255)
    coarse_BHWC = area_means(picture_BHWC, max(1, rows // 2), max(1, columns // 2))
    batch = len(frames_BHWC)
    # A pixel counts in the two nearest bins of each colour by how near they are: a slow fade moves
    # the histogram slowly, not by whole bins.
    position_BNC = picture_BHWC.reshape(batch, -1, 3) * (BINS - 1)
    lower_BNC = np.minimum(position_BNC.astype(np.int32), BINS - 2)
    upper_share_BNC = position_BNC - lower_BNC
    histogram_BN = np.zeros((batch, BINS**3), np.float32)
    film_B1 = np.arange(batch)[:, None] * BINS**3
    for corner in np.ndindex(2, 2, 2):
        bin_BN = (lower_BNC + np.array(corner)) @ np.array([BINS**2, BINS, 1]) + film_B1
        share_BN = np.where(corner, upper_share_BNC, 1 - upper_share_BNC).prod(-1)
        counted = np.bincount(bin_BN.ravel(), share_BN.ravel(), histogram_BN.size)
        histogram_BN += counted.reshape(histogram_BN.shape)
    return coarse_BHWC.reshape(batch, -1), histogram_BN / position_BNC.shape[1]


def _differences(features_TN: np.ndarray) -> np.ndarray:
    """Sums of absolute differences of frames from those 1 to LAGS before, but of the first LAGS."""
    new = slice(LAGS, None)
    return np.stack(
        [
            np.abs(features_TN[new] - features_TN[LAGS - lag : -lag]).sum(1)
            for lag in range(1, LAGS + 1)
        ],
        axis=1,
    )


def _cuts(picture_TL: np.ndarray, colour_TL: np.ndarray) -> list[int]:
    """Numbers of the frames that begin a shot, but for the film's first."""
    movement_T = np.nan_to_num(picture_TL[:, 0])
    padded = np.pad(movement_T, CALM)
    windows = np.lib.stride_tricks.sliding_window_view(padded, CALM).max(1)
    before_T, after_T = windows[: len(movement_T)], windows[CALM + 1 :]
    across_T, colours_T = _across(picture_TL), _across(colour_TL)
    both = across_T >= BOTH_SIDES * (np.maximum(before_T, after_T) + STILL)
    one = across_T >= ONE_SIDE * (np.minimum(before_T, after_T) + STILL)
    cut = (across_T >= LEAST) & (
        (both & (colours_T >= BOTH_SIDES_COLOURS)) | (one & (colours_T >= ONE_SIDE_COLOURS))
    )
    return np.flatnonzero(cut).tolist()


def _across(difference_TL: np.ndarray) -> np.ndarray:
    """The least difference of a frame before each place from a frame after it; 0 at frame 0."""
    frames = len(difference_TL)
    least_T = np.full(frames, np.inf, np.float32)
    for before in range(1, SIDE + 1):
        for after in range(min(SIDE, frames)):
            pair_T = difference_TL[after:, before + after - 1]
            least_T[: frames - after] = np.fmin(least_T[: frames - after], pair_T)
    least_T[0] = 0
    return least_T


def recall(run_dir: str | Path, name: str, made_from: dict[str, Any]) -> list[Shot] | None:
    """The shots that ``keep`` wrote for the same film, ``None`` where it did not.

    Args:
      run_dir: the run's folder.
      name: of the film in it.
      made_from: what the shots depend on, as JSON.
    """
    try:
        kept = json.loads((Path(run_dir) / FOLDER / f"{name}.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    if kept.get("version") != VERSION or kept.get("made_from") != made_from:
        return None
    return [Shot(*shot) for shot in kept["shots"]]


def keep(run_dir: str | Path, name: str, made_from: dict[str, Any], shots: list[Shot]) -> None:
    """Writes a film's shots into the run's folder, for ``recall``."""
    content = {"version": VERSION, "made_from": made_from, "shots": shots}
    atomic_io.write(Path(run_dir) / FOLDER / f"{name}.json", json.dumps(content) + "\n")
