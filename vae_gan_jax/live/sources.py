"""The sources of the stage: frames of a page, the learnt film, a moment of it, or a walk."""

import contextlib
import dataclasses
import math
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.reader import FilmReader

KINDS = ("page", "film", "moment", "walk")
MAX_LATE_SECONDS = 1.0  # after which a film goes on from where it is, instead of skipping


@dataclasses.dataclass(frozen=True)
class Input:
    """A frame ``[H, W, 3]`` or a code ``[Z]``, and where it comes from."""

    array: np.ndarray
    number: int = 0  # of the page's frame; 0: the server's own
    captured_ms: float = 0.0
    seconds: float = math.nan  # of the film's clock


class Slot:
    """Holds the newest input: a newer one replaces it, so that nothing queues."""

    def __init__(self):
        self._changed, self._input, self.dropped = threading.Condition(), None, 0

    def put(self, item: Input | None) -> None:
        """Replaces an input that was not taken; None empties the slot."""
        with self._changed:
            self.dropped += self._input is not None and item is not None
            self._input = item
            self._changed.notify()

    def take(self, timeout_seconds: float) -> Input | None:
        """Waits for an input and removes it; returns None if none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._input is not None, timeout_seconds)
            item, self._input = self._input, None
            return item


@dataclasses.dataclass(frozen=True)
class Track:
    """A film or codes to play: ``items`` generates the arrays from a number on."""

    items: Callable[[int], Generator[np.ndarray, None, None]]
    count: int
    rate: float
    start: float = math.nan  # seconds of the film's clock at number 0; NaN without a film

    @classmethod
    def of_film(cls, film: FilmReader) -> "Track":
        """The frames of a film."""
        return cls(film.frames, film.count, float(film.rate), film.start)

    @classmethod
    def of_codes(cls, codes_TZ: np.ndarray, rate: float, start: float = math.nan) -> "Track":
        """Codes, one after the other."""
        codes_TZ = np.asarray(codes_TZ, np.float32)
        return cls(lambda first: (z_Z for z_Z in codes_TZ[first:]), len(codes_TZ), rate, start)

    def number(self, seconds: float) -> int:
        """The number of the nearest item to a time of the film's clock."""
        position = round((seconds - self.start) * self.rate) if math.isfinite(self.start) else 0
        return min(max(0, position), self.count - 1)


class Playback:
    """Plays a track in real time into a slot, again and again, on a thread of its own."""

    def __init__(self, track: Track, put: Callable[[Input], None], fail: Callable[[str], None]):
        self.track, self._put, self._fail = track, put, fail
        self.playing, self.loop = True, None  # loop: numbers (first, stop)
        self._changed, self._jump, self._is_closed = threading.Condition(), 0, False
        self._thread = threading.Thread(target=self._run, name="source", daemon=True)
        self._thread.start()

    @property
    def has_ended(self) -> bool:
        """Whether an error ended it, such as a film whose disk was removed."""
        return not self._thread.is_alive()

    def seek(self, seconds: float) -> None:
        """Goes to a time of the film's clock."""
        self._change(_jump=self.track.number(seconds))

    def play(self, playing: bool) -> None:
        """Pauses or resumes."""
        self._change(playing=playing)

    def set_loop(self, seconds: tuple[float, float] | None) -> None:
        """Repeats a range of the film; None: all of it."""
        if seconds is None:
            self._change(loop=None)
            return
        first, last = sorted(map(self.track.number, seconds))
        self._change(loop=(first, last + 1), _jump=first)

    def close(self) -> None:
        """Ends the thread."""
        self._change(_is_closed=True)
        self._thread.join()

    def _change(self, **values) -> None:
        with self._changed:
            vars(self).update(values)
            self._changed.notify()

    def _run(self) -> None:
        try:
            while not self._is_closed:
                with self._changed:
                    first, self._jump = self._jump, None
                with contextlib.closing(self.track.items(first)) as items:
                    self._play(first, items)
                with self._changed:
                    if self._jump is None:
                        self._jump = self.loop[0] if self.loop else 0
        except Exception as error:
            self._fail(str(error))

    def _play(self, first: int, items: Iterator[np.ndarray]) -> None:
        """Plays until the end, a jump or ``close``; the first item is shown even in a pause."""
        rate, began = self.track.rate, None
        for number, array in enumerate(items, first):
            began = began or time.monotonic()  # a film takes a while to open
            due = began + (number - first) / rate
            paused = self._wait(due, is_first=number == first)
            began, due = began + paused, due + paused
            if self._jump is not None or self._is_closed:
                return
            late = time.monotonic() - due
            if late > MAX_LATE_SECONDS:
                began += late
            if late < 1 / rate or late > MAX_LATE_SECONDS or self.track.count == 1:
                self._put(Input(array, seconds=self.track.start + number / rate))
            if self.loop and number + 1 == self.loop[1]:
                break
        with self._changed:  # the last item is shown as long as the others
            self._changed.wait_for(self._is_interrupted, 1 / rate)

    def _is_interrupted(self) -> bool:
        return self._jump is not None or self._is_closed

    def _wait(self, due: float, is_first: bool) -> float:
        """Waits until an item is due; returns how long a pause lasted."""
        with self._changed:
            rest = due - time.monotonic()
            if rest > 0:
                self._changed.wait_for(self._is_interrupted, rest)
            paused = time.monotonic()
            if not self.playing and not is_first:
                self._changed.wait_for(lambda: self.playing or self._is_interrupted())
                return time.monotonic() - paused
            return 0.0


