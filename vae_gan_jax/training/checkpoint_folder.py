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
COMMIT = "commit_success.txt"  # orbax's last file in a bucket: it makes the checkpoint complete
# Orbax writes these after the checksums; no array is read from them.
UNCHECKED = ("_CHECKPOINT_METADATA", COMMIT)
DAMAGED_SUFFIX, DELETED_SUFFIX, UNFINISHED_SUFFIX = ".damaged", ".deleted", ".orbax-checkpoint-tmp"
BLOCK_BYTES = 8 << 20


class CheckpointFolder:
    """The checkpoints of a run as files; each is a folder named by its step.

    A checkpoint appears on disk when orbax renames its folder, and in a bucket with its last file.
    Errors are OSErrors of the disk, or InputErrors that describe the bucket's.
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

    def make_ready(self, size: int) -> None:
        """Removes what an interruption left, and checks that the disk has room for ``size`` bytes."""
        if not self.is_remote:
            self.path.mkdir(exist_ok=True)
        self.remove_unfinished()
        if not self.is_remote and size > shutil.disk_usage(self.path).free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def remove_unfinished(self) -> None:
        """Removes checkpoints that were not saved or deleted completely."""
        steps = self.steps() if self.is_remote else []
        with storage.readable_errors(self.path):
            for path in self._children():
                incomplete = path.name.isdecimal() and int(path.name) not in steps
                temporary = UNFINISHED_SUFFIX in path.name or path.name.endswith(DELETED_SUFFIX)
                if incomplete if self.is_remote else temporary:
                    path.rmtree()

    def delete(self, step: int) -> None:
        """Deletes a checkpoint; a kill leaves nothing that looks like a complete one."""
        path = self.path / str(step)
        with storage.readable_errors(self.path):
            if self.is_remote:
                (path / COMMIT).unlink()
            else:
                path = path.rename(path.with_name(f"{step}{DELETED_SUFFIX}"))
            path.rmtree()

    def set_aside(self, step: int):
        """Renames a checkpoint so that it no longer counts, and returns its new path."""
        path = aside = self.path / f"{step}{DAMAGED_SUFFIX}"
        with storage.readable_errors(self.path):
            number = 1
            while aside.exists():
                number += 1
                aside = path.with_name(f"{path.name}_{number}")
            return (self.path / str(step)).rename(aside)

    def damage(self, step: int) -> str | None:
        """Describes what is wrong with a checkpoint's files and names the file; None if nothing."""
        folder = self.path / str(step)
        with storage.readable_errors(folder):
            try:
                listed = _read_checksums(folder)
                found = _checksums(folder)
            except FileNotFoundError:
                return f"{folder} is damaged, it has no {CHECKSUMS}"
            except ValueError:
                return f"{folder / CHECKSUMS} is damaged"
            except OSError as error:
                if self.is_remote:
                    raise  # an object is either whole or missing: the bucket does not answer
                return f"{error.filename or folder} is damaged ({error.strerror})"
            for name, checksum in listed.items():
                if name not in found:
                    return f"{folder / name} is missing"
                if found[name] != checksum:
                    return f"{folder / name} is damaged"
        return None

    def _children(self) -> list:
        return list(self.path.iterdir()) if self.path.exists() else []


def seal(folder) -> None:
    """Adds the checksums to a checkpoint that orbax has written but for its last file.

    In a bucket the run's other files are uploaded first: whoever resumes from this checkpoint needs
    the metrics up to its step.
    """
    with storage.readable_errors(folder):
        content = json.dumps(_checksums(folder), indent=0)
        if storage.is_remote(folder):
            remote_run.save_runs()
        (folder / CHECKSUMS).write_text(f"{zlib.crc32(content.encode()):08x}\n{content}")


def _read_checksums(folder) -> dict[str, list[int]]:
    """Raises ``ValueError`` if the file was changed."""
    checksum, _, content = (folder / CHECKSUMS).read_bytes().partition(b"\n")
    listed = json.loads(content)
    if int(checksum, 16) != zlib.crc32(content) or not isinstance(listed, dict):
        raise ValueError
    return listed


def _checksums(folder) -> dict[str, list[int]]:
    """Size in bytes and CRC-32 of each file that arrays are read from, by name."""
    import fsspec

    store, root = fsspec.core.url_to_fs(str(folder))
    found = {}
    for path in sorted(store.find(root)):
        name = path.removeprefix(f"{root}/")
        if name in (CHECKSUMS, *UNCHECKED):
            continue
        size = checksum = 0
        with (folder / name).open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                size += len(block)
                checksum = zlib.crc32(block, checksum)
        found[name] = [size, checksum]
    return found
