"""The frames that training draws, and their order."""

import dataclasses
from collections.abc import Iterator

import numpy as np

from vae_gan_jax.film.store import shuffle


@dataclasses.dataclass(frozen=True, eq=False)
class TrainingFrames:
    """A film's frames and the numbers of those to learn from."""

    frames_THWC: np.ndarray  # every frame of the film, uint8
    training_T: np.ndarray | None = None  # ascending; default: all

    def __post_init__(self):
        if self.training_T is None:
            object.__setattr__(self, "training_T", np.arange(len(self.frames_THWC)))

    def __len__(self) -> int:
        """The number of frames that an epoch draws."""
        return len(self.training_T)

    def drawn(self, seed: int, epoch: int, positions: np.ndarray) -> np.ndarray:
        """Numbers of the frames at some positions of an epoch's shuffle F_r (4.5).

        A pure function of its arguments, so that a resumed run continues in the same order.
        ``positions`` are integers below ``len(self)``, of any shape.
        """
        keys = np.random.SeedSequence([seed, epoch]).generate_state(shuffle.ROUNDS, np.uint64)
        return self.training_T[shuffle.permuted(keys, len(self), positions)]

    def mini_batches(self, seed: int, epoch: int, batch_size: int) -> Iterator[np.ndarray]:
        """The shuffled mini-batches of an epoch, uint8 ``[batch_size, H, W, C]``.

        Frames that do not fill a mini-batch are left out.
        """
        for first in range(0, len(self) - batch_size + 1, batch_size):
            positions = np.arange(first, first + batch_size)
            yield self.frames_THWC[self.drawn(seed, epoch, positions)]