class StageSource:
    """Switches between sources; its methods run in the event loop.

    Args:
      live_run: a ``live.live_run.LiveRun``.
      put: called with each input.
      fail: called with a sentence about a source that ended.
    """

    def __init__(self, live_run, put: Callable[[Input], None], fail: Callable[[str], None]):
        self._live_run, self._put, self._fail = live_run, put, fail
        self.kind, self.owner, self.loop = None, None, None
        self.playing, self._playback = True, None

    @property
    def film_start(self) -> float:
        """The time of the film's first frame, seconds of its clock."""
        return self._live_run.film.film.start if self._live_run.film else 0.0

    @property
    def gives_frames(self) -> bool:
        """Whether the networks encode frames; otherwise they only decode codes."""
        return self.kind in (None, "page", "film")

    def begin(self) -> None:
        """Plays the film, else a walk, unless something plays already."""
        if self.kind is None:
            self.use("film" if self._live_run.has_film else "walk", None)

    def state(self, page) -> dict[str, Any]:
        """The source as the page reads it."""
        own = self.kind == "page" and self.owner is page
        return {"kind": self.kind, "own": own, "playing": self.playing, "loop": self.loop}

    def use(self, kind: Any, page, loop: tuple[float, float] | None = None) -> None:
        """Changes the source; raises InputError if there is no such source."""
        if kind not in KINDS:
            raise InputError(f"source={kind!r:.40} is unknown: give one of {', '.join(KINDS)}.")
        if kind == "film" and not self._live_run.has_film:
            raise InputError("--film is not there to be played: connect its disk.")
        if kind == "film" and self.kind == "film" and not self._playback.has_ended:
            self.loop = loop
            self._playback.set_loop(loop)
            return
        track = None
        if kind == "film":
            track = Track.of_film(self._live_run.film.film)
        elif kind == "walk":
            track = self._live_run.walk_track()
        elif kind == "moment":
            track = self._live_run.moment(0)
        self._switch(kind, track)
        self.owner, self.loop = (page if kind == "page" else None), loop
        if loop and kind == "film":
            self._playback.set_loop(loop)

    def go(self, seconds: float) -> None:
        """Goes to a time of the film: seeks it, or shows that moment's code."""
        if self.kind != "film":
            self.show_frame(self._live_run.number(seconds))
            return
        if self._playback.has_ended:  # by a disk that was removed
            self.use("film", None, self.loop)
        self._playback.seek(seconds)

    def show_frame(self, number: int) -> None:
        """Makes the code of a frame of the film the source."""
        self._switch("moment", self._live_run.moment(number))
        self.owner = self.loop = None

    def play(self, playing: bool) -> None:
        """Pauses or resumes film and walk."""
        self.playing = playing
        if self._playback:
            self._playback.play(playing)

    def take(self, page, item: Input) -> None:
        """Takes a frame of a page, which counts only if that page is the source."""
        if self.kind == "page" and self.owner in (page, None):
            self.owner = page
            self._put(item)

    def close(self) -> None:
        """Ends the current source."""
        self._switch(None, None)

    def _switch(self, kind: str | None, track: Track | None) -> None:
        if self._playback:
            self._playback.close()
        self.kind, self.playing, self._playback = kind, True, None
        if track:
            self._playback = Playback(track, self._put, self._fail)
