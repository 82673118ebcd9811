"""Atomic writes, locks between processes, and names that fit."""

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
from PIL import Image

from vae_gan_jax import operating_system

MAX_HIDDEN_BYTES = 143  # of the name of a temporary file or folder: eCryptfs's limit


def beside(path: str | Path, suffix: str, prefix: str = ".") -> Path:
    """The path of a temporary file or folder beside ``path``, whose name is never too long."""
    name = f"{prefix}{Path(path).name}{suffix}"
    return Path(path).with_name(fitting_name(name, MAX_HIDDEN_BYTES, end=len(suffix)))


def fitting_name(name: str, max_bytes: int, end: int = 0) -> str:
    """A file name of at most ``max_bytes``; a longer one is cut and gets a checksum.

    The last ``end`` characters stay, such as those of a suffix.
    """
    if len(os.fsencode(name)) <= max_bytes:
        return name
    start, end = name[: len(name) - end], name[len(name) - end :]
    end = f"_{hashlib.sha256(os.fsencode(name)).hexdigest()[:8]}{end}"
    while len(os.fsencode(start + end)) > max_bytes:
        start = start[:-1]
    return start + end


def write(path: str | Path, content: bytes | str) -> None:
    """Writes a file atomically; creates its folder. Raises OSError if that fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = beside(path, ".partial", prefix="")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        publish(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()  # frees the space on a full disk
        error.filename = error.filename or str(path)  # a full disk names no file
        raise


def append(file: io.FileIO, content: bytes, sync: bool = False) -> None:
    """Appends all of the content to an unbuffered file, or nothing; raises OSError if that fails.

    ``sync`` also flushes it to the disk.
    """
    end, rest = file.tell(), memoryview(content)
    try:
        while rest:
            rest = rest[file.write(rest) :]
        if sync:
            os.fsync(file.fileno())
    except OSError:
        with contextlib.suppress(OSError):
            file.seek(end)
            file.truncate()
        raise


def is_writable(folder: str | Path) -> bool:
    """Whether files can be created in a folder, or the folder does not exist yet."""
    return not os.path.isdir(folder) or os.access(folder, os.W_OK | os.X_OK)


def publish(partial: str | Path, path: str | Path) -> None:
    """Flushes a finished file or folder to the disk, then renames it to ``path``.

    A file replaces an earlier file. A folder replaces only an empty folder.
    """
    operating_system.sync(partial)
    operating_system.replace(partial, path)
    operating_system.sync(Path(path).absolute().parent)


def publish_folder(partial: str | Path, folder: str | Path) -> None:
    """``publish`` for a folder that may replace an earlier one, which comes back if that fails."""
    former = beside(folder, ".former")
    shutil.rmtree(former, ignore_errors=True)
    if os.path.exists(folder):
        os.rename(folder, former)
    try:
        publish(partial, folder)
    except BaseException:  # a signal too
        if former.exists() and not os.path.exists(folder):
            os.rename(former, folder)
        raise
    shutil.rmtree(former, ignore_errors=True)


def png(picture_HWC: np.ndarray) -> bytes:
    """A uint8 picture ``[H, W, 3]`` as PNG, compressed three times faster than by default."""
    file = io.BytesIO()
    Image.fromarray(picture_HWC).save(file, format="PNG", compress_level=1)
    return file.getvalue()


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds the lock of a file or folder; other processes wait for it."""
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(beside(path, ".lock")):
        yield
