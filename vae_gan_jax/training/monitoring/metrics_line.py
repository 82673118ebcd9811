"""One line of metrics: the mean over the steps since the previous line."""

import time
from collections.abc import Sequence

import jax
import numpy as np


class MetricsLine:
    """Collects the metrics of training steps, and fetches them from the devices all at once.

    ``unfinished`` are the metrics of the first steps of this line, done before a stop.
    """

    def __init__(self, unfinished: Sequence[dict[str, float]] = ()):
        self.steps = list(unfinished)  # the fetched metrics of each step
        self._resumed_steps = len(self.steps)
        self._on_devices: list[tuple[int, dict[str, jax.Array]]] = []  # by dispatch
        self._start = time.perf_counter()

    def add(self, count: int, metrics: dict[str, jax.Array]) -> None:
        """Adds a dispatch of ``count`` steps; metrics of several steps have the shape ``[S]``."""
        self._on_devices.append((count, metrics))

    def wait(self) -> None:
        """Waits until the devices have finished the last dispatch."""
        jax.block_until_ready(self._on_devices[-1:])

    def fetch(self, step: int) -> None:
        """Fetches all metrics and numbers the steps; ``step`` is the last one."""
        for count, metrics in jax.device_get(self._on_devices):
            self.steps += [
                {name: float(np.ravel(values)[index]) for name, values in metrics.items()}
                for index in range(count)
            ]
        self._on_devices = []
        for number, metrics in enumerate(self.steps, step - len(self.steps) + 1):
            metrics["step"] = number

    def mean(self) -> dict[str, float | None]:
        """The mean of each metric over the steps where it is finite; "skipped" is a sum."""
        line = {}
        for name in sorted(self.steps[0].keys() - {"step"}):
            values = np.array([step[name] for step in self.steps], np.float32)
            finite = values[np.isfinite(values)]
            line[name] = float(finite.mean()) if finite.size else None
        line["skipped"] = sum(int(step["skipped"]) for step in self.steps)
        return line

    def steps_per_second(self) -> float:
        """The speed of the steps of this line that were done since it began or was resumed."""
        done = len(self.steps) - self._resumed_steps
        return done / (time.perf_counter() - self._start)
