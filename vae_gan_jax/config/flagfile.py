"""Replaces --flagfile=FILE by the flags in the file."""

import os
import stat
import time
from pathlib import Path

from vae_gan_jax import operating_system
from vae_gan_jax.config.flag_text import InputError

MAX_BYTES = 1_000_000  # of a flagfile
PACKAGE = Path(__file__).parents[1]
PIPE_SECONDS = 5.0  # the longest wait for the writer of a named pipe, or of <(…) in a shell


def expand(arguments: list[str], parents: tuple[str, ...] = ()) -> list[str]:
    """The arguments of a command, with the lines of each flagfile in its place.

    Blank lines and lines that begin with # or // are comments. A flagfile may name others;
    ``parents`` are those being read. A file experiments/NAME.flags that does not exist is the one
    that comes with the program. Raises InputError if a flagfile cannot be read or names itself.
    """
    expanded, rest = [], iter(arguments)
    for argument in rest:
        name, equals, path = argument.partition("=")
        if name not in ("--flagfile", "-flagfile"):
            expanded.append(argument)
            continue
        path = path if equals else next(rest, None)
        if path is None:
            raise InputError("--flagfile is given without a file: give --flagfile=FILE.")
        if path:
            path = shipped(os.path.expanduser(path))
            if os.path.abspath(path) in parents:
                raise InputError(f"--flagfile={path} names itself: remove that line from it.")
            lines = map(str.strip, _read(path).split("\n"))
            flags = [line for line in lines if line and not line.startswith(("#", "//"))]
            expanded += expand(flags, (*parents, os.path.abspath(path)))
    return expanded


def shipped(path: str) -> str:
    """The file that comes with the program for a path in experiments/ that does not exist."""
    if not os.path.exists(path) and Path(path).parts[:1] == ("experiments",):
        for folder in (PACKAGE, PACKAGE.parent):  # of the wheel, of a checkout
            if (folder / path).is_file():
                return str(folder / path)
    return path


def _read(path: str) -> str:
    flag = f"--flagfile={path}"
    try:
        with open(path, "rb", buffering=0, opener=operating_system.open_at_once) as file:
            kind = os.fstat(file.fileno()).st_mode
            if not (stat.S_ISREG(kind) or stat.S_ISFIFO(kind)):
                raise InputError(f"{flag} is not an ordinary file: give a text file of flags.")
            content = _read_pipe(file, flag) if stat.S_ISFIFO(kind) else file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{flag} cannot be read ({reason}): give a text file of flags.") from None
    if len(content) > MAX_BYTES:
        raise InputError(f"{flag} has more than {MAX_BYTES:,} bytes: give a text file of flags.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(
            f"{flag} is not UTF-8 text (line {line}): save it with that encoding."
        ) from None
    return os.fsdecode(text.encode())


def _read_pipe(file, flag: str) -> bytes:
    content, end = b"", time.monotonic() + PIPE_SECONDS
    while len(content) <= MAX_BYTES:
        block = file.read(MAX_BYTES)  # None: its writer has not written yet
        content += block or b""
        if block == b"" and content:
            break
        if not block:
            if time.monotonic() > end:
                raise InputError(f"{flag} is a pipe and nothing was written to it: give a file.")
            operating_system.wait_readable(file, 0.1)
    return content
