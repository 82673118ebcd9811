"""A run's folder kept in a bucket: worked on in its place on this machine, sent there and brought.

Checkpoints are no part of it, they go to the bucket directly; nor are frames, which each machine
makes or stages for itself.
"""

import json
import os
import secrets
import shutil
from collections.abc import Callable
from pathlib import Path

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io, film_names, lease, storage
from vae_gan_jax.run.settings import FILE as FLAGS_FILE

# There: which files were sent, with size and date, by whom last. Here: what of it this machine has.
MANIFEST = "mirror.json"
APART = (film_names.FRAMES, "checkpoints")
UNFINISHED = (".partial", ".former")
NEEDED = (FLAGS_FILE, "metrics.jsonl")  # by the second of several processes

_opened: list[Path] = []  # the folders that this process sends when it ends
_leases: list[lease.Lease] = []


def opened(url: str, first: bool = True, lost: Callable[[str], None] | None = None) -> str:
    """Makes a run's folder on this machine what the bucket has, unless that came from here.

    Who sent last is right: files of this machine that are not in the bucket go. So what a killed
    process had not sent is kept until another machine has gone on with the run.

    Args:
      url: of the run; a local folder is left as it is.
      first: of several processes the first one has all, and sends; others have what they need.
      lost: called with a sentence where another process has taken the run; without it the run is
        only looked at, and may be another's.

    Returns:
      The folder.

    Raises:
      InputError: that is no run, it is another process's, or it cannot be brought.
    """
    if not storage.is_remote(url):
        return url
    storage.check("run_dir", url)
    url, folder = storage.address(url), Path(storage.local(url))
    if first and lost:
        storage.contact(url)
        _leases.append(lease.Lease(url, lost))
    with atomic_io.locked(folder):
        _bring(url, folder, first)
    if first:
        _opened.append(folder)
    return str(folder)


def _bring(url: str, folder: Path, first: bool) -> None:
    ours, theirs = _known(folder), _kept(url)
    if not theirs["files"]:
        if ours["written"]:  # the run was deleted there
            shutil.rmtree(folder)
        return
    if ours["written"] and ours["written"] == theirs["written"]:
        return
    if FLAGS_FILE not in theirs["files"]:
        raise InputError(f"{url} is no run, it has no {FLAGS_FILE}: give another.")
    wanted = {name: at for name, at in theirs["files"].items() if first or name in NEEDED}
    found = storage.find(url)
    missing = {name: at for name, at in wanted.items() if _date(folder / name) != at}
    missing = {name: at for name, at in missing.items() if folder / name in found}
    storage.bring({folder / name: found[folder / name] for name in missing}, folder.name)
    for name, (_, date) in missing.items():
        os.utime(folder / name, ns=(date, date))
    if first:
        for name in _files(folder).keys() - wanted.keys():
            (folder / name).unlink()
        _know(folder, theirs["written"])


def looked_at(url: str) -> Path:
    """The folder of a run on this machine of which only settings and checkpoints are looked at."""
    folder = Path(storage.local(url))
    if storage.is_remote(url):
        with atomic_io.locked(folder):
            flags = f"{storage.address(url)}/{FLAGS_FILE}"
            storage.bring(storage.find(flags), FLAGS_FILE)
    return folder


def send(folder: Path) -> None:
    """Sends what has changed in a run's folder since it was last sent or brought; whole files.

    Raises:
      InputError: that cannot be done.
    """
    url = storage.address(folder)
    with atomic_io.locked(folder):
        before, here = _known(folder)["files"], _files(folder)
        changed = {name: at for name, at in here.items() if before.get(name) != at}
        gone = before.keys() - here.keys()
        if FLAGS_FILE not in here or not (changed or gone):
            return
        storage.send([folder / name for name in changed], folder.name)
        # Another machine may have made a report meanwhile, say.
        files = _kept(url)["files"] | changed
        files = {name: at for name, at in files.items() if name not in gone}
        manifest = {"written": secrets.token_hex(8), "files": files}
        storage.write(f"{url}/{MANIFEST}", json.dumps(manifest, indent=0).encode())
        atomic_io.write(folder / MANIFEST, json.dumps(manifest | {"files": here}, indent=0))
        for name in gone:
            storage.delete(f"{url}/{name}")


def send_opened() -> None:
    """Sends what this process has made in runs that it has opened; raises as ``send`` does."""
    for folder in _opened:
        send(folder)


def leave() -> None:
    """Sends what this process has made, and lets others have the runs; raises as ``send`` does."""
    try:
        send_opened()
    finally:
        while _leases:
            _leases.pop().release()


def _kept(url: str) -> dict:
    """The manifest in the bucket; of a run that was copied there the like of it."""
    content = storage.read(f"{url}/{MANIFEST}")
    if content is not None:
        return json.loads(content)
    folder = Path(storage.local(url))
    found = {
        path.relative_to(folder).as_posix(): there for path, there in storage.find(url).items()
    }
    files = {name: [there.size, there.date] for name, there in found.items() if _is_part(name)}
    return {"written": "", "files": files}


def _known(folder: Path) -> dict:
    path = folder / MANIFEST
    return json.loads(path.read_text()) if path.exists() else {"written": "", "files": {}}


def _know(folder: Path, written: str) -> None:
    content = {"written": written, "files": _files(folder)}
    atomic_io.write(folder / MANIFEST, json.dumps(content, indent=0))


def _files(folder: Path) -> dict[str, list[int]]:
    """Size and date of the files that are sent, by name."""
    found = {}
    for parent, folders, names in os.walk(folder):
        inside = Path(parent).relative_to(folder)
        folders[:] = [name for name in folders if _is_part((inside / name).as_posix())]
        for name in names:
            part = (inside / name).as_posix()
            if _is_part(part) and (at := _date(folder / part)):
                found[part] = at
    return found


def _is_part(name: str) -> bool:
    first, *_ = parts = name.split("/")
    hidden = any(part.startswith(".") or part.endswith(UNFINISHED) for part in parts)
    return not hidden and first not in (*APART, MANIFEST, lease.FILE)


def _date(path: Path) -> list[int] | None:
    """Size and date, nanoseconds, of a file that is there."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return [status.st_size, status.st_mtime_ns]
