"""Records what the derived files of a run were made from, and decides whether they are current.

Derived files are films, measures, shots, batch-norm statistics, figures, explorations, exports and
reports. ``record`` writes one JSON file per group of them into ``RUN/provenance``: what they were
made from, and the checksum of each file. ``is_current`` alone decides whether something is already
made. A file is made from contents: the checksums of the checkpoint and the film, and the settings
that it depends on.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io, damaged_json

FOLDER = "provenance"
LABEL = "made_from.json"  # inside a folder of unfinished work
CHECKSUMS = "film_checksums.json"  # cache, by path, size and time of change


def record(run_dir: str | Path, name: str, made_from: dict[str, Any], files: Iterable) -> None:
    """Records what a group of files was made from, unless the run's folder is read-only.

    ``name`` is that of the group, such as ``"films/mine"``. ``made_from`` are JSON values; tuples
    equal lists. ``files`` are paths of the finished files, inside or outside the run's folder.
    """
    if not atomic_io.is_writable(run_dir):
        return  # the files are elsewhere, and are made again by every command
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
    """Whether files were made from exactly this and are unchanged since.

    False if a file or the record is missing, damaged or foreign. The arguments are those of
    ``record``; ``files`` defaults to the recorded ones. The values of ``ignored`` keys may differ.
    """
    entry, wanted = _read(run_dir, name), json.loads(json.dumps(made_from))
    if entry is None or not isinstance(entry["made_from"], dict):
        return False
    if _without(entry["made_from"], ignored) != _without(wanted, ignored):
        return False
    try:
        if files is None:
            files = [Path(run_dir) / path for path in entry["files"]]
        return all(
            entry["files"].get(_relative(path, run_dir)) == checksum([path]) for path in files
        )
    except (OSError, ValueError):
        return False


def recorded(run_dir: str | Path, name: str) -> dict[str, Any] | None:
    """What a group of files was made from; None without a readable record."""
    entry = _read(run_dir, name)
    return entry and entry["made_from"]


def groups(run_dir: str | Path, folder: str) -> dict[str, tuple[dict[str, Any], list[Path]]]:
    """What each group below a name such as ``"films"`` was made from, and its files.

    Leaves out damaged and foreign records.
    """
    result = {}
    for path in sorted((Path(run_dir) / FOLDER / folder).glob("*.json")):
        name = f"{folder}/{path.stem}"
        entry = _read(run_dir, name)
        if entry is not None and isinstance(entry["made_from"], dict):
            paths = [Path(os.path.normpath(Path(run_dir) / file)) for file in entry["files"]]
            result[name] = entry["made_from"], paths
    return result


def open_unfinished(folder: str | Path, made_from: Any, is_first: bool = True) -> None:
    """Opens a folder of unfinished work; makes a new one unless it was made from exactly this.

    If several processes share the folder, only the first one makes it. Raises InputError in another
    process that does not find it, and OSError if it cannot be written.
    """
    if damaged_json.read(Path(folder) / LABEL) == json.loads(json.dumps(made_from)):
        return
    if not is_first:
        raise InputError(
            f"{folder} was not made by the first process: give all processes the same flags, and a "
            "folder that they share."
        )
    shutil.rmtree(folder, ignore_errors=True)
    atomic_io.write(Path(folder) / LABEL, json.dumps(made_from) + "\n")


def checksum(paths: Iterable[str | Path]) -> str:
    """SHA-256 of the concatenated contents of files, 64 hexadecimal digits.

    Raises OSError if a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        with open(path, "rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return digest.hexdigest()


def film_checksum(paths: Iterable[str | Path], run_dir: str | Path | None = None) -> str:
    """``checksum`` of a film, or of stills in order, cached by path, size and time of change.

    ``run_dir`` also caches the checksum in the run's folder. Raises OSError if a file cannot be
    read.
    """
    paths = [os.path.abspath(path) for path in paths]
    status = [os.stat(path) for path in paths]
    key = [
        [path, s.st_size, s.st_mtime_ns, s.st_ctime_ns]
        for path, s in zip(paths, status, strict=True)
    ]
    key = hashlib.sha256(json.dumps(key).encode()).hexdigest()
    cache = Path(run_dir) / FOLDER / CHECKSUMS if run_dir else None
    known = _cached_checksums(cache)
    if key not in known:
        known[key] = _memoised_checksum(key, tuple(paths))
        if cache and os.path.isdir(run_dir) and atomic_io.is_writable(run_dir):
            with contextlib.suppress(OSError):  # a cache
                atomic_io.write(cache, json.dumps(known, indent=1) + "\n")
    return known[key]


@functools.cache
def _memoised_checksum(key: str, paths: tuple[str, ...]) -> str:
    return checksum(paths)


def _cached_checksums(cache: Path | None) -> dict[str, str]:
    known = damaged_json.read(cache) if cache else {}
    if not isinstance(known, dict):
        return {}
    return {key: checksum for key, checksum in known.items() if isinstance(checksum, str)}


def _without(values: dict[str, Any], ignored: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key not in ignored}


def _relative(path: str | Path, run_dir: str | Path) -> str:
    """A path relative to the run's folder, which may be moved."""
    return Path(os.path.relpath(path, run_dir)).as_posix()


def _path(run_dir: str | Path, name: str) -> Path:
    return Path(run_dir) / FOLDER / f"{name}.json"


def _read(run_dir: str | Path, name: str) -> dict[str, Any] | None:
    entry = damaged_json.read(_path(run_dir, name))
    valid = isinstance(entry, dict) and "made_from" in entry
    return entry if valid and isinstance(entry.get("files"), dict) else None
