"""What computes the stage: a model with controls, the thread that plays it, and its meter."""

import collections
import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.explore.controls import NEED_SOURCE
from vae_gan_jax.explore.play import Player
from vae_gan_jax.explore.presets import Preset
from vae_gan_jax.live.sources import Input, Slot
from vae_gan_jax.run import disk_errors

STILL_SECONDS = 0.25  # without a new input, the last one is computed again at the film's rate
MIN_REPORT_SECONDS = 1.0  # between errors of the same kind
METER_SECONDS = 3.0  # that the meter looks back

logger = logging.getLogger(__name__)


class Show:
    """Plays a preset with a batch of one.

    Its structure is fixed and compiled once for frames and once for codes. Controls that need a
    source frame are left out while codes are played.

    Args:
      model: the networks.
      preset: the controls; their dicts of curves may change at any time.
      film: the film that the controls refer to, a FilmContext.
    """

    def __init__(self, model, preset: Preset, film):
        self._model, self._preset, self._film = model, preset, film
        self._players: dict[bool, Player] = {}
        self._states: dict[bool, Any] = {}

    def prepare(self, has_source: bool) -> None:
        """Compiles what frames (``has_source``) or codes need."""
        if has_source in self._players:
            return
        uses = [use for use in self._preset.controls if has_source or use.name not in NEED_SOURCE]
        preset = dataclasses.replace(self._preset, controls=tuple(uses))
        player, config = Player(self._model, preset, self._film), self._model.config
        shape = (config.height, config.width, 3) if has_source else (config.z_dim,)
        empty = np.zeros((1, *shape), np.uint8 if has_source else np.float32)
        start = player.start()
        jax.block_until_ready(player.step(start, empty, np.zeros(1))[1:])
        self._states[has_source] = start
        self._players[has_source] = player

    def play(self, item: Input, seconds: float, sound) -> np.ndarray:
        """The picture of a frame or code, uint8 ``[H, W, 3]``.

        Args:
          item: a frame or a code.
          seconds: the time of curves.
          sound: the level of the sound for curves that follow it, or None.
        """
        has_source = item.array.ndim == 3
        self.prepare(has_source)
        player, times_B = self._players[has_source], np.array([seconds])
        values = player.values(times_B, sound)
        state, frames_BHWC, _ = player.step(
            self._states[has_source], item.array[None], times_B, values
        )
        self._states[has_source] = state
        return np.asarray(frames_BHWC)[0]


@dataclasses.dataclass(frozen=True)
class Result:
    """A picture of the stage, uint8 ``[H, W, 3]``, and the input that it shows."""

    frame_HWC: np.ndarray
    input: Input
    render_seconds: float
    finished: float  # of time.monotonic()


class Renderer:
    """Computes pictures until ``close``.

    Args:
      show: the first to be played.
      rate: pictures a second of an input that stays the same.
      sound: function of the input that returns the sound that curves follow, or None.
      publish: called with each Result, on this thread.
      fail: called with a sentence if a picture cannot be computed.
    """

    def __init__(
        self,
        show: Show,
        rate: float,
        sound: Callable[[Input], object],
        publish: Callable[[Result], None],
        fail: Callable[[str], None],
    ):
        self.slot, self.show, self.film_start = Slot(), show, 0.0
        self._rate, self._sound, self._publish, self._fail = rate, sound, publish, fail
        self._began, self._next, self._reported = time.monotonic(), None, 0.0
        self._fade = (0.0, 0.0)  # start of time.monotonic() and length in seconds
        self._is_closed = False
        self._switching = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="renderer", daemon=True)

    def start(self) -> None:
        """Begins to compute."""
        self._thread.start()

    def close(self) -> None:
        """Ends the thread."""
        self._is_closed = True
        self.slot.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def replace(self, show: Show, fade_seconds: float = 0.0, restart: bool = False) -> None:
        """Plays another show, after a crossfade; ``restart`` sets the clock of curves to 0."""
        if restart:
            self._began = time.monotonic()
        with self._switching:
            if fade_seconds > 0:
                self._fade = time.monotonic(), fade_seconds
                self._next = show
            else:
                self.show, self._next = show, None

    @property
    def fading(self) -> float:
        """The progress of a crossfade, 0 to 1; 0 without one."""
        began, length = self._fade
        return min(1.0, (time.monotonic() - began) / length) if self._next else 0.0

    def seconds(self, item: Input) -> float:
        """The time of curves: the film's if the learnt film plays, else that of the show."""
        if item.array.ndim == 3 and np.isfinite(item.seconds) and not item.number:
            return max(0.0, item.seconds - self.film_start)
        return time.monotonic() - self._began

    def _run(self) -> None:
        last, timeout = None, STILL_SECONDS
        while not self._is_closed:
            item = self.slot.take(timeout)
            timeout = 1 / self._rate if item is None else STILL_SECONDS
            last = item or last
            if last is None or self._is_closed:
                continue
            try:
                began = time.monotonic()
                frame_HWC = self._play(last)
                timeout = max(0.001, timeout - (time.monotonic() - began) * (item is None))
            except Exception as error:
                self._report(error)
                continue
            finished = time.monotonic()
            self._publish(Result(frame_HWC, last, finished - began, finished))

    def _play(self, item: Input) -> np.ndarray:
        seconds, sound = self.seconds(item), self._sound(item)
        frame_HWC, share, following = self.show.play(item, seconds, sound), self.fading, self._next
        if following is None:
            return frame_HWC
        next_HWC = following.play(item, seconds, sound)
        if share >= 1:
            with self._switching:
                if self._next is following:  # no other show came meanwhile
                    self.show, self._next = following, None
            return next_HWC
        mixed_HWC = frame_HWC * np.float32(1 - share) + next_HWC * np.float32(share)
        return np.rint(mixed_HWC).astype(np.uint8)

    def _report(self, error: Exception) -> None:
        """Reports an error at most once a second; the show goes on."""
        time.sleep(1 / self._rate)
        if time.monotonic() - self._reported < MIN_REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        if not isinstance(error, InputError):
            logger.exception("a picture of the stage failed:")
        self._fail(disk_errors.reason(error, 300))


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
        since = time.monotonic() - METER_SECONDS
        pictures = [pair for pair in self._pictures if pair[0] > since]
        latencies = [milliseconds for at, milliseconds in self._latencies if at > since]
        slot = session.renderer.slot
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
            "seconds": round(time.monotonic() - session.began, 2),
        }
