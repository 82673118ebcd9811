"""One pass over a film that finds its shots, static cameras and black frames."""

from collections.abc import Iterable, Iterator

import numpy as np

from vae_gan_jax.film.area_means import area_means
from vae_gan_jax.film.shots import Shot, ShotFinder

BLOCK_FRAMES = 64  # examined together
GRID = (9, 16)  # rows and columns of cells in which movement is measured
# Levels of 0..255. The first two limit the standard deviation of a cell's brightness in a shot.
STILL_CELL_STD = 4.0  # a cell with less is still
MOVING_CELL_STD = 6.0  # a cell with more has moved
BLACK_LEVEL = 8.0  # no cell of a black frame is brighter
STATIC_CAMERA_STILL_CELLS = 0.5  # fraction of still cells from which the camera counts as static


class FilmScan:
    """What one pass over a film says about it; keeps 200 bytes of each frame."""

    def __init__(self):
        self._finder, self._blocks, self._shots = ShotFinder(), [], None

    def watch(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """Examines frames, uint8 ``[H, W, 3]``, and passes them on unchanged."""
        block = []
        for frame_HWC in frames:
            block.append(frame_HWC)
            if len(block) == BLOCK_FRAMES:
                self._add(np.stack(block))
                block = []
            yield frame_HWC
        if block:
            self._add(np.stack(block))

    def _add(self, frames_BHWC: np.ndarray) -> None:
        self._finder.add(frames_BHWC)
        self._blocks.append(brightness_grid(frames_BHWC))

    @property
    def cells_TYX(self) -> np.ndarray:
        """Mean brightness in each of 9 by 16 cells of every frame, uint8."""
        self._blocks = [np.concatenate(self._blocks)]
        return self._blocks[0]

    @property
    def shots(self) -> list[Shot]:
        """The shots of the film, in order."""
        if self._shots is None:
            self._shots = self._finder.shots()
        return self._shots

    def shot_at(self, number: int) -> Shot:
        """The shot that contains a frame; the last one if the film breaks off before it."""
        return next((shot for shot in self.shots if number < shot.stop), self.shots[-1])

    def static_shot(self) -> Shot | None:
        """The longest shot in which something moves before a static camera (6.1.1).

        Without a static camera, the shot with the largest product of length and still area; None if
        nothing moves. Shots in which the picture goes black are chosen last.
        """
        ranks = {}
        for shot in self.shots:
            cells_TYX = self.cells_TYX[shot.first : shot.stop]
            std_YX = cells_TYX.std(axis=0)
            if std_YX.max() > MOVING_CELL_STD:
                goes_black = (cells_TYX.max(axis=(1, 2)) <= BLACK_LEVEL).any()
                still = np.mean(std_YX < STILL_CELL_STD)
                static = still >= STATIC_CAMERA_STILL_CELLS
                length = (shot.stop - shot.first) * min(still, STATIC_CAMERA_STILL_CELLS)
                ranks[shot] = not goes_black, static, length
        return max(ranks, key=ranks.get, default=None)

    def black_frame(self) -> int | None:
        """The number of the darkest frame, if it is black."""
        cells_TN = self.cells_TYX.reshape(len(self.cells_TYX), -1)
        darkest = int(cells_TN.mean(axis=1).argmin())
        return darkest if cells_TN[darkest].max() <= BLACK_LEVEL else None


def brightness_grid(frames_BHWC: np.ndarray) -> np.ndarray:
    """Mean brightness in the cells of ``GRID``, uint8 ``[B, 9, 16]``."""
    return np.rint(area_means(frames_BHWC, *GRID).mean(axis=3)).astype(np.uint8)
