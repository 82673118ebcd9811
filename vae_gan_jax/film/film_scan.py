"""One look through a film: its shots, what is held and moves in them, which frames are black."""

from collections.abc import Iterable, Iterator

import numpy as np

from vae_gan_jax.film.area_means import area_means
from vae_gan_jax.film.shots import Shot, ShotFinder

BLOCK = 64  # frames looked at together
COARSE = (9, 16)  # cells, down and across, that movement is seen in
# Levels of 0..255, of a cell's mean over the frames of a shot.
STILL = 4.0  # a cell that spreads less is still
MOVED = 6.0  # one that spreads more has moved
BLACK = 8.0  # no cell of a black frame is brighter
HELD = 0.5  # share of cells that are still where the camera stands


class FilmScan:
    """What one look through a film tells; frames pass through it on their way elsewhere.

    It keeps 144 bytes of each frame, and what the shots are found by.
    """

    def __init__(self):
        self._finder, self._blocks, self._shots = ShotFinder(), [], None

    def passing(self, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same frames, uint8 ``[H, W, 3]``, looked at."""
        block = []
        for frame_HWC in frames:
            block.append(frame_HWC)
            if len(block) == BLOCK:
                self._add(np.stack(block))
                block = []
            yield frame_HWC
        if block:
            self._add(np.stack(block))

    def _add(self, frames_BHWC: np.ndarray) -> None:
        self._finder.add(frames_BHWC)
        self._blocks.append(coarse(frames_BHWC))

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
        """The shot that a frame lies in; the last one of a film that breaks off before it."""
        return next((shot for shot in self.shots if number < shot.stop), self.shots[-1])

    def held_shot(self) -> Shot | None:
        """The longest shot with movement before a camera that stands (6.1.1).

        Where the camera never stands, the one that has most of length times what is still in it;
        ``None`` where nothing moves. One through which the film goes black is taken last.
        """
        ranks = {}
        for shot in self.shots:
            cells_TYX = self.cells_TYX[shot.first : shot.stop]
            spread_YX = cells_TYX.std(axis=0)
            if spread_YX.max() > MOVED:
                goes_black = (cells_TYX.max(axis=(1, 2)) <= BLACK).any()
                still = np.mean(spread_YX < STILL)
                length = (shot.stop - shot.first) * min(still, HELD)
                ranks[shot] = not goes_black, still >= HELD, length
        return max(ranks, key=ranks.get, default=None)

    def black_frame(self) -> int | None:
        """The number of the film's darkest frame, if that is black."""
        cells_TN = self.cells_TYX.reshape(len(self.cells_TYX), -1)
        darkest = int(cells_TN.mean(axis=1).argmin())
        return darkest if cells_TN[darkest].max() <= BLACK else None


def coarse(frames_BHWC: np.ndarray) -> np.ndarray:
    """Frames as uint8 ``[B, 9, 16]``: mean brightness of cells that share the picture evenly."""
    return np.rint(area_means(frames_BHWC, *COARSE).mean(axis=3)).astype(np.uint8)
