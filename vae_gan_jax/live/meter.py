"""Rate, latency and dropped frames of the last seconds."""

import collections
import time
from typing import Any

import numpy as np

SECONDS = 3.0  # that the meter looks back


class Meter:
    """Counts pictures and latencies."""

    def __init__(self):
        self._pictures: collections.deque = collections.deque(maxlen=1000)
        self._latencies: collections.deque = collections.deque(maxlen=1000)
        self._dropped = 0

    def count(self, result) -> None:
        """Counts a picture of the stage."""
        self._pictures.append((result.finished, result.render_seconds))

    def latency(self, milliseconds: float) -> None:
        """Counts the time from a frame's capture to its picture on a page."""
        self._latencies.append((time.monotonic(), milliseconds))

    def message(self, session) -> dict[str, Any]:
        """The message ``meter`` of PROTOCOL.md."""
        since = time.monotonic() - SECONDS
        pictures = [pair for pair in self._pictures if pair[0] > since]
        latencies = [milliseconds for at, milliseconds in self._latencies if at > since]
        slot, item = session.renderer.slot, session.latest and session.latest.input
        dropped, self._dropped = slot.dropped - self._dropped, slot.dropped
        span = pictures[-1][0] - pictures[0][0] if len(pictures) > 1 else 0
        rendering = [seconds for _, seconds in pictures]
        return {
            "type": "meter",
            "rate": round((len(pictures) - 1) / span, 1) if span else 0.0,
            "render_ms": round(1000 * float(np.median(rendering)), 1) if pictures else None,
            "latency_ms": round(float(np.percentile(latencies, 95)), 1) if latencies else None,
            "dropped": dropped,
            "pages": len(session.pages),
            "seconds": round(session.renderer.seconds(item), 2) if item else 0.0,
        }
