"""Which frames a trim selects; the same rule cuts picture and sound."""

import dataclasses
import math

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.probe import Probe


@dataclasses.dataclass(frozen=True)
class Section:
    """A range of frames of a film."""

    first: int  # number of the first frame, at the film's rate
    count: int
    start: float  # when the first frame is shown, seconds of the film's clock


def section(film: Probe, trim_start: float | None = None, trim_end: float | None = None) -> Section:
    """The frames shown from ``trim_start`` until just before ``trim_end``, seconds.

    Raises InputError if there are no such frames, or the trim ends after the film.
    """
    first, stop = 0, film.frames
    if trim_start is not None:
        first = max(0, math.ceil(_position(film, trim_start)))
    if trim_end is not None:
        if trim_end > film.end + 1 / film.rate:
            raise InputError(
                f"--trim_end={trim_end:g} is after the end of {film.path}, {film.end:.2f} s: "
                "give an earlier end, or none."
            )
        stop = min(stop, max(0, math.ceil(_position(film, trim_end))))
    if stop <= first:
        raise InputError(
            f"--trim_start={trim_start or 0:g} and --trim_end="
            f"{film.end if trim_end is None else trim_end:g} keep no frame of {film.path}, which "
            f"lasts until {film.end:.2f} s: give other times."
        )
    start = film.start + float(first / film.rate)
    return Section(first, stop - first, start)


def _position(film: Probe, seconds: float) -> float:
    """A time in frames, slightly early, so that a frame with a rounded timestamp is included."""
    return (seconds - film.start) * float(film.rate) - 0.05
