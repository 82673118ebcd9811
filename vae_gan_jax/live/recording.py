"""The recording of a performance, by name."""

import datetime
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.live.folder import RECORDINGS, LiveFolder
from vae_gan_jax.live.recorder import Recorder

SOUNDS = ("none", "film", "page")


class Recording:
    """At most one recording at a time, in the run's folder."""

    def __init__(self, trained, folder: LiveFolder):
        self._trained, self._folder = trained, folder
        self.recorder, self.page, self._sound = None, None, "none"

    def start(self, sound: Any, page) -> None:
        """Starts a recording; ``page`` sends its sound if ``sound`` is page.

        Raises InputError if one runs, or there is no such sound.
        """
        if self.recorder:
            raise InputError(f"{self.recorder.path.name} is being recorded: wait for its end.")
        if sound not in SOUNDS:
            raise InputError(f"sound={sound!r:.40} is none: give one of {', '.join(SOUNDS)}.")
        if sound == "film" and not self._trained.has_film:
            raise InputError("--film is not there for its sound: connect its disk.")
        stamp = datetime.datetime.now().strftime("%Y-%m-%d_%H.%M.%S")
        path = self._folder.path_of(RECORDINGS, f"{stamp}{RECORDINGS[1]}")
        config = self._trained.model.config
        self.recorder = Recorder(
            path,
            Framing(config.width, config.height),
            self._trained.rate_exact,
            self._trained.film.film.path if sound == "film" else None,
            sound == "page",
        )
        self.page, self._sound = page, sound

    def show(self, result) -> None:
        """Takes a picture of the stage."""
        if self.recorder:
            seconds = result.input.seconds if not result.input.number else float("nan")
            self.recorder.show(result.frame_HWC, seconds)

    def hear(self, page, content: bytes) -> None:
        """Takes sound from the page that records its own."""
        if self.recorder and page is self.page:
            self.recorder.hear(content)

    def state(self) -> dict[str, Any] | None:
        """The recording as the page reads it."""
        return self.recorder and {"name": self.recorder.path.name, "sound": self._sound}

    def finish(self) -> dict[str, Any]:
        """Completes the film; returns the message ``recorded``. It takes seconds.

        Raises InputError if nothing is recorded, or the film cannot be written.
        """
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            raise InputError("--mode=live records nothing now: start a recording.")
        seconds = recorder.finish()
        return {"type": "recorded", "name": recorder.path.name, "seconds": round(seconds, 3)}
