"""Decodes films to frames through ffmpeg."""

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

__all__ = ["Decoder", "Framing", "Probe", "decode", "decode_blocks", "expected_frames", "probe"]

BLOCK_BYTES = 8 << 20  # of frames in a block


class Decoder:
    """Decodes a film into blocks of frames; a context manager that ends ffmpeg.

    Args:
      film, framing: the film, and which part of it becomes frames.
      skip: number of frames to leave out at the start of the framing's time range.
      count: maximum number of frames after those; default: all.
      check_numbers: whether to compare the times of the frames with their numbers.

    Attributes:
      start: when the first frame is shown, seconds of the film's clock.
      numbers_match: whether no frame has been missing so far; None without ``check_numbers``.

    Raises:
      InputError: the framing selects no frame of this film.
    """

    def __init__(
        self,
        film: Probe,
        framing: Framing,
        skip: int = 0,
        count: int | None = None,
        check_numbers: bool = False,
    ):
        self.film, self.framing = film, framing
        trimmed = section(film, framing.trim_start, framing.trim_end)
        self.expected = count
        if trimmed.count is not None:
            rest = max(0, trimmed.count - skip)
            self.expected = rest if count is None else min(rest, count)
        self.start = trimmed.start + float(skip / film.rate)
        self.decoded = 0
        self._first = trimmed.first + skip
        self._seeks, self.numbers_match = False, True if check_numbers else None
        self._clock = FrameClock() if check_numbers else None
        self._process = ffmpeg.Process(
            ffmpeg.QUIET,
            self._arguments(self._first),
            self._clock.arguments if self._clock else [],
            ["-f", "rawvideo", "pipe:1"],
            stdout=subprocess.PIPE,
        )

    def _arguments(self, first: int) -> list[str]:
        """ffmpeg's arguments for the film's frames from number ``first`` on."""
        film, rate = self.film, float(self.film.rate)
        stop = film.frames if self.expected is None else first + self.expected
        origin = _safe_seek(film, first)
        self._seeks = origin > 0
        seek, cut = ["-ss", f"{film.start + origin / rate:.6f}"], []
        self._origin, self._origin_time = origin, 0.0  # seconds of ffmpeg's clock
        if not origin:
            seek, cut = [], ["setpts=PTS-STARTPTS"]  # ffmpeg's clock starts with the first frame
        if film.variable_rate:
            start = (first - origin) / rate
            cut += [f"fps={film.rate}:start_time={start:.6f}", f"trim=end_frame={stop - first}"]
        elif first or stop != film.frames:
            start, end = (_just_before(film, frame) - origin / rate for frame in (first, stop))
            to_end = stop == film.frames  # without a limit, unexpected frames at the end count too
            cut.append(f"trim=start={start:.6f}" + ("" if to_end else f":end={end:.6f}"))
        else:
            cut, self._origin_time = [], None  # unknown before the first frame
        filters = filter_chain(film, self.framing, cut)
        arguments = [*seek, *film.input, "-map", f"0:v:{film.stream}"]
        return [*arguments, "-vf", filters, "-fps_mode", "passthrough"]

    def blocks(self) -> Iterator[np.ndarray]:
        """The frames in blocks of up to 8 MiB: uint8 ``[B, H, W, 3]``, each a new array."""
        shape = self.framing.height, self.framing.width, 3
        count = max(1, BLOCK_BYTES // math.prod(shape))
        while True:
            frames_BHWC = np.empty((count, *shape), np.uint8)
            block, filled = memoryview(frames_BHWC).cast("B"), 0
            while received := self._process.stdout.readinto(block[filled:]):
                filled += received
            complete = filled // math.prod(shape)
            if self.numbers_match:
                self.numbers_match = self._have_next_times(complete)
            self.decoded += complete
            if complete:
                yield frames_BHWC[:complete]
            if complete < count:
                return

    def _have_next_times(self, count: int) -> bool:
        """Whether the next ``count`` frames have the times of the film's next frames."""
        times_B = np.array(self._clock.next(count))
        if self._origin_time is None and count:
            self._origin_time = times_B[0]
        seconds_B = times_B - (self._origin_time or 0.0)
        position_B = self._origin + seconds_B * float(self.film.rate)
        number_B = self._first + self.decoded + np.arange(count)
        return bool((np.abs(position_B - number_B) < 0.5).all())

    def loss(self) -> str | None:
        """After the last block: a sentence about frames that did not decode, or None.

        Raises:
          InputError: no frame decoded.
        """
        code, stderr = self._process.wait()
        reason = ffmpeg.failure_reason(self.film.complaints or stderr)
        if self.expected and not self.decoded:
            raise InputError(
                f"no frame of {self.film.path} can be decoded ({reason}): give another film."
            )
        short = self.expected is not None and self.decoded < self.expected
        if self._seeks:  # after a seek, ffmpeg complains about earlier frames that it skipped
            stderr = ""
        if not (code or short or stderr or self.film.complaints):
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


def _safe_seek(film: Probe, frame: int) -> int:
    """Number of a frame to seek to in order to decode ``frame``; 0: the start of the film.

    It is three keyframes and a second earlier: some formats seek to too late a keyframe, and
    deinterlacing needs earlier frames.
    """
    time = film.start + frame / float(film.rate)
    keyframe = np.searchsorted(film.keys_T, time) - 3
    if keyframe <= 0:
        return 0
    earlier = min(film.keys_T[keyframe], time - 1.0)
    return max(0, int((earlier - film.start) * float(film.rate)))


def _just_before(film: Probe, frame: int) -> float:
    """A time shortly before ``frame``, seconds since the first frame, that tolerates rounding."""
    if not 0 < frame < film.frames:
        return (frame - 0.25) / float(film.rate)
    before, time = film.times_T[frame - 1 : frame + 1] - film.start
    return float(time - 0.25 * (time - before))


def decode(path: str | os.PathLike, framing: Framing, **options) -> Iterator[np.ndarray]:
    """The frames of a film, uint8 RGB ``[H, W, 3]``; see ``decode_blocks``."""
    for frames_BHWC in decode_blocks(path, framing, **options):
        yield from frames_BHWC


def decode_blocks(
    path: str | os.PathLike,
    framing: Framing,
    *,
    skip: int = 0,
    count: int | None = None,
    strict: bool = False,
    on_missing_frames: Callable[[], None] | None = None,
) -> Iterator[np.ndarray]:
    """The frames of a film in blocks of up to 8 MiB: uint8 RGB ``[B, H, W, 3]``, B at least 1.

    A damaged film gives the frames that decode, and logs a warning unless ``count`` is given.
    Closing the generator ends ffmpeg.

    Args:
      path, framing: the film, and which part of it becomes frames.
      skip, count: as for ``Decoder``.
      strict: refuse a damaged film.
      on_missing_frames: called before each block once the film lacks frames, so that later frames
        have other numbers.

    Raises:
      InputError: there is no film, no video or no frame; or the film is damaged, if ``strict``.
    """
    film = probe(path, framing.video_stream, framing.fps)
    check_numbers = on_missing_frames is not None
    with Decoder(film, framing, skip, count, check_numbers) as decoder:
        for frames_BHWC in decoder.blocks():
            if decoder.numbers_match is False:
                on_missing_frames()
            yield frames_BHWC
        if count is None:
            report_loss(decoder, strict)


def report_loss(decoder: Decoder, strict: bool) -> str | None:
    """Logs and returns ``decoder.loss()``; raises InputError if there is one and ``strict``."""
    loss = decoder.loss()
    if loss and strict:
        raise InputError(f"{loss} Leave --strict out to use those.")
    if loss:
        logging.getLogger(__name__).warning("%s", loss)
    return loss


def expected_frames(film: Probe, framing: Framing) -> int | None:
    """The number of frames if the film is undamaged; None if the film has no timestamps.

    Raises:
      InputError: the framing selects no frame of this film.
    """
    return section(film, framing.trim_start, framing.trim_end).count
