"""Records the stage as a film at a constant rate, with the sound of the film or of the page."""

import dataclasses
import datetime
import logging
import math
import os
import queue
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.write.encode import Encoder
from vae_gan_jax.live.folder import RECORDINGS, LiveFolder
from vae_gan_jax.run import atomic_io

SOUNDS = ("none", "film", "page")
MAX_WAITING_PICTURES = 48  # for the encoder; more are dropped, and the next one is shown longer
MAX_CLOCK_SECONDS = 0.15  # of difference between film and recording; a larger one is a jump
MAX_REPEATS = 250  # pictures written at once, so that a pause does not fill the memory

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class FilmPart:
    """A part of the film that played without a jump: its time in film and recording, seconds."""

    film: float
    recording: float
    stop: float  # in the recording


def _free_path(folder: LiveFolder) -> Path:
    """A path named after this second, or a later one: two recordings can begin within a second."""
    moment = datetime.datetime.now()
    while True:
        path = folder.path_of(RECORDINGS, f"{moment:%Y-%m-%d_%H.%M.%S}{RECORDINGS[1]}")
        if not (path.exists() or atomic_io.beside(path, ".segments").exists()):
            return path
        moment += datetime.timedelta(seconds=1)


class Recording:
    """A film of the stage: written as pictures come until ``finish``, on a thread of its own.

    Args:
      live_run: the run that performs; it knows size, rate and film.
      folder: of recordings.
      sound: one of ``SOUNDS``; that of the page arrives by ``hear``.
      page: the page that sends its sound.

    Raises:
      InputError: there is no such sound, or the folder cannot be written.
    """

    def __init__(self, live_run, folder: LiveFolder, sound: Any, page):
        if sound not in SOUNDS:
            raise InputError(f"sound={sound!r:.40} is unknown: give one of {', '.join(SOUNDS)}.")
        if sound == "film" and not live_run.has_film:
            raise InputError(
                f"sound={sound!r} cannot be recorded without the learnt film: connect its disk."
            )
        path = _free_path(folder)
        self.path, self.sound, self.page = path, sound, page
        self.began, self.error = time.monotonic(), None
        config, self._rate = live_run.model.config, live_run.rate_exact
        self._film = live_run.film.film.path if sound == "film" else None
        self._encoder = Encoder(path, Framing(config.width, config.height), self._rate)
        self._page_sound = atomic_io.beside(path, ".webm") if sound == "page" else None
        self._film_sound, self._parts = atomic_io.beside(path, ".wav"), []
        if self._page_sound:
            self._page_sound.write_bytes(b"")
        self._written, self._last, self._film_seconds = 0, None, math.nan
        self._waiting: queue.Queue = queue.Queue(MAX_WAITING_PICTURES)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    def state(self) -> dict[str, Any]:
        """The recording as the page reads it."""
        return {"name": self.path.name, "sound": self.sound}

    def show(self, result) -> None:
        """Takes a picture of the stage that is shown from now on."""
        now = time.monotonic() - self.began
        film_seconds = math.nan if result.input.number else result.input.seconds
        is_still = film_seconds == self._film_seconds  # a pause or a single code: silence
        self._film_seconds = film_seconds
        try:
            self._waiting.put_nowait((now, result.frame_HWC))
        except queue.Full:
            return
        if is_still or not math.isfinite(film_seconds):
            return
        part = self._parts[-1] if self._parts else None
        if part and abs(film_seconds - now - part.film + part.recording) < MAX_CLOCK_SECONDS:
            part.stop = now
        else:
            self._parts.append(FilmPart(film_seconds, now, now))

    def hear(self, content: bytes) -> None:
        """Takes sound of the page, a part of a WebM file."""
        if self._page_sound:
            with self._page_sound.open("ab") as file:
                file.write(content)

    def finish(self) -> dict[str, Any]:
        """Completes the film, which takes seconds; returns the message ``recorded``.

        Raises:
          InputError: there were no pictures, or the film cannot be written.
        """
        self._waiting.put((time.monotonic() - self.began, None))
        self._thread.join()
        try:
            with self._encoder:
                if self.error:
                    raise self.error
                self._encoder.sound_from = self._sound()
        finally:
            for path in (self._page_sound, self._film_sound):
                if path:
                    path.unlink(missing_ok=True)
        seconds = round(self._written / float(self._rate), 3)
        return {"type": "recorded", "name": self.path.name, "seconds": seconds}

    def _run(self) -> None:
        while True:
            now, frame_HWC = self._waiting.get()
            if self.error is None:
                try:
                    self._write_until(now)
                except Exception as error:  # finish raises it
                    self.error = error
            if frame_HWC is None:
                return
            self._last = frame_HWC

    def _write_until(self, now: float) -> None:
        """Writes the previous picture for as long as it was shown."""
        if self._last is None:
            return
        count = round(now * self._rate) - self._written
        while count > 0:
            step = min(count, MAX_REPEATS)
            self._encoder.write(np.repeat(self._last[None], step, axis=0))
            self._written, count = self._written + step, count - step

    def _sound(self) -> str | None:
        """The file with the recording's sound, or None."""
        if self._page_sound:
            return str(self._page_sound) if os.path.getsize(self._page_sound) else None
        parts = [part for part in self._parts if part.stop > part.recording]
        if not self._film or not parts:
            return None
        filters, names = [], []
        for number, part in enumerate(parts):
            length, delay = part.stop - part.recording + 1 / float(self._rate), part.recording
            filters.append(
                f"[0:a:0]atrim=start={part.film:.6f}:duration={length:.6f},"
                f"asetpts=PTS-STARTPTS,adelay=delays={round(delay * 1000)}:all=1[s{number}]"
            )
            names.append(f"[s{number}]")
        filters.append(
            f"{''.join(names)}amix=inputs={len(parts)}:normalize=0:duration=longest[out]"
        )
        code, _, stderr = ffmpeg.output_of(
            [*ffmpeg.QUIET, "-y", "-i", ffmpeg.url(self._film)],
            ["-filter_complex", ";".join(filters), "-map", "[out]", ffmpeg.url(self._film_sound)],
        )
        if code:
            logger.warning(
                "%s is written without sound: %s.", self.path, ffmpeg.failure_reason(stderr)
            )
            return None
        return str(self._film_sound)
