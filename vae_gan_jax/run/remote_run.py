"""Runs in a bucket: downloaded when opened, uploaded with each checkpoint and at the end.

Checkpoints are only in the bucket, prepared frames only on each machine.
"""

import base64
import dataclasses
import hashlib
import os
import socket
from pathlib import Path

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io, film_names, storage
from vae_gan_jax.run.settings import FILE as FLAGS_FILE
from vae_gan_jax.run.team import Team

# Names the process that works on the run and its local copy. A killed process leaves this file. Its
# machine then knows that the local copy is newer than the bucket, and other machines are refused.
OWNER = "in_use.txt"
NOT_COPIED = (film_names.FRAMES, "checkpoints", OWNER)
UNFINISHED_SUFFIXES = (".partial", ".former", ".lock")


@dataclasses.dataclass
class _Run:
    url: str
    folder: Path  # the local copy
    is_owner: bool
    uploaded: dict[str, tuple | None]  # size and time of change of each file when uploaded


_runs: list[_Run] = []  # opened by this process


def open_run(url: str, team: Team = Team(), exclusive: bool = True) -> str:  # noqa: B008
    """Downloads a run and returns its local copy; returns a local folder unchanged.

    A copy that is newer than the bucket because its process was killed is not overwritten.

    Args:
      url: address of the run.
      team: process 0 downloads and uploads the run; the others view it, see ``view_run``.
      exclusive: locks the run, and refuses one that another process has locked.

    Raises:
      InputError: this is no run, it is locked, or the bucket cannot be used.
    """
    if not storage.is_remote(url):
        return url
    storage.check("run_dir", url)
    storage.contact(url)
    url, folder = storage.address(url), Path(storage.local(url))
    if team.index == 0:
        if exclusive:
            _become_owner(url)
        is_newest = _is_newest(url, folder)
        if not is_newest:
            _download(url, folder)
        if exclusive:
            _write_owner(url, str(folder))
        uploaded = dict.fromkeys(_remote_files(url)) if is_newest else _local_files(folder)
        _runs.append(_Run(url, folder, exclusive, uploaded))
    team.barrier("process 0 has downloaded the run")
    if team.index:
        view_run(url)
    return str(folder)


def view_run(url: str) -> Path:
    """Downloads the files directly in a run's folder, for reading; returns the local copy."""
    folder = Path(storage.local(url))
    if storage.is_remote(url) and not _is_newest(storage.address(url), folder):
        _download(storage.address(url), folder, depth=1)
    return folder


def save_runs() -> None:
    """Uploads the changed files of the open runs; raises InputError if that fails."""
    for run in _runs:
        files, store = _local_files(run.folder), storage.file_system(run.url)
        if FLAGS_FILE not in files:
            continue
        changed = [name for name, status in files.items() if run.uploaded.get(name) != status]
        with storage.readable_errors(run.url):
            if changed:
                paths = [str(run.folder / name) for name in changed]
                store.put(paths, [f"{run.url}/{name}" for name in changed])
            for name in run.uploaded.keys() - files.keys():
                store.rm(f"{run.url}/{name}")
        run.uploaded = files


def close_runs() -> None:
    """Uploads the changed files and unlocks the runs; raises InputError if that fails."""
    try:
        save_runs()
    finally:
        while _runs:
            run = _runs.pop()
            if run.is_owner:
                with storage.readable_errors(run.url):
                    storage.file_system(run.url).rm(f"{run.url}/{OWNER}")


def _become_owner(url: str) -> None:
    try:
        return _write_owner(url, "", mode="create")
    except FileExistsError:
        host, process, _ = _owner(url)
    if host != socket.gethostname() or _is_running(process):
        raise InputError(
            f"{url} is in use by process {process} on {host}: wait until it ends; if it was "
            f"killed, delete {url}/{OWNER}."
        )


def _write_owner(url: str, folder: str, mode: str = "overwrite") -> None:
    """``folder`` is the local copy, "" until it is complete."""
    content = f"{socket.gethostname()}\n{os.getpid()}\n{folder}".encode()
    with storage.readable_errors(url):
        storage.file_system(url).pipe_file(f"{url}/{OWNER}", content, mode=mode)


def _owner(url: str) -> list[str]:
    """Host, process number and local copy of the owner."""
    text = (storage.read(f"{url}/{OWNER}") or b"").decode(errors="replace")
    return (text.split("\n") + ["unknown"] * 3)[:3]


def _is_running(process: str) -> bool:
    if not process.isdecimal() or int(process) == os.getpid():
        return False  # in containers all programs may have the same number
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def _is_newest(url: str, folder: Path) -> bool:
    """Whether the last owner of the run worked in this local copy."""
    host, _, copy = _owner(url)
    return (socket.gethostname(), str(folder)) == (host, copy) and (folder / FLAGS_FILE).exists()


def _download(url: str, folder: Path, depth: int | None = None) -> None:
    """Makes the local copy equal to the bucket, at most ``depth`` levels deep."""
    with atomic_io.locked(folder):
        remote = _remote_files(url, depth)
        if remote and FLAGS_FILE not in remote:
            raise InputError(f"{url} is no run, it has no {FLAGS_FILE}: give another.")
        names = [name for name, info in remote.items() if not _is_copy(folder / name, info)]
        with storage.readable_errors(url):
            if names:
                paths = [str(folder / name) for name in names]
                storage.file_system(url).get([f"{url}/{name}" for name in names], paths)
        for name in _local_files(folder).keys() - remote.keys():
            if depth is None or name.count("/") < depth:
                (folder / name).unlink()


def _is_copy(path: Path, info: dict) -> bool:
    if not path.is_file() or path.stat().st_size != info["size"]:
        return False
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").digest()
    return info.get("md5Hash") == base64.b64encode(digest).decode()


def _remote_files(url: str, depth: int | None = None) -> dict[str, dict]:
    """fsspec's metadata of each file, by its path relative to the run."""
    with storage.readable_errors(url):
        files = storage.file_system(url).find(url, maxdepth=depth, detail=True)
    files = {f"gs://{name}".removeprefix(f"{url}/"): info for name, info in files.items()}
    return {name: info for name, info in files.items() if name[-1] != "/" and _is_copied(name)}


def _local_files(folder: Path) -> dict[str, tuple[int, int]]:
    """Size and time of change of each file, in bytes and ns."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    status = {n: path.stat() for n, path in files.items() if _is_copied(n) and path.is_file()}
    return {name: (stat.st_size, stat.st_mtime_ns) for name, stat in status.items()}


def _is_copied(name: str) -> bool:
    parts = name.split("/")
    unfinished = any(part[0] == "." or part.endswith(UNFINISHED_SUFFIXES) for part in parts)
    return not unfinished and parts[0] not in NOT_COPIED
