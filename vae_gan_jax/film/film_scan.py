"""Finds the shots, static cameras and black frames of a film in one pass."""

import functools
from collections.abc import Iterable, Iterator

import numpy as np

from vae_gan_jax.film.area_means import area_means
from vae_gan_jax.film.shots import Shot, ShotFinder
from vae_gan_jax.film.store.batches import sequential

BLOCK_FRAMES = 64
GRID = (9, 16)  # rows and columns of cells in which movement is measured
# Levels of 0..255; the standard deviation is that of a cell's brightness within a shot.
STILL_CELL_MAX_STD = 4.0
MOVING_CELL_MIN_STD = 6.0
BLACK_MAX_LEVEL = 8.0
STATIC_CAMERA_MIN_STILL = 0.5  # fraction of the cells


class FilmScan:
    """The shots and the brightness of a film; needs 200 bytes of memory per frame."""

    def __init__(self):
        self._finder, self._blocks = ShotFinder(), []

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Examines frames, uint8 ``[H, W, 3]``, and passes them on unchanged."""
        for frames_BHWC in sequential(frames, BLOCK_FRAMES):
            self._finder.add(frames_BHWC)
            self._blocks.append(brightness_grid(frames_BHWC))
            yield from frames_BHWC

    @functools.cached_property
    def cells_TYX(self) -> np.ndarray:
        """``brightness_grid`` of every frame of the whole film."""
        return np.concatenate(self._blocks)

    @functools.cached_property
    def shots(self) -> list[Shot]:
        """The shots of the whole film, in order."""
        return self._finder.shots()

    def shot_at(self, number: int) -> Shot:
        """The shot that contains a frame; the last shot for a number beyond the film."""
        return next((shot for shot in self.shots if number < shot.stop), self.shots[-1])

    def static_shot(self) -> Shot | None:
        """The longest shot with movement before a static camera (6.1.1); None without movement.

        If no camera is static, the shot with the largest product of length and still area. Shots
        with a black frame are chosen last.
        """
        ranks = {}
        for shot in self.shots:
            cells_TYX = self.cells_TYX[shot.first : shot.stop]
            std_YX = cells_TYX.std(axis=0)
            if std_YX.max() > MOVING_CELL_MIN_STD:
                has_black = (cells_TYX.max(axis=(1, 2)) <= BLACK_MAX_LEVEL).any()
                still = np.mean(std_YX < STILL_CELL_MAX_STD)
                static = still >= STATIC_CAMERA_MIN_STILL
                length = (shot.stop - shot.first) * min(still, STATIC_CAMERA_MIN_STILL)
                ranks[shot] = not has_black, static, length
        return max(ranks, key=ranks.get, default=None)

    def black_frame(self) -> int | None:
        """The number of the darkest frame, if it is black."""
        cells_TN = self.cells_TYX.reshape(len(self.cells_TYX), -1)
        darkest = int(cells_TN.mean(axis=1).argmin())
        return darkest if cells_TN[darkest].max() <= BLACK_MAX_LEVEL else None


def brightness_grid(frames_BHWC: np.ndarray) -> np.ndarray:
    """Mean brightness in the cells of ``GRID``, uint8 ``[B, 9, 16]``."""
    return np.rint(area_means(frames_BHWC, *GRID).mean(axis=3)).astype(np.uint8)
