"""Which source plays: frames of a page, the learnt film, a moment of it, or a walk."""

from collections.abc import Callable
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.live.sources import Input, Playback, Track

KINDS = ("page", "film", "moment", "walk")


class StageSource:
    """Switches between sources; its methods run in the event loop.

    Args:
      trained: a ``live.trained.Trained``.
      put: takes the inputs.
      fail: takes a sentence about a source that ended.
    """

    def __init__(self, trained, put: Callable[[Input], None], fail: Callable[[str], None]):
        self._trained, self._put, self._fail = trained, put, fail
        self.kind, self.owner, self.loop = None, None, None
        self.playing, self._playback = True, None

    @property
    def film_start(self) -> float:
        """The time of the film's first frame, seconds of its clock."""
        return self._trained.film.film.start if self._trained.film else 0.0

    @property
    def gives_frames(self) -> bool:
        """Whether the networks encode frames; otherwise they only decode codes."""
        return self.kind in (None, "page", "film")

    def begin(self) -> None:
        """Plays what there is, unless something plays: the film, else a walk."""
        if self.kind is None:
            self.use("film" if self._trained.has_film else "walk", None)

    def state(self, page) -> dict[str, Any]:
        """The source as the page reads it."""
        own = self.kind == "page" and self.owner is page
        return {"kind": self.kind, "own": own, "playing": self.playing, "loop": self.loop}

    def use(self, kind: Any, page, loop: tuple[float, float] | None = None) -> None:
        """Changes the source; raises InputError if there is no such source."""
        if kind not in KINDS:
            raise InputError(f"source={kind!r:.40} is none: give one of {', '.join(KINDS)}.")
        if kind == "film" and not self._trained.has_film:
            raise InputError("--film is not there to be played: connect its disk.")
        if kind == "film" and self.kind == "film":
            self.loop = loop
            self._playback.set_loop(loop)
            return
        track = None
        if kind == "film":
            track = Track.of_film(self._trained.film.film)
        elif kind == "walk":
            track = self._trained.walk_track()
        elif kind == "moment":
            track = self._trained.moment(0)
        self._switch(kind, track)
        self.owner, self.loop = (page if kind == "page" else None), loop
        if loop and kind == "film":
            self._playback.set_loop(loop)

    def go(self, seconds: float) -> None:
        """Goes to a time of the film: seeks it, or shows that moment's code."""
        if self.kind == "film":
            self._playback.seek(seconds)
        else:
            self.show_frame(self._trained.number(seconds))

    def show_frame(self, number: int) -> None:
        """The code of a frame of the film becomes the source."""
        self._switch("moment", self._trained.moment(number))
        self.owner = self.loop = None

    def play(self, playing: bool) -> None:
        """Pauses or resumes film and walk."""
        self.playing = playing
        if self._playback:
            self._playback.play(playing)

    def take(self, page, item: Input) -> None:
        """A frame of a page, which counts only if that page is the source."""
        if self.kind == "page" and self.owner in (page, None):
            self.owner = page
            self._put(item)

    def close(self) -> None:
        """Ends what plays."""
        self._switch(None, None)

    def _switch(self, kind: str | None, track: Track | None) -> None:
        if self._playback:
            self._playback.close()
        self.kind, self.playing, self._playback = kind, True, None
        if track:
            self._playback = Playback(track, self._put, self._fail)
