"""A film as frames: looked at, decoded and encoded through ffmpeg."""

import logging
import math
import os
import subprocess
from collections.abc import Callable, Iterator

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.frame_clock import FrameClock
from vae_gan_jax.film.read.framing import Framing, filter_chain
from vae_gan_jax.film.read.probe import Probe, probe
from vae_gan_jax.film.read.trim import section
from vae_gan_jax.film.write.encode import Encoder

__all__ = [
    "Decoder",
    "Encoder",
    "Framing",
    "Probe",
    "decode",
    "decode_blocks",
    "expected_frames",
    "probe",
]

BLOCK = 8 << 20  # bytes of frames handed over at a time


class Decoder:
    """A film being decoded into blocks of frames; a context manager that ends ffmpeg.

    Args:
      film: what ``probe`` said about it.
      framing: what of it becomes frames.
      skip: frames to leave out at the start of the framing's range.
      count: frames after those, at the most; default: all.
      watched: whether to compare the frames' times with their numbers, see ``in_step``.

    Attributes:
      in_step: whether each frame so far is the one of the film that its number says, none being
        missing in between; None where that is not watched.

    Raises:
      InputError: the framing keeps no frame of this film.
    """

    def __init__(
        self,
        film: Probe,
        framing: Framing,
        skip: int = 0,
        count: int | None = None,
        watched: bool = False,
    ):
        self.film, self.framing = film, framing
        kept = section(film, framing.trim_start, framing.trim_end)
        self.expected = count
        if kept.count is not None:
            left = max(0, kept.count - skip)
            self.expected = left if count is None else min(left, count)
        self.start = kept.start + float(skip / film.rate)  # seconds of the film's clock
        self.decoded = 0
        self._first = kept.first + skip
        self._sought, self.in_step = False, True if watched else None
        self._clock = FrameClock() if watched else None
        self._process = ffmpeg.Process(
            ffmpeg.QUIET,
            self._arguments(self._first),
            self._clock.arguments if self._clock else [],
            ["-f", "rawvideo", "pipe:1"],
            stdout=subprocess.PIPE,
        )

    def _arguments(self, first: int) -> list[str]:
        """ffmpeg's arguments for the frames from number ``first`` of the film on."""
        film, rate = self.film, float(self.film.rate)
        last = film.frames if self.expected is None else first + self.expected
        origin = _seek_before(film, first)
        self._sought = origin > 0
        seek, cut = ["-ss", f"{film.start + origin / rate:.6f}"], []
        self._origin, self._zero = origin, 0.0  # a frame, and what ffmpeg's clock shows at it
        if not origin:  # the clock starts with the first frame
            seek, cut = [], ["setpts=PTS-STARTPTS"]
        if film.variable_rate:
            start = (first - origin) / rate
            cut += [f"fps={film.rate}:start_time={start:.6f}", f"trim=end_frame={last - first}"]
        elif first or last != film.frames:
            start, end = (_just_before(film, frame) - origin / rate for frame in (first, last))
            to_end = last == film.frames  # to whatever comes, as without a cut
            cut.append(f"trim=start={start:.6f}" + ("" if to_end else f":end={end:.6f}"))
        else:
            cut, self._zero = [], None  # whatever it shows at the first
        filters = filter_chain(film, self.framing, cut)
        arguments = [*seek, *film.input, "-map", f"0:v:{film.stream}"]
        return [*arguments, "-vf", filters, "-fps_mode", "passthrough"]

    def blocks(self) -> Iterator[np.ndarray]:
        """The frames, a few megabytes at a time: uint8 [B, H, W, 3], each block its own array."""
        shape = self.framing.height, self.framing.width, 3
        count = max(1, BLOCK // math.prod(shape))
        while True:
            frames_BHWC = np.empty((count, *shape), np.uint8)
            block, filled = memoryview(frames_BHWC).cast("B"), 0
            while got := self._process.stdout.readinto(block[filled:]):
                filled += got
            complete = filled // math.prod(shape)
            if self.in_step:
                self.in_step = self._are_next(complete)
            self.decoded += complete
            if complete:
                yield frames_BHWC[:complete]
            if complete < count:
                return

    def _are_next(self, count: int) -> bool:
        """Whether the times of ``count`` more frames are those of the next in the film."""
        times_B = np.array(self._clock.next(count))
        if self._zero is None and count:
            self._zero = times_B[0]
        shown_B = self._origin + (times_B - (self._zero or 0.0)) * float(self.film.rate)
        number_B = self._first + self.decoded + np.arange(count)
        return bool((np.abs(shown_B - number_B) < 0.5).all())

    def loss(self) -> str | None:
        """After the end: a sentence on what could not be decoded, or None where nothing is missing.

        Raises:
          InputError: not one frame could be decoded.
        """
        code, complaints = self._process.wait()
        reason = ffmpeg.last_words(self.film.complaints or complaints)
        if self.expected and not self.decoded:
            raise InputError(
                f"no frame of {self.film.path} can be decoded ({reason}): give another film."
            )
        short = self.expected is not None and self.decoded < self.expected
        if self._sought:  # a decoder set down in the middle complains of what it has not seen
            complaints = ""
        if not (code or short or complaints or self.film.complaints):
            return None
        total = ""
        if short:
            total = f" of {self.expected}"
        elif self.film.complaints and self.film.claimed_frames > self.film.frames:
            total = f" of a film of about {self.film.claimed_frames}"
        return f"{self.film.path} is damaged ({reason}): {self.decoded} frames{total} decoded."

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        if self._clock:
            self._clock.close()


def decode(
    path: str | os.PathLike,
    framing: Framing,
    *,
    skip: int = 0,
    count: int | None = None,
    strict: bool = False,
    out_of_step: Callable[[], None] | None = None,
) -> Iterator[np.ndarray]:
    """The frames of a film, in order: uint8 [H, W, 3], RGB.

    A damaged film gives the frames that decode, and a logged warning. Closing the generator ends
    ffmpeg.

    Args:
      path: the film.
      framing: what of it becomes frames.
      skip: frames to leave out at the start of the framing's range.
      count: frames after those, at the most; default: all. What is missing then goes untold.
      strict: refuse a damaged film.
      out_of_step: called before a frame is given that is not the one of the film that its number
        says, others being missing before it.

    Raises:
      InputError: no film, no video, an empty range; damage, if ``strict``.
    """
    blocks = decode_blocks(
        path, framing, skip=skip, count=count, strict=strict, out_of_step=out_of_step
    )
    for frames_BHWC in blocks:
        yield from frames_BHWC


def decode_blocks(
    path: str | os.PathLike,
    framing: Framing,
    *,
    skip: int = 0,
    count: int | None = None,
    strict: bool = False,
    out_of_step: Callable[[], None] | None = None,
) -> Iterator[np.ndarray]:
    """As ``decode``, a few megabytes of frames at a time: uint8 [B, H, W, 3], B at least 1."""
    film = probe(path, framing.video_stream, framing.fps)
    with Decoder(film, framing, skip, count, watched=out_of_step is not None) as decoder:
        for frames_BHWC in decoder.blocks():
            if decoder.in_step is False:
                out_of_step()
            yield frames_BHWC
        if count is None:
            tell_loss(decoder, strict)


def _seek_before(film: Probe, frame: int) -> int:
    """A frame from which decoding gets to ``frame`` for certain; 0: the start of the film.

    Some formats seek to a keyframe too late, and deinterlacing looks at frames before: it lies
    three keyframes and a second earlier.
    """
    at = film.start + frame / float(film.rate)
    keyframe = np.searchsorted(film.keys_T, at) - 3
    if keyframe <= 0:
        return 0
    earlier = min(film.keys_T[keyframe], at - 1.0)
    return max(0, int((earlier - film.start) * float(film.rate)))


def _just_before(film: Probe, frame: int) -> float:
    """Seconds since the first frame, between two frames, where no rounding moves one across."""
    if not 0 < frame < film.frames:
        return (frame - 0.25) / float(film.rate)
    before, at = film.times_T[frame - 1 : frame + 1] - film.start
    return float(at - 0.25 * (at - before))


def tell_loss(decoder: Decoder, strict: bool) -> str | None:
    """Logs what a film's damage cost, if anything, and returns the sentence.

    Raises:
      InputError: the sentence, if ``strict``.
    """
    loss = decoder.loss()
    if loss and strict:
        raise InputError(f"{loss} Leave --strict out to use those.")
    if loss:
        logging.getLogger(__name__).warning("%s", loss)
    return loss


def expected_frames(film: Probe, framing: Framing) -> int | None:
    """How many frames ``decode`` will give, for progress bars; None where nobody can say.

    Raises:
      InputError: the framing keeps no frame of this film.
    """
    return section(film, framing.trim_start, framing.trim_end).count
