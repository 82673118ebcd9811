"""Runs and prepared frames in a bucket, and their local copies.

A run is downloaded when it is opened, and uploaded with each checkpoint and at the end. Its
checkpoints are only in the bucket; its frames, without ``--frames_dir``, only on each machine.
Of two versions of a file the newer counts, which is the local one after a kill or a lost network.
"""

import base64
import hashlib
import os
import re
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io, film_names, storage
from vae_gan_jax.run.settings import FILE as FLAGS_FILE
from vae_gan_jax.run.settings import recorded_settings
from vae_gan_jax.run.team import ALONE, Team

# Checkpoints, prepared frames of a run, unfinished and hidden files.
NOT_COPIED = rf"({film_names.FRAMES}|checkpoints)/|(.*/)?(\.|$)|.*\.(partial|former|lock)(/|$)"

_runs: dict[str, set[str]] = {}  # the files of each open run at its last upload, by its address


def open_run(url: str, team: Team = ALONE) -> str:
    """Downloads a run and returns its local copy; returns a local folder unchanged.

    Of several processes only process 0 has a local copy and uploads it. Raises InputError if this
    is not a run, or the bucket cannot be used.
    """
    if storage.is_remote(url):
        storage.check({"run_dir": url})
        url = storage.address(url)
        storage.contact(url)
        if team.index == 0:
            if (names := _remote_files(url).keys()) and FLAGS_FILE not in names:
                raise InputError(f"{url} is not a run, it has no {FLAGS_FILE}: give another.")
            download(url)
            _runs[url] = set(_local_files(url))
        team.barrier("process 0 has downloaded the run")
    return storage.local(url)


def recorded_runs(folders: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Opens the runs of ``--compare``; returns the settings of each by its local folder."""
    runs = {run_dir: recorded_settings(Path(run_dir)) for run_dir in map(open_run, folders)}
    for run_dir, recorded in runs.items():
        if not recorded:
            raise InputError(f"there is no run in {run_dir}: give --compare the folders of runs.")
    return runs


def save_runs() -> None:
    """Uploads the changed files of the open runs; raises InputError if that fails."""
    for url, uploaded in _runs.items():
        files = _local_files(url)
        if FLAGS_FILE in files:
            upload(url, removed=uploaded - files.keys())
            _runs[url] = set(files)


def download(url: str) -> None:
    """Downloads a folder's files that are newer than their local copies; raises InputError."""
    with atomic_io.locked(storage.local(url)), storage.readable_errors(url):
        remote, files = _remote_files(url), _local_files(url)
        if changed := [n for n, info in remote.items() if _is_older(files.get(n), info)]:
            paths = [f"{storage.local(url)}/{name}.partial" for name in changed]
            storage.file_system(url).get([f"{url}/{name}" for name in changed], paths)
            for path in paths:
                os.replace(path, path.removesuffix(".partial"))


def upload(url: str, removed: Set[str] = frozenset()) -> None:
    """Uploads a folder's changed files, deletes ``removed`` in the bucket; raises InputError."""
    with storage.readable_errors(url):
        remote, files, store = _remote_files(url), _local_files(url), storage.file_system(url)
        if changed := [n for n in files if n not in remote or not _is_same(files[n], remote[n])]:
            store.put([str(files[name]) for name in changed], [f"{url}/{n}" for n in changed])
        for name in removed & remote.keys():
            store.rm(f"{url}/{name}")


def _is_older(path: Path | None, info: dict[str, Any]) -> bool:
    newer = path is not None and path.stat().st_mtime > info["mtime"].timestamp()
    return not newer and (path is None or not _is_same(path, info))


def _is_same(path: Path, info: dict[str, Any]) -> bool:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").digest()
    return info.get("md5Hash") == base64.b64encode(digest).decode()


def _remote_files(url: str) -> dict[str, dict[str, Any]]:
    """fsspec's metadata of each file, by its path relative to the folder."""
    with storage.readable_errors(url):
        files = storage.file_system(url).find(url, detail=True)
    files = {f"gs://{name}".removeprefix(f"{url}/"): info for name, info in files.items()}
    return {name: info for name, info in files.items() if not re.match(NOT_COPIED, name)}


def _local_files(url: str) -> dict[str, Path]:
    folder = Path(storage.local(url))
    paths = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    return {n: p for n, p in paths.items() if p.is_file() and not re.match(NOT_COPIED, n)}
