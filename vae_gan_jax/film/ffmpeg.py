"""Runs the bundled ffmpeg."""

import contextlib
import itertools
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence

import imageio_ffmpeg

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
)
PIPE_BYTES = 1 << 20  # the default of 64 KiB would need more system calls per frame


class Process:
    """A running ffmpeg. Its stderr goes to a file, as a pipe that nobody reads would block."""

    def __init__(self, *groups: Sequence[str], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL):
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by wait)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), *itertools.chain(*groups)]
        self._process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=self._stderr, bufsize=0, pipesize=PIPE_BYTES
        )
        self.stdin, self.stdout = self._process.stdin, self._process.stdout

    def wait(self) -> tuple[int, str]:
        """Waits until ffmpeg ends; returns the exit code and stderr (only once)."""
        code = self._process.wait()
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
    """Runs ffmpeg and waits; returns exit code, stdout and stderr."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), *itertools.chain(*groups)]
    result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    return result.returncode, result.stdout, result.stderr.decode(errors="replace")


def failure_reason(stderr: str, otherwise: str = "ffmpeg was killed") -> str:
    """The first line of ffmpeg's stderr that reports an error, without memory addresses.

    Args:
      stderr: all messages, those that describe the input and output too.
      otherwise: the reason where no line reports an error.
    """
    for reason in DISK_FAULTS:
        if reason in stderr:
            return reason
    lines = [re.sub(r"^(\[[^]]*\]\s*)+", "", line) for line in stderr.splitlines()]
    lines = [line.strip().rstrip(".") for line in lines if not DESCRIPTION.match(line)]
    return lines[0] if lines else otherwise


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
