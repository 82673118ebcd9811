"""Which frames of a film a trim keeps: one rule, by which picture and sound are both cut."""

import dataclasses
import math

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.probe import Probe


@dataclasses.dataclass(frozen=True)
class Section:
    """A stretch of a film, in whole frames.

    ``first`` and ``count`` number frames of the film at its rate (``count`` None: unknown);
    ``start`` is when the first of them is shown, in seconds of the film's clock.
    """

    first: int
    count: int | None
    start: float


def section(film: Probe, trim_start: float | None = None, trim_end: float | None = None) -> Section:
    """The frames shown from ``trim_start`` until just before ``trim_end``, seconds.

    Raises:
      InputError: there is none.
    """
    rate = film.rate
    first = 0
    if trim_start is not None:
        first = max(0, math.ceil(_position(film, trim_start)))
    end = film.frames
    if trim_end is not None and film.end is not None and trim_end > film.end + 1 / rate:
        raise InputError(
            f"the trim ends at {trim_end:g} s and {film.path} at {film.end:.2f} s: "
            "give an earlier end, or none."
        )
    if trim_end is not None:
        wanted = max(0, math.ceil(_position(film, trim_end)))
        end = wanted if end is None else min(end, wanted)
    if end is not None and end <= first:
        shown = f"{film.path} lasts {film.end:.2f} s" if film.end else film.path
        raise InputError(
            f"the trim from {trim_start or 0:g} s to "
            f"{'the end' if trim_end is None else f'{trim_end:g} s'} keeps no frame: {shown}."
        )
    return Section(first, None if end is None else end - first, film.start + float(first / rate))


def _position(film: Probe, seconds: float) -> float:
    """Frames before ``seconds``; one whose timestamp was rounded to it counts as at it."""
    return (seconds - film.start) * float(film.rate) - 0.05
