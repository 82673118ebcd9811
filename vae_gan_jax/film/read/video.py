"""Decodes films to frames through ffmpeg."""

import contextlib
import dataclasses
import logging
import math
import os
import subprocess
from collections.abc import Iterator

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.frame_sizes import STOPPED
from vae_gan_jax.film.read.framing import Framing, filter_chain, section
from vae_gan_jax.film.read.probe import Probe, probe

BLOCK_BYTES = 8 << 20  # of frames in a block


class Decoder(contextlib.AbstractContextManager):
    """Decodes a film into blocks of frames; a context manager that ends ffmpeg.

    A frame's number is its time, times the rate. If a frame does not decode, its number shows the
    frame before it. So numbers, sound and length agree wherever decoding begins.

    ``skip`` frames at the start of the framing's time range are left out, and after those at most
    ``count`` are decoded. ``start`` is when the first one is shown, seconds of the film's clock;
    ``expected`` is their number, and ``decoded`` that so far. Raises InputError if the framing
    selects no frame of this film.
    """

    def __init__(self, film: Probe, framing: Framing, skip: int = 0, count: int | None = None):
        self.film, self.framing = film, framing
        trimmed = section(film, framing)
        rest = max(0, trimmed.count - skip)
        self.expected = rest if count is None else min(rest, count)
        self.start = trimmed.start + float(skip / film.rate)
        self.decoded = 0
        self._first = trimmed.first + skip
        self._process, self._ended = self._start(), None

    def _start(self) -> ffmpeg.Process:
        """An ffmpeg that decodes the frames that are not decoded yet."""
        arguments = self._arguments(self._first + self.decoded)
        output = ["-f", "rawvideo", "pipe:1"]
        return ffmpeg.Process(ffmpeg.QUIET, arguments, output, stdout=subprocess.PIPE)

    def _arguments(self, first: int) -> list[str]:
        """ffmpeg's arguments for the film's frames from number ``first`` on."""
        film, rate = self.film, float(self.film.rate)
        origin = _safe_seek(film, first)
        self._seeks = origin > 0
        seek, cut = [], ["setpts=PTS-STARTPTS"]  # ffmpeg's clock starts with the first frame
        if self._seeks:
            seek, cut = ["-ss", f"{film.start + origin / rate:.6f}"], []
        elif film.renumbered:
            cut = [f"setpts=N/({film.rate}*TB)"]
        if film.frames > 1:  # the filter drops a single frame of unknown duration
            cut.append(f"fps={film.rate}:start_time={(first - origin) / rate:.6f}")
        cut += ["tpad=stop=-1:stop_mode=clone", f"trim=end_frame={self.expected - self.decoded}"]
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
            while received := self._process.read_into(block[filled:]):
                filled += received
            complete = filled // math.prod(shape)
            self.decoded += complete
            if complete:
                yield frames_BHWC[:complete]
            if complete < count and not self._meets_another_shape():
                return

    def _meets_another_shape(self) -> bool:
        """Whether ffmpeg stopped at a frame of another shape; it then goes on from there."""
        if self.film.several_shapes or self.decoded >= self.expected:
            return False
        self._ended = self._process.wait()
        if STOPPED not in self._ended[1]:
            return False
        self.film = dataclasses.replace(self.film, several_shapes=True)
        self._process, self._ended = self._start(), None
        return True

    def loss(self) -> str | None:
        """After the last block: a sentence about damage, or None.

        Raises InputError if no frame decoded.
        """
        code, stderr = self._ended or self._process.wait()
        reason = ffmpeg.failure_reason(self.film.complaints or stderr, "its pictures are damaged")
        if self.expected and not self.decoded:
            raise InputError(
                f"no frame of {self.film.path} can be decoded ({reason}): give another film."
            )
        short = self.decoded < self.expected
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

    def __exit__(self, *_):
        self._process.kill()


def _safe_seek(film: Probe, frame: int) -> int:
    """Number of a frame to seek to in order to decode ``frame``; 0: the start of the film."""
    # Some formats seek to too late a keyframe, and deinterlacing needs earlier frames.
    time = film.start + frame / float(film.rate)
    keyframe = np.searchsorted(film.keys_T, time) - 3
    if keyframe <= 0:
        return 0
    earlier = min(film.keys_T[keyframe], time - 1.0)
    return max(0, int((earlier - film.start) * float(film.rate)))


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
) -> Iterator[np.ndarray]:
    """The frames of a film in blocks of up to 8 MiB: uint8 RGB ``[B, H, W, 3]``, B at least 1.

    A damaged film gives the frames that decode, and logs a warning unless ``count`` is given.
    Closing the generator ends ffmpeg. ``skip`` and ``count`` are as for ``Decoder``. Raises
    InputError if there is no film, no video or no frame; or the film is damaged, if ``strict``.
    """
    film = probe(path, framing.video_stream, framing.fps)
    with Decoder(film, framing, skip, count) as decoder:
        yield from decoder.blocks()
        if count is None:
            report_loss(decoder, strict)


def report_loss(decoder: Decoder, strict: bool) -> str | None:
    """Logs and returns ``decoder.loss()``; raises InputError if there is one and ``strict``."""
    loss = decoder.loss()
    if loss and strict:
        raise InputError(f"{loss.rstrip('.')} with --strict: leave it out to use those.")
    if loss:
        logging.getLogger(__name__).warning("%s", loss)
    return loss
