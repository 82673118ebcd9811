"""Random access to the frames of a film, by number or time."""

import collections
import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError, field
from vae_gan_jax.film.film_scan import FilmScan
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.framing import section
from vae_gan_jax.film.shots import Shot

MIN_SEEK_SECONDS = 10.0  # shorter gaps between wanted frames are decoded, which is faster


@dataclasses.dataclass(frozen=True)
class FilmReader:
    """The frames of a film under a framing, numbered from 0."""

    path: str
    name: str  # stem of the names of files made from the film
    framing: video.Framing
    strict: bool = False  # refuse a damaged film

    @functools.cached_property
    def _probe(self) -> video.Probe:
        return video.probe(self.path, self.framing.video_stream, self.framing.fps)

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return self._probe.rate

    @property
    def start(self) -> float:
        """When frame 0 is shown, seconds of the film's clock."""
        return section(self._probe, self.framing).start

    @functools.cached_property
    def count(self) -> int:
        """The number of frames."""
        return section(self._probe, self.framing).count

    @functools.cached_property
    def shots(self) -> list[Shot]:
        """The shots, as ``(first, stop)``; finding them decodes the film."""
        scan = FilmScan()
        collections.deque(scan.watch(self.frames()), maxlen=0)
        return scan.shots

    def frames(self, first: int = 0) -> Iterator[np.ndarray]:
        """The frames from number ``first`` on, in order: uint8 ``[H, W, 3]``.

        Raises InputError if ``first`` is not a number from 0 on, or as decoding does.
        """
        first = field.whole("first", first)
        return video.decode(self.path, self.framing, skip=first, strict=self.strict)

    def at(self, numbers: Sequence[int]) -> np.ndarray:
        """The frames with these numbers, in the given order: uint8 ``[len(numbers), H, W, 3]``.

        Raises InputError if there is no such frame, or it cannot be decoded.
        """
        try:
            numbers = list(numbers)
        except TypeError:
            wrong = field.shown(numbers)
            raise InputError(f"{wrong} is not a list of frame numbers: give one.") from None
        name, last = f"{self.path}: frame", self.count - 1
        numbers = [field.whole(name, number, maximum=last) for number in numbers]
        decoded, next_number, frames = {}, 0, iter(())
        min_seek = MIN_SEEK_SECONDS * float(self.rate)
        with contextlib.ExitStack() as stack:
            for wanted in sorted(set(numbers)):
                if not decoded or wanted - next_number > min_seek:
                    frames = stack.enter_context(contextlib.closing(self.frames(wanted)))
                    next_number = wanted
                for frame_HWC in frames:
                    next_number += 1
                    if next_number > wanted:
                        decoded[wanted] = frame_HWC
                        break
                else:
                    raise InputError(
                        f"frame {wanted} of {self.path} cannot be decoded, the film is damaged: "
                        "repair it, or trim it before that frame."
                    )
        shape = len(numbers), self.framing.height, self.framing.width, 3
        return np.array([decoded[number] for number in numbers], np.uint8).reshape(shape)

    def seconds(self, number: int) -> float:
        """When a frame is shown, seconds of the film's clock.

        Raises InputError if ``number`` is not a number from 0 on.
        """
        return self.start + float(field.whole("number", number) / self.rate)

    def number(self, seconds: float, flag: str = "--at=") -> int:
        """The number of the frame that begins nearest to a time of the film's clock.

        Raises InputError, which begins with ``flag``, if the time lies outside the film.
        """
        seconds = field.finite("seconds", seconds)
        position = (seconds - self.start) * float(self.rate)
        if not -0.5 <= position <= self.count:
            raise InputError(
                f"{flag}{time_code(seconds)} lies outside the film, which lasts from "
                f"{time_code(self.start)} to {time_code(self.seconds(self.count))}: "
                "give a time in it."
            )
        return min(max(0, round(position)), self.count - 1)


def time_code(seconds: float) -> str:
    """A time as flags take it: ``0:01:30.50`` for 90.5 seconds."""
    minutes, hundredths = divmod(round(seconds * 100), 6000)
    return f"{minutes // 60}:{minutes % 60:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def time_in_name(seconds: float) -> str:
    """A time for file names: ``0h01m30.50s`` for 90.5 seconds."""
    return f"{time_code(seconds).replace(':', 'h', 1).replace(':', 'm')}s"
