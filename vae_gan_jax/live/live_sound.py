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
        now, falling = time.monotonic(), []  # ages and levels, oldest first, with the decay
        for moment, levels in list(self._levels):
            age, level = now - moment, levels[feature]
            if age >= HISTORY_SECONDS:
                continue
            if decay and falling:
                older, before = falling[-1]
                level = max(level, before - (older - age) / decay)
            falling.append((age, level))
        recent = [level for age, level in falling if age < smooth]
        recent = recent or [level for _, level in falling[-1:]]
        return np.full(len(times_T), np.mean(recent) if recent else 0.0, np.float32)
