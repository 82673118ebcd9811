"""The thread that computes the stage: the newest input through the show, and crossfades."""

import dataclasses
import logging
import threading
import time
from collections.abc import Callable

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.live.show import Show
from vae_gan_jax.live.sources import Input, Slot

STILL_SECONDS = 0.25  # without a new input, the last one is computed again at the film's rate
MIN_REPORT_SECONDS = 1.0  # between errors of the same kind

logger = logging.getLogger(__name__)


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
      show: what is played first.
      rate: pictures a second of an input that stays the same.
      sound: of (input): the level of the sound for curves, or None.
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
        if fade_seconds > 0:
            self._fade = time.monotonic(), fade_seconds
            self._next = show
        else:
            self.show, self._next = show, None

    @property
    def fading(self) -> float:
        """How far a crossfade is, 0 to 1; 0: there is none."""
        began, length = self._fade
        return min(1.0, (time.monotonic() - began) / length) if self._next else 0.0

    def seconds(self, item: Input) -> float:
        """The time of curves: the film's if the learnt film plays, else that of the show."""
        if np.isfinite(item.seconds) and not item.number:
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
            self.show, self._next = following, None
            return next_HWC
        mixed_HWC = frame_HWC * np.float32(1 - share) + next_HWC * np.float32(share)
        return np.rint(mixed_HWC).astype(np.uint8)

    def _report(self, error: Exception) -> None:
        """Tells an error at most once a second; the show goes on."""
        time.sleep(1 / self._rate)
        if time.monotonic() - self._reported < MIN_REPORT_SECONDS:
            return
        self._reported = time.monotonic()
        if not isinstance(error, InputError):
            logger.exception("a picture of the stage failed:")
        self._fail(str(error).split("\n")[0][:300])
