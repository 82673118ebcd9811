"""The processes that share a run."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Team:
    """The processes that share a job, from the view of one of them; by default there is one."""

    index: int = 0  # number of this process, from 0
    count: int = 1  # of processes
    barrier: Callable[[str], None] = lambda name: None  # waits until all have called it

    def own(self, items: int) -> range:
        """This process's contiguous part of ``range(items)``; parts differ by at most one item."""
        first, stop = (-(-items * index // self.count) for index in (self.index, self.index + 1))
        return range(first, stop)


ALONE = Team()  # one process
