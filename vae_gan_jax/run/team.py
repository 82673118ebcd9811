"""The processes that work on one run together."""

import dataclasses
from collections.abc import Callable


@dataclasses.dataclass(frozen=True)
class Team:
    """The processes that share a job, as one of them sees it; by default it works alone.

    Attributes:
      index: number of this process, from 0.
      count: number of processes.
      barrier: waits until every process has called it with the same name.
    """

    index: int = 0
    count: int = 1
    barrier: Callable[[str], None] = lambda name: None

    def own(self, items: int) -> range:
        """The contiguous part of ``range(items)`` that is this process's; early ones get more."""
        first, stop = (-(-items * index // self.count) for index in (self.index, self.index + 1))
        return range(first, stop)
