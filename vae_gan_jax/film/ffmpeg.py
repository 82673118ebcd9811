"""The bundled ffmpeg, run so that its complaints are kept and never block it."""

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
PIPE_SIZE = 1 << 20  # bytes; a frame of film passes in fewer turns than through the usual 64 KiB


class Process:
    """A running ffmpeg. Its stderr goes to a temporary file: a pipe that nobody reads would block.

    Args:
      groups: what follows the program's name, in as many lists as read well.
      stdin, stdout: as for ``subprocess.Popen``; nothing by default.
    """

    def __init__(self, *groups: Sequence[str], stdin=subprocess.DEVNULL, stdout=None):
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  (closed by wait)
        command = [imageio_ffmpeg.get_ffmpeg_exe(), *itertools.chain(*groups)]
        stdout = subprocess.DEVNULL if stdout is None else stdout
        self._process = subprocess.Popen(
            command, stdin=stdin, stdout=stdout, stderr=self._stderr, bufsize=0, pipesize=PIPE_SIZE
        )
        self.stdin, self.stdout = self._process.stdin, self._process.stdout

    def wait(self) -> tuple[int, str]:
        """Waits until it has ended and returns its exit code and what it wrote on stderr."""
        code = self._process.wait()
        if self.stdout is not None:
            self.stdout.close()
        if self._stderr.closed:
            return code, ""
        self._stderr.seek(0)
        complaints = self._stderr.read().decode(errors="replace")
        self._stderr.close()
        return code, complaints

    def kill(self) -> None:
        """Ends it at once; harmless where it has already ended."""
        self._process.kill()
        if self.stdin is not None:
            with contextlib.suppress(OSError):  # the other end has gone, as was asked for
                self.stdin.close()
        self.wait()


def output_of(*groups: Sequence[str]) -> tuple[int, bytes, str]:
    """Runs ffmpeg to its end: exit code, stdout, stderr."""
    process = Process(*groups, stdout=subprocess.PIPE)
    try:
        output = process.stdout.read()
        code, complaints = process.wait()
        return code, output, complaints
    except BaseException:
        process.kill()
        raise


def last_words(complaints: str) -> str:
    """The most telling line of ffmpeg's stderr, without addresses and full stop."""
    lines = [re.sub(r"^(\[[^]]*\]\s*)+", "", line).strip() for line in complaints.splitlines()]
    lines = [line for line in lines if line and "Last message repeated" not in line]
    for telling in ("No space left on device", "Permission denied", "Input/output error"):
        if telling in complaints:
            return telling
    return lines[0].rstrip(".") if lines else "ffmpeg gave no reason"


def url(path: str) -> str:
    """A path as ffmpeg's name for a file, whatever colons or dashes it holds."""
    return f"file:{path}"


def require_file(path: str) -> None:
    """Raises InputError, with the reason, unless ``path`` is a file that can be read."""
    if not os.path.exists(path):
        raise InputError(f"there is no film {path}: check the path.")
    if not os.path.isfile(path):
        raise InputError(f"{path} is no ordinary file: give a film that can be read twice.")
    if not os.access(path, os.R_OK):
        raise InputError(f"{path} may not be read: check its permissions.")
