"""Atomic writes, and locks between processes."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
from PIL import Image


def write(path: str | Path, content: bytes | str) -> None:
    """Writes a file atomically; creates its folder. Raises OSError if that fails."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        publish(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()  # frees the space on a full disk
        raise


def publish(partial: str | Path, path: str | Path) -> None:
    """Flushes a finished file or folder to the disk, then renames it to ``path``.

    A file replaces an earlier file. A folder replaces only an empty folder.
    """
    _sync(partial)
    os.replace(partial, path)
    _sync(Path(path).absolute().parent)


def _sync(path: str | Path) -> None:
    with contextlib.suppress(OSError):  # folders cannot be opened on Windows
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def png(picture_HWC: np.ndarray) -> bytes:
    """A uint8 picture ``[H, W, 3]`` as PNG."""
    file = io.BytesIO()
    Image.fromarray(picture_HWC).save(file, format="PNG")
    return file.getvalue()


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[None]:
    """Holds the lock of a file or folder; other processes wait for it."""
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        yield
