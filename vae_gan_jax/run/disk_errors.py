"""Sentences about errors of the file system and of libraries."""

import contextlib
import errno
import os
from collections.abc import Iterator

from vae_gan_jax import operating_system
from vae_gan_jax.config import InputError

ADVICE = {
    errno.ENOSPC: "make room on that disk",
    errno.EDQUOT: "make room within your quota",
    errno.EFBIG: "give a folder on a disk that holds larger files",
    errno.EACCES: "change its permissions, or give another path",
    errno.EPERM: "change its permissions, or give another path",
    errno.EROFS: "give a path on a disk that is not read-only",
    errno.ENAMETOOLONG: "give a shorter path",
    errno.ENOENT: "check the path",
    errno.ENOTDIR: "remove the file that is in the place of a folder, or give another path",
    errno.EEXIST: "remove what is in its place, or give another path",
    errno.EISDIR: "remove what is in its place, or give another path",
    errno.EMFILE: "raise the limit of open files, ulimit -n",
    errno.EIO: "check that disk",
}


def advice(error: OSError | str) -> str:
    """The last clause of a sentence about the error, or about a message that contains it."""
    for number, clause in ADVICE.items():
        if os.strerror(number) in str(error):
            return clause
    return "give another path"


def reason(error: Exception, max_letters: int = 200) -> str:
    """The first line of an error's message without its full stop, or else the error's name."""
    return str(error).split("\n")[0][:max_letters].rstrip(".") or type(error).__name__


@contextlib.contextmanager
def readable(problem: str = "") -> Iterator[None]:
    """Turns an error of the file system into an InputError, which begins with the problem."""
    try:
        yield
    except OSError as error:
        described = f"{problem} ({error.strerror}): {advice(error)}."
        raise InputError(described if problem else sentence(error)) from None


def sentence(error: OSError) -> str:
    """A sentence: the file, the reason, the remedy."""
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{error.strerror or error}: {advice(error)}."


def require_writable(path: str) -> None:
    """Raises InputError unless a file can be written to ``path``."""
    folder, name = os.path.split(path)
    folder = folder or "."
    if not os.path.isdir(folder):
        raise InputError(f"there is no folder {folder} for {path}: make it first.")
    if len(os.fsencode(name)) > (longest := operating_system.max_name_bytes(folder)):
        raise InputError(f"the name {name} is longer than {longest} bytes: give a shorter one.")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise InputError(f"{path} is not an ordinary file: give another output.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} is not writable: give another output.")
