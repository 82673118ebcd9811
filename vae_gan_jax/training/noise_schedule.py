"""Where in the run a step lies and how much noise it gets there (4.5.1)."""

from typing import NamedTuple


class Position(NamedTuple):
    """A mini-batch's place: the epoch from 0, and how many came before it within the epoch."""

    epoch: int
    batch: int


def position(step: int, steps_per_epoch: int) -> Position:
    """The place of the mini-batch that follows ``step`` others."""
    return Position(*divmod(step, steps_per_epoch))


def noise_std(schedule: tuple[float, ...], epoch: int) -> float:
    """Standard deviation of the noise epsilon throughout the epoch."""
    return schedule[epoch]
