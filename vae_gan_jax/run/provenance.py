"""What every derived file of a run was made from, and whether it still is.

Reconstructed films, measures, shots, batch-norm statistics, figures, explorations and the report
are derived files. ``record`` writes one JSON file for each group of them into ``RUN/provenance``:
what they were made from, and the checksum of each file. ``is_current`` is the only place that
decides whether something is already made. What a file was made from is named by content: the
checksum of the checkpoint, the checksum of the film, and the settings that matter.
"""

import functools
import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vae_gan_jax.run import atomic_io

FOLDER = "provenance"
LABEL = "made_from.json"  # inside a folder of unfinished work
CHECKSUMS = "film_checksums.json"  # cache of film checksums, by path, size and time of change


def record(run_dir: str | Path, name: str, made_from: dict[str, Any], files: Iterable) -> None:
    """Notes what files were made from.

    Args:
      run_dir: the run's folder.
      name: of the group of files, such as ``"films/mine"``.
      made_from: JSON values; tuples and lists are the same.
      files: paths of the finished files, inside the run's folder or elsewhere.
    """
    entry = {
        "made_from": made_from,
        "files": {_relative(path, run_dir): checksum([path]) for path in files},
    }
    atomic_io.write(_path(run_dir, name), json.dumps(entry, indent=1) + "\n")


def is_current(
    run_dir: str | Path,
    name: str,
    made_from: dict[str, Any],
    files: Iterable | None = None,
    ignored: Iterable[str] = (),
) -> bool:
    """Whether files were made from exactly this, and are still what they were then.

    A missing, damaged or foreign file or record makes the answer False, never an error. The
    arguments are those of ``record``; by default ``files`` are those recorded. The values of
    ``ignored`` keys may differ.
    """
    entry, wanted = _read(run_dir, name), json.loads(json.dumps(made_from))
    if entry is None or not isinstance(entry["made_from"], dict):
        return False
    if _without(entry["made_from"], ignored) != _without(wanted, ignored):
        return False
    try:
        if files is None:
            files = [Path(run_dir) / path for path in entry["files"]]
        now = {_relative(path, run_dir): checksum([path]) for path in files}
    except (OSError, ValueError):
        return False
    return all(entry["files"].get(path) == found for path, found in now.items())


def recorded(run_dir: str | Path, name: str) -> dict[str, Any] | None:
    """What a group of files was made from; None where no readable record says it."""
    entry = _read(run_dir, name)
    return entry and entry["made_from"]


def groups(run_dir: str | Path, folder: str) -> dict[str, tuple[dict[str, Any], list[Path]]]:
    """All groups recorded below a name such as ``"films"``: what they were made from, and files.

    Damaged and foreign records are left out.
    """
    result = {}
    for path in sorted((Path(run_dir) / FOLDER / folder).glob("*.json")):
        name = f"{folder}/{path.stem}"
        entry = _read(run_dir, name)
        if entry is not None and isinstance(entry["made_from"], dict):
            paths = [Path(os.path.normpath(Path(run_dir) / file)) for file in entry["files"]]
            result[name] = entry["made_from"], paths
    return result


def resumes(folder: str | Path, made_from: dict[str, Any]) -> bool:
    """Whether a folder holds unfinished work made from exactly this, see ``label``."""
    return _json(Path(folder) / LABEL) == json.loads(json.dumps(made_from))


def label(folder: str | Path, made_from: dict[str, Any]) -> None:
    """Labels a folder of unfinished work, so that a later attempt can resume it."""
    atomic_io.write(Path(folder) / LABEL, json.dumps(made_from) + "\n")


def checksum(paths: Iterable[str | Path]) -> str:
    """SHA-256 of the content of files, one after the other, as 64 hexadecimal digits.

    Raises:
      OSError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            while block := file.read(8 << 20):
                digest.update(block)
    return digest.hexdigest()


def film_checksum(paths: Iterable[str | Path], run_dir: str | Path | None = None) -> str:
    """``checksum`` of a film's files, computed once for each path, size and time of change.

    Args:
      paths: of the film, or of its stills in order.
      run_dir: remembers the checksum in this run's folder; default: in this process alone.

    Raises:
      OSError: a file cannot be read.
    """
    paths = [os.path.abspath(path) for path in paths]
    status = [os.stat(path) for path in paths]
    key = [
        [path, s.st_size, s.st_mtime_ns, s.st_ctime_ns]
        for path, s in zip(paths, status, strict=True)
    ]
    key = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    cache = Path(run_dir) / FOLDER / CHECKSUMS if run_dir else None
    known = _known_checksums(cache)
    if key not in known:
        known[key] = _once(key, tuple(paths))
        if cache and cache.parent.parent.is_dir() and os.access(cache.parent.parent, os.W_OK):
            atomic_io.write(cache, json.dumps(known, indent=1) + "\n")
    return known[key]


@functools.cache
def _once(key: str, paths: tuple[str, ...]) -> str:
    return checksum(paths)


def _known_checksums(cache: Path | None) -> dict[str, str]:
    known = _json(cache) if cache else {}
    if not isinstance(known, dict):
        return {}
    return {key: checksum for key, checksum in known.items() if isinstance(checksum, str)}


def _json(path: Path) -> Any:
    """The content of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError, RecursionError):
        return None


def _without(values: dict[str, Any], ignored: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ignored}


def _relative(path: str | Path, run_dir: str | Path) -> str:
    """A path relative to the run's folder, which may be moved."""
    return Path(os.path.relpath(path, run_dir)).as_posix()


def _path(run_dir: str | Path, name: str) -> Path:
    return Path(run_dir) / FOLDER / f"{name}.json"


def _read(run_dir: str | Path, name: str) -> dict[str, Any] | None:
    entry = _json(_path(run_dir, name))
    sound = isinstance(entry, dict) and "made_from" in entry
    return entry if sound and isinstance(entry.get("files"), dict) else None
