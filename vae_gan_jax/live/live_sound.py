"""The level of the sound that a page hears, for curves that follow a sound."""

import collections
import time

import numpy as np

HISTORY_SECONDS, SILENT_SECONDS = 3.0, 1.0  # levels that are kept; without news the page is silent


class LiveSound:
    """Has the method of ``film.sound.SoundFeatures`` that curves use; the time is now."""

    def __init__(self):
        self._levels: collections.deque = collections.deque(maxlen=256)

    def hear(self, levels: dict[str, float]) -> None:
        """Takes the level of each of ``film.sound.FEATURES``."""
        levels = {name: min(max(level, 0.0), 1.0) for name, level in levels.items()}
        self._levels.append((time.monotonic(), levels))

    @property
    def is_heard(self) -> bool:
        """Whether a level came within the last second."""
        return bool(self._levels) and time.monotonic() - self._levels[-1][0] < SILENT_SECONDS

    def at(
        self, times_T: np.ndarray, feature: str, smooth: float = 0.0, decay: float = 0.0
    ) -> np.ndarray:
        """The level now, for each time; arguments as for ``SoundFeatures.at``."""
        now, newest = time.monotonic(), 0.0
        levels = [(now - at, levels[feature]) for at, levels in list(self._levels)]
        levels = [(age, level) for age, level in levels if age < HISTORY_SECONDS]
        if levels:
            newest = levels[-1][1]
        if decay:
            newest = max([newest, *(level - age / decay for age, level in levels)])
        recent = [level for age, level in levels if age < smooth]
        if recent:
            newest = sum(recent) / len(recent)
        return np.full(len(times_T), max(0.0, newest), np.float32)
