"""A film to be looked into: its frames in order, or those at chosen places, by number or time."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.trim import section

SKIPPED = 10.0  # seconds between wanted frames from which on it is faster to seek


@dataclasses.dataclass(frozen=True)
class FilmReader:
    """The frames that a framing makes of a film, numbered from 0.

    Attributes:
      path: the film.
      name: what files made from it are called after.
      framing: what of it becomes frames.
      strict: refuse a damaged film.
    """

    path: str
    name: str
    framing: video.Framing
    strict: bool = False

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
        return section(self._probe, self.framing.trim_start, self.framing.trim_end).start

    @functools.cached_property
    def count(self) -> int:
        """How many frames there are; only where the film does not say are they counted."""
        expected = video.expected_frames(self._probe, self.framing)
        if expected is not None:
            return expected
        blocks = video.decode_blocks(self.path, self.framing, strict=self.strict)
        return sum(len(frames_BHWC) for frames_BHWC in blocks)

    def frames(self, first: int = 0) -> Iterator[np.ndarray]:
        """The frames from a number on, in order: uint8 ``[H, W, 3]``."""
        return video.decode(self.path, self.framing, skip=first, strict=self.strict)

    def at(self, numbers: Sequence[int]) -> np.ndarray:
        """The frames of these numbers, in the order given: uint8 ``[len(numbers), H, W, 3]``.

        Raises:
          InputError: one cannot be decoded.
        """
        found, reached, frames = {}, 0, iter(())
        far = SKIPPED * float(self.rate)
        with contextlib.ExitStack() as stack:
            for wanted in sorted(set(map(int, numbers))):
                if not found or wanted - reached > far:
                    frames = stack.enter_context(contextlib.closing(self.frames(wanted)))
                    reached = wanted
                for frame_HWC in frames:
                    reached += 1
                    if reached > wanted:
                        found[wanted] = frame_HWC
                        break
                else:
                    raise InputError(
                        f"frame {wanted} of {self.path} cannot be decoded, the film is damaged: "
                        "mend it, or trim it before that."
                    )
        return np.stack([found[int(number)] for number in numbers])

    def seconds(self, number: int) -> float:
        """When a frame is shown, seconds of the film's clock."""
        return self.start + float(number / self.rate)

    def number(self, seconds: float) -> int:
        """The frame that begins nearest to a time of the film's clock.

        Raises:
          InputError: the time lies outside the film.
        """
        position = (seconds - self.start) * float(self.rate)
        if not -0.5 <= position <= self.count:
            raise InputError(
                f"--at={time_code(seconds)} lies outside the film, which goes from "
                f"{time_code(self.start)} to {time_code(self.seconds(self.count))}: give a time "
                "within."
            )
        return min(max(0, round(position)), self.count - 1)


def time_code(seconds: float) -> str:
    """``0:01:30.50`` of 90.5 seconds, to hundredths, as flags are given."""
    minutes, hundredths = divmod(round(seconds * 100), 6000)
    return f"{minutes // 60}:{minutes % 60:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"


def time_in_name(seconds: float) -> str:
    """``0h01m30.50s`` of 90.5 seconds, for names of files."""
    return f"{time_code(seconds).replace(':', 'h', 1).replace(':', 'm')}s"
