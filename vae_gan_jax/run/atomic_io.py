"""Files that appear whole or not at all, written beside and renamed; a folder for one process."""

import contextlib
import fcntl
import io
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image


def write(path: str | Path, content: bytes | str) -> None:
    """Writes a file, and the folder that it lies in; what had the name before stays until then."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.partial")
    try:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)
        unfinished.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            unfinished.unlink()  # a full disk needs the room
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
def alone(folder: Path) -> Iterator[None]:
    """Within this context other processes that ask for the same folder, which it makes, wait."""
    folder.mkdir(parents=True, exist_ok=True)
    held = os.open(folder, os.O_RDONLY)  # the folder is its own lock, so that none is left behind
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)
