"""Records the stage as a film at a constant rate, with the sound of the film or of the page."""

import dataclasses
import logging
import math
import os
import queue
import threading
import time
from fractions import Fraction
from pathlib import Path

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.write.encode import Encoder
from vae_gan_jax.run import atomic_io

MAX_WAITING_PICTURES = 48  # for the encoder; more are dropped, and the next one is shown longer
SAME_RUN_SECONDS = 0.15  # between a film's clock and the recording's; a larger change is a jump
MAX_REPEATS = 250  # pictures written at once, so that a pause does not fill the memory

logger = logging.getLogger(__name__)


@dataclasses.dataclass
class Run:
    """A part of the film that played without a jump: its time in film and recording, seconds."""

    film: float
    recording: float
    stop: float  # in the recording


class Recorder:
    """Writes pictures as they come until ``finish``, on a thread of its own.

    Args:
      path: the film to write.
      framing: the size of the pictures.
      rate: frames per second.
      sound_from: the film whose sound is heard; None: no film's.
      has_page_sound: whether sound arrives by ``hear``.

    Raises:
      InputError: the path cannot be written.
    """

    def __init__(
        self,
        path: Path,
        framing: Framing,
        rate: Fraction,
        sound_from: str | None = None,
        has_page_sound: bool = False,
    ):
        self.path, self.began, self.error = path, time.monotonic(), None
        self._rate, self._sound_from, self._runs = rate, sound_from, []
        self._encoder = Encoder(path, Framing(framing.width, framing.height), rate)
        self._page_sound = atomic_io.beside(path, ".webm") if has_page_sound else None
        self._film_sound = atomic_io.beside(path, ".wav")
        if self._page_sound:
            self._page_sound.write_bytes(b"")
        self._written, self._last = 0, None
        self._waiting: queue.Queue = queue.Queue(MAX_WAITING_PICTURES)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._thread.start()

    @property
    def seconds(self) -> float:
        """How long the recording is."""
        return self._written / float(self._rate)

    def show(self, frame_HWC: np.ndarray, film_seconds: float) -> None:
        """Takes a picture of now; ``film_seconds`` is the learnt film's clock, or NaN."""
        now = time.monotonic() - self.began
        try:
            self._waiting.put_nowait((now, frame_HWC))
        except queue.Full:
            return
        run = self._runs[-1] if self._runs else None
        if run and abs(film_seconds - run.film - (now - run.recording)) < SAME_RUN_SECONDS:
            run.stop = now
        elif math.isfinite(film_seconds):
            self._runs.append(Run(film_seconds, now, now))

    def hear(self, content: bytes) -> None:
        """Takes sound of the page, a part of a WebM file."""
        if self._page_sound:
            with self._page_sound.open("ab") as file:
                file.write(content)

    def finish(self) -> float:
        """Completes the film; returns its length in seconds.

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
        return self.seconds

    def _run(self) -> None:
        while True:
            now, frame_HWC = self._waiting.get()
            if self.error is None:
                try:
                    self._write_until(now)
                except InputError as error:
                    self.error = error
            if frame_HWC is None:
                return
            self._last = frame_HWC

    def _write_until(self, now: float) -> None:
        """Writes the picture before for the time that it was shown."""
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
        runs = [run for run in self._runs if run.stop > run.recording]
        if not self._sound_from or not runs:
            return None
        filters, names = [], []
        for number, run in enumerate(runs):
            length, delay = run.stop - run.recording + 1 / float(self._rate), run.recording
            filters.append(
                f"[0:a:0]atrim=start={run.film:.6f}:duration={length:.6f},"
                f"asetpts=PTS-STARTPTS,adelay=delays={round(delay * 1000)}:all=1[s{number}]"
            )
            names.append(f"[s{number}]")
        filters.append(f"{''.join(names)}amix=inputs={len(runs)}:normalize=0:duration=longest[out]")
        code, _, stderr = ffmpeg.output_of(
            [*ffmpeg.QUIET, "-y", "-i", ffmpeg.url(self._sound_from)],
            ["-filter_complex", ";".join(filters), "-map", "[out]", ffmpeg.url(self._film_sound)],
        )
        if code:
            logger.warning(
                "%s is written without sound: %s.", self.path, ffmpeg.failure_reason(stderr)
            )
            return None
        return str(self._film_sound)
