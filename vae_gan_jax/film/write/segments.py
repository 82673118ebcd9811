"""Encodes the picture of a film in segments, which processes can resume and share."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.run import atomic_io, disk_errors, provenance

SEGMENT_FRAMES = 1000  # an interrupted film resumes at a multiple of this
LAST = "last"  # name of the short segment at the end


class Segments:
    """The picture of a film in files of ``SEGMENT_FRAMES`` frames, in a hidden folder next to it.

    ``arguments`` are ffmpeg's between raw frames on stdin and the output file. ``frames`` is the
    number of the next frame; those before it are in complete segments. Segments made from something
    else than ``made_from``, which is JSON, are removed; all are if it is None. Processes may share
    a film: each writes its ``frame_range``, whose ends are multiples of ``SEGMENT_FRAMES``, and the
    one with frame 0 makes the folder first. Raises InputError if the folder cannot be written, or
    was not made by that process.
    """

    def __init__(
        self,
        path: str,
        arguments: Sequence[str],
        made_from: Any = None,
        frame_range: range | None = None,
    ):
        self.frames = frame_range.start if frame_range else 0
        self._path, self._arguments = path, arguments
        self._resumable, self._frame_range = made_from is not None, frame_range
        self._extension = os.path.splitext(path)[1]
        self._folder = os.fspath(atomic_io.beside(path, ".segments"))
        self._process = None
        if not self._resumable:
            self.remove()
        label = {"film": made_from, "encoding": list(arguments)}
        try:
            provenance.open_unfinished(self._folder, label, is_first=not self.frames)
        except OSError as error:
            raise failed(path, error.strerror) from None
        stop = None if frame_range is None else frame_range.stop
        while self.frames != stop and os.path.exists(self._file(self.frames // SEGMENT_FRAMES)):
            self.frames += SEGMENT_FRAMES

    def _file(self, name: int | str) -> str:
        return os.path.join(self._folder, f"{name}{self._extension}")

    def truncate(self, frames: int) -> None:
        """Before writing: removes the segments after ``frames``, a multiple of their length."""
        assert frames in range(0, self.frames + 1, SEGMENT_FRAMES)
        self.frames = frames
        if self._frame_range is None:
            valid = {os.path.basename(self._file(name)) for name in range(frames // SEGMENT_FRAMES)}
            for name in set(os.listdir(self._folder)) - valid - {provenance.LABEL}:
                os.remove(os.path.join(self._folder, name))

    def write(self, frames_BHWC: np.ndarray) -> None:
        """Appends uint8 RGB frames ``[B, H, W, 3]``; raises InputError if ffmpeg failed."""
        while len(frames_BHWC):
            room = SEGMENT_FRAMES - self.frames % SEGMENT_FRAMES
            self._write(frames_BHWC[:room])
            if self.frames % SEGMENT_FRAMES == 0:
                self._end_segment()
            frames_BHWC = frames_BHWC[room:]

    def _write(self, frames_BHWC: np.ndarray) -> None:
        if self._process is None:
            self._process = ffmpeg.Process(
                *(ffmpeg.QUIET, self._arguments, [ffmpeg.url(self._unfinished)]),
                stdin=subprocess.PIPE,
            )
        try:
            self._process.write(frames_BHWC)
        except OSError:  # ffmpeg has closed the pipe; its stderr says why
            finish(self._process, self._path)
            raise failed(self._path, "ffmpeg stopped early") from None
        self.frames += len(frames_BHWC)

    @property
    def _unfinished(self) -> str:
        """Path of the segment being written, unique to this process."""
        return self._file(f"unfinished_from_{self._frame_range.start if self._frame_range else 0}")

    def _end_segment(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        finish(self._process, self._path)
        self._process = None
        atomic_io.publish(self._unfinished, self._file(self._names()[-1]))

    def _names(self) -> list[int | str]:
        """The names of the segments so far."""
        complete, rest = divmod(self.frames, SEGMENT_FRAMES)
        return [*range(complete), *([LAST] if rest else [])]

    def concat_list(self, rate: Fraction) -> str:
        """Ends the last segment, lists all in a file for ffmpeg and returns its path."""
        if self._process is not None:
            self._end_segment()
        lines, rest = ["ffconcat version 1.0"], self.frames
        for name in self._names():
            count = rest if name == LAST else SEGMENT_FRAMES
            # The path is absolute, because ffmpeg would cut the list's own path at a # or ?. A path
            # with a line break does not fit into the list.
            segment = os.path.abspath(self._file(name))
            segment = (
                os.path.basename(segment) if set("\r\n") & set(segment) else ffmpeg.url(segment)
            )
            segment = segment.replace("'", r"'\''")
            lines += [f"file '{segment}'", f"duration {count / float(rate):.9f}"]
            rest -= count
        path = Path(self._folder, "segments.txt")
        path.write_bytes(os.fsencode("\n".join(lines) + "\n"))
        return str(path)

    def stop(self) -> None:
        """Ends ffmpeg at once, and removes the folder if no segment is complete."""
        if self._process is not None:
            self._process.kill()
        if self._frame_range is None and not (self._resumable and os.path.exists(self._file(0))):
            self.remove()

    def remove(self) -> None:
        """Removes all segments."""
        shutil.rmtree(self._folder, ignore_errors=True)


def finish(process: ffmpeg.Process, path: str) -> None:
    """Waits for an ffmpeg process that writes ``path``; raises InputError if it failed."""
    try:
        code, stderr = process.wait()
    finally:
        process.kill()
    if code:
        raise failed(path, ffmpeg.failure_reason(stderr))


def failed(path: str, reason: str) -> InputError:
    """The error for a film that ffmpeg could not write."""
    other = "give another --codec or --output"
    remedy = disk_errors.advice(reason) if reason in ffmpeg.DISK_FAULTS else other
    return InputError(f"{path} cannot be written ({reason}): {remedy}.")
