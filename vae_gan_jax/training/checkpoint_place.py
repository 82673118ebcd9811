"""Where the checkpoints of a run are: a folder on disk, or a storage, which knows no renaming.

Both have the same methods. What goes wrong is an ``OSError`` of the disk, or an ``InputError`` that
says it of the bucket.
"""

import contextlib
import errno
import os
import shutil
from pathlib import Path

from vae_gan_jax.run import atomic_io, mirror, storage

FOLDER = "checkpoints"
COMMIT = "commit_success.txt"  # the last file that orbax writes
ASIDE = ".damaged"  # ends the name of a checkpoint that was set aside


def of(run_dir: str | Path) -> "OnDisk | InBucket":
    """The place of a run's checkpoints."""
    return at(storage.home(run_dir) / FOLDER)


def at(path) -> "OnDisk | InBucket":
    """The place of checkpoints at a path, of the disk or, of ``epath``, in a bucket."""
    return InBucket(path) if storage.is_remote(path) else OnDisk(Path(path))


class OnDisk:
    """Checkpoints in a folder: each of them appears when orbax renames its folder to its step."""

    remedy = "make room"  # where one cannot be written
    unreadable = (OSError,)  # what reading a damaged one may raise

    def __init__(self, path: Path):
        self.path = path

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending."""
        folders = self.path.iterdir() if self.path.is_dir() else ()
        names = [path.name for path in folders if path.is_dir()]
        return sorted(int(name) for name in names if name.isdecimal())

    def files(self, folder) -> dict[str, Path]:
        """The files of a checkpoint by name, in order; they can be opened."""
        paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
        return {path.relative_to(folder).as_posix(): path for path in paths}

    def reading(self, folder):
        """A context in which files are read."""
        return contextlib.nullcontext()

    def make_ready(self, step: int, size: int) -> None:
        """Makes the folder, and room in it for a checkpoint of so many bytes.

        What an interruption left unfinished goes.
        """
        self.path.mkdir(exist_ok=True)
        self._remove("*.orbax-checkpoint-tmp*", "*.deleted")
        if size > shutil.disk_usage(self.path).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def seal(self, folder, name: str, content: str) -> None:
        """Writes the last file of a checkpoint but orbax's own, before it appears."""
        atomic_io.write(Path(folder) / name, content)

    def newest(self) -> str:
        """The newest complete checkpoint in words, for a warning."""
        steps = self.steps()
        return f"the newest one is of step {steps[-1]}" if steps else "there is none yet"

    def is_gone(self) -> bool:
        """Whether the run's folder was deleted."""
        return not self.path.parent.is_dir()

    def remove_failed(self, step: int) -> None:
        """Removes what there is of a checkpoint that could not be written: it makes room again."""
        self._remove(f"{step}.orbax-checkpoint-tmp*")

    def remove(self, steps: set[int]) -> None:
        """Removes checkpoints."""
        for step in steps:
            going = self.path / f"{step}.deleted"  # at once no checkpoint any more
            (self.path / str(step)).rename(going)
            shutil.rmtree(going, ignore_errors=True)

    def _remove(self, *patterns: str) -> None:
        for pattern in patterns:
            for unfinished in self.path.glob(pattern):
                shutil.rmtree(unfinished, ignore_errors=True)

    def set_aside(self, step: int) -> Path:
        """Gives a checkpoint a name that is none of a checkpoint; the path of that."""
        aside = _free_name(self.path / f"{step}{ASIDE}")
        (self.path / str(step)).rename(aside)
        return aside


class InBucket:
    """Checkpoints as objects: each of them appears when orbax writes its last one."""

    remedy = "see to the bucket"
    unreadable = ()  # objects are sound or gone; else the bucket does not answer

    def __init__(self, path):
        self.path = path

    def steps(self) -> list[int]:
        complete = storage.find(f"{self.path}/*/{COMMIT}")
        names = [path.parent.name for path in complete]
        return sorted(int(name) for name in names if name.isdecimal())

    def files(self, folder) -> dict[str, Path]:
        found = sorted(storage.find(str(folder)))
        names = [path.relative_to(storage.local(folder)).as_posix() for path in found]
        return {name: folder / name for name in names}

    def reading(self, folder):
        return storage.reached(folder)

    def make_ready(self, step: int, size: int) -> None:
        storage.delete(f"{self.path}/{step}")  # what an interruption left of this one

    def seal(self, folder, name: str, content: str) -> None:
        """As on disk; before that the run is sent: who goes on from there needs its metrics."""
        mirror.send(Path(storage.local(self.path.parent)))
        storage.write(f"{folder}/{name}", content.encode())

    def newest(self) -> str:
        return "those before stay"  # it might not answer

    def is_gone(self) -> bool:
        return False

    def remove_failed(self, step: int) -> None:
        pass  # with the next that succeeds

    def remove(self, steps: set[int]) -> None:
        """As on disk, and what is unfinished."""
        for step in steps:
            storage.delete(f"{self.path}/{step}/{COMMIT}")  # at once no checkpoint any more
        complete = set(map(str, self.steps()))
        for name in storage.names(str(self.path)):
            if name.isdecimal() and name not in complete:
                storage.delete(f"{self.path}/{name}")

    def set_aside(self, step: int) -> Path:
        aside = _free_name(self.path / f"{step}{ASIDE}")
        storage.move(f"{self.path}/{step}", str(aside))
        return aside


def _free_name(path):
    """The path, or the first with a number behind it that nothing has."""
    candidate, number = path, 1
    while candidate.exists():
        number += 1
        candidate = path.with_name(f"{path.name}_{number}")
    return candidate
