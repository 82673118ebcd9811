"""Files that appear whole or not at all: written beside, then renamed."""

import contextlib
from pathlib import Path


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
