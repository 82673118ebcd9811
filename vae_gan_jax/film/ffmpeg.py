"""Runs the bundled ffmpeg."""

import contextlib
import functools
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Sequence

import imageio_ffmpeg
import numpy as np

from vae_gan_jax import operating_system
from vae_gan_jax.config import InputError

QUIET = ("-hide_banner", "-nostdin", "-loglevel", "error")
# Reasons that concern the disk rather than the film.
DISK_FAULTS = (
    *("No space left on device", "Permission denied", "Input/output error", "File too large"),
    *("Read-only file system", "Disk quota exceeded"),
)
# Lines that describe a film, its settings or the progress, and empty ones.
DESCRIPTION = re.compile(
    r"\s*$|\s\s|\s*(Input|Output|Stream|Program|Chapter)s? [#m]|Press \[|(frame|size|video)[=:]"
    r"|\s*Last message repeated|ffmpeg version|(n|config in|color_range):|.*\bcolor_range:"
    r"|.*misdetection possible"
)
PIPE_BYTES = 1 << 20  # the default of 64 KiB would need more system calls per frame
MAX_GAP_SECONDS = 600  # between frames; later timestamps are joined to the earlier ones
STALL_SECONDS = 60  # without progress
STALLED_CPU_SECONDS, STALLED_BYTES = 1.0, 1 << 20  # less work than this does not count as progress


class Process:
    """A running ffmpeg. Its stderr goes to a file, as a pipe that nobody reads would block."""

    def __init__(self, *groups: Sequence[str], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by wait)
        arguments = list(itertools.chain(*groups))
        self._input = dict(itertools.pairwise(arguments)).get("-i", "ffmpeg")
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-dts_error_threshold", str(MAX_GAP_SECONDS)]
        command += arguments
        self._idle_seconds, self._work = 0, (0.0, 0)
        self._process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=self._stderr, bufsize=0, pipesize=PIPE_BYTES
        )
        self.stdin, self.stdout = self._process.stdin, self._process.stdout

    def read_into(self, buffer: memoryview) -> int:
        """Reads from stdout; returns the number of bytes, 0 at its end.

        Raises InputError if ffmpeg made no progress for ``STALL_SECONDS``.
        """
        while not operating_system.wait_readable(self.stdout, 1.0):
            self._count_idle_second()
        self._idle_seconds = 0
        return self.stdout.readinto(buffer)

    def write(self, frames: np.ndarray) -> None:
        """Writes an array to stdin; raises OSError if ffmpeg has closed it."""
        block = memoryview(np.ascontiguousarray(frames)).cast("B")
        while block:
            block = block[self.stdin.write(block) :]

    def _count_idle_second(self) -> None:
        """Counts a second without output; raises InputError if ffmpeg is idle too."""
        self._idle_seconds += 1
        if self._idle_seconds < STALL_SECONDS:
            return
        work, earlier = operating_system.work_of(self._process.pid), self._work
        self._idle_seconds, self._work = 0, work
        if work[0] - earlier[0] < STALLED_CPU_SECONDS and work[1] - earlier[1] < STALLED_BYTES:
            self.kill()
            raise InputError(
                f"{self._input.removeprefix('file:')} gave no data for {STALL_SECONDS} seconds: "
                "save a live stream as a file, or check the disk or network."
            )

    def wait(self) -> tuple[int, str]:
        """Waits until ffmpeg ends; returns the exit code and stderr (only once).

        Raises InputError as ``read_into`` does.
        """
        while (code := self._process.poll()) is None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=1.0)
                continue
            self._count_idle_second()
        if self.stdout is not None:
            self.stdout.close()
        if self._stderr.closed:
            return code, ""
        self._stderr.seek(0)
        stderr = self._stderr.read().decode(errors="replace")
        self._stderr.close()
        return code, stderr

    def kill(self) -> None:
        """Ends ffmpeg at once, unless it has ended already."""
        self._process.kill()
        if self.stdin is not None:
            with contextlib.suppress(OSError):  # flushing fails: nobody reads any more
                self.stdin.close()
        self.wait()


def output_of(*groups: Sequence[str]) -> tuple[int, bytes, str]:
    """Runs ffmpeg and waits; returns exit code, stdout and stderr; raises like ``Process.wait``."""
    process = Process(*groups, stdout=subprocess.PIPE)
    output, buffer = bytearray(), bytearray(1 << 16)
    try:
        while count := process.read_into(memoryview(buffer)):
            output += buffer[:count]
        code, stderr = process.wait()
    finally:
        process.kill()
    return code, bytes(output), stderr


def failure_reason(stderr: str, otherwise: str = "ffmpeg was killed") -> str:
    """The first line of ffmpeg's whole stderr that reports an error, without memory addresses."""
    for reason in DISK_FAULTS:
        if reason in stderr:
            return reason
    lines = [re.sub(r"^(\[[^]]*\]\s*)+", "", line) for line in stderr.splitlines()]
    lines = [line.strip().rstrip(".") for line in lines if not DESCRIPTION.match(line)]
    return lines[0] if lines else otherwise


def cached_by_file(maxsize: int = 64) -> Callable[[Callable], Callable]:
    """Caches a function of a file and further arguments until the file's size or time changes."""

    def decorate(function):
        @functools.lru_cache(maxsize)
        def cached(path, _status, *arguments):
            return function(path, *arguments)

        @functools.wraps(function)
        def call(path, *arguments):
            status = os.stat(path)
            return cached(path, (status.st_size, status.st_mtime_ns), *arguments)

        return call

    return decorate


def url(path: str) -> str:
    """A path as ffmpeg takes it, even if it contains colons or begins with a dash."""
    return f"file:{path}"


def require_file(path: str) -> None:
    """Raises InputError unless ``path`` is a readable file."""
    if not os.path.exists(path):
        raise InputError(f"there is no film {path}: check the path.")
    if not os.path.isfile(path):
        raise InputError(f"{path} is not an ordinary file: give a film that can be read twice.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} is not readable: check its permissions.")
