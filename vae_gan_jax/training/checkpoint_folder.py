"""The folder of a run's checkpoints, on disk or in a bucket, and the checksums of their files."""

import errno
import json
import os
import shutil
import zlib
from pathlib import Path

from vae_gan_jax.run import remote_run, storage

FOLDER = "checkpoints"
CHECKSUMS = "checksums.json"
COMMIT = "commit_success.txt"  # orbax writes it last in a bucket; the checkpoint is then complete
# Orbax writes these after the checksums. They hold no arrays.
FILES_WITHOUT_CHECKSUM = ("_CHECKPOINT_METADATA", COMMIT)
DAMAGED_SUFFIX, DELETED_SUFFIX, INCOMPLETE_SUFFIX = ".damaged", ".deleted", ".orbax-checkpoint-tmp"
BLOCK_BYTES = 8 << 20


class CheckpointFolder:
    """The checkpoints of a run as folders, each named by its step.

    On disk a checkpoint is complete once orbax has renamed its folder, in a bucket once it has the
    file ``COMMIT``. Errors are ``OSError`` for the disk and ``InputError`` for a
    bucket; ``damage`` reports those of the disk as damage.
    """

    def __init__(self, run_dir: str | Path):
        self.path = storage.path_of(run_dir) / FOLDER
        self.is_remote = storage.is_remote(self.path)

    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending; they may be damaged."""
        with storage.readable_errors(self.path):
            if self.is_remote:
                folders = [path.parent for path in self.path.glob(f"*/{COMMIT}")]
            else:
                folders = [path for path in self._children() if path.is_dir()]
            return sorted(int(path.name) for path in folders if path.name.isdecimal())

    def prepare(self, size: int) -> None:
        """Removes incomplete checkpoints and checks that the disk has ``size`` bytes free."""
        if not self.is_remote:
            self.path.mkdir(exist_ok=True)
        self.remove_incomplete()
        if not self.is_remote and size > shutil.disk_usage(self.path).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def remove_incomplete(self) -> None:
        """Removes checkpoints whose saving or deletion was interrupted."""
        steps = self.steps() if self.is_remote else []
        with storage.readable_errors(self.path):
            for path in self._children():
                if self.is_remote:
                    incomplete = path.name.isdecimal() and int(path.name) not in steps
                else:
                    deleted = path.name.endswith(DELETED_SUFFIX)
                    incomplete = deleted or INCOMPLETE_SUFFIX in path.name
                if incomplete:
                    path.rmtree()

    def delete(self, step: int) -> None:
        """Deletes a checkpoint; if interrupted, the rest does not count as a checkpoint."""
        path = self.path / str(step)
        with storage.readable_errors(self.path):
            if self.is_remote:
                (path / COMMIT).unlink()
            else:
                path = path.rename(path.with_name(f"{step}{DELETED_SUFFIX}"))
            path.rmtree()

    def rename_damaged(self, step: int):
        """Renames a checkpoint so that it no longer counts, and returns its new path."""
        path = new_path = self.path / f"{step}{DAMAGED_SUFFIX}"
        with storage.readable_errors(self.path):
            number = 1
            while new_path.exists():
                number += 1
                new_path = path.with_name(f"{path.name}_{number}")
            return (self.path / str(step)).rename(new_path)

    def damage(self, step: int) -> str | None:
        """A clause that names a damaged file of a checkpoint; ``None`` if all files are sound."""
        folder = self.path / str(step)
        with storage.readable_errors(folder):
            try:
                expected = _read_checksums(folder)
                actual = _checksums(folder)
            except FileNotFoundError:
                return f"{folder} is damaged, it has no {CHECKSUMS}"
            except ValueError:
                return f"{folder / CHECKSUMS} is damaged"
            except OSError as error:
                if self.is_remote:
                    raise  # not damage: the bucket does not answer
                return f"{error.filename or folder} is damaged ({error.strerror})"
            for name, checksum in expected.items():
                if name not in actual:
                    return f"{folder / name} is missing"
                if actual[name] != checksum:
                    return f"{folder / name} is damaged"
        return None

    def newest_sound(self, steps: list[int] | None = None) -> tuple[int | None, dict[int, str]]:
        """The newest of these checkpoints, or of all, that is sound; None if there is none.

        Also returns the ``damage`` of each newer checkpoint, by step. Changes no file.
        """
        damages = {}
        for step in reversed(self.steps() if steps is None else steps):
            damage = self.damage(step)
            if damage is None:
                return step, damages
            damages[step] = damage
        return None, damages

    def _children(self) -> list:
        return list(self.path.iterdir()) if self.path.exists() else []


def seal(folder) -> None:
    """Adds the checksums to a checkpoint, before orbax marks it as complete.

    In a bucket the run's other files are uploaded first, because a run that resumes from this
    checkpoint needs the metrics up to its step.
    """
    with storage.readable_errors(folder):
        content = json.dumps(_checksums(folder), indent=0)
        if storage.is_remote(folder):
            remote_run.save_runs()
        (folder / CHECKSUMS).write_text(f"{zlib.crc32(content.encode()):08x}\n{content}")


def _read_checksums(folder) -> dict[str, list[int]]:
    """Reads the file that ``seal`` writes; raises ``ValueError`` if it is damaged."""
    checksum, _, content = (folder / CHECKSUMS).read_bytes().partition(b"\n")
    if int(checksum, 16) != zlib.crc32(content):
        raise ValueError
    checksums = json.loads(content)
    if not isinstance(checksums, dict):
        raise ValueError
    return checksums


def _checksums(folder) -> dict[str, list[int]]:
    """Size in bytes and CRC-32 of each file that arrays are read from."""
    import fsspec

    store, root = fsspec.core.url_to_fs(str(folder))
    checksums = {}
    for path in sorted(store.find(root)):
        name = path.removeprefix(f"{root}/")
        if name in (CHECKSUMS, *FILES_WITHOUT_CHECKSUM):
            continue
        size = checksum = 0
        with (folder / name).open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                size += len(block)
                checksum = zlib.crc32(block, checksum)
        checksums[name] = [size, checksum]
    return checksums
