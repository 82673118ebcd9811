"""Files that appear whole or not at all, and locks between processes."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path

import filelock
import numpy as np
from PIL import Image


def write(path: str | Path, content: bytes | str) -> None:
    """Writes a file atomically, and makes its folder; an earlier file stays until the new is whole.

    Raises:
      OSError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.partial")
    try:
        with partial.open("wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
        publish(partial, path)
    except OSError:
        with contextlib.suppress(OSError):
            partial.unlink()  # a full disk needs the room
        raise


def publish(partial: str | Path, path: str | Path) -> None:
    """Gives a finished file or folder its name, once its content is safe from a power cut.

    A folder must not replace another one that is not empty.
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
    """Holds the lock of a file or folder; other processes that ask for it wait."""
    path = Path(path).absolute()
    path.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(path.with_name(f".{path.name}.lock")):
        yield
