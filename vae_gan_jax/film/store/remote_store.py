"""Prepared frames that runs share in a bucket: staged to a machine's disk once, sent when made."""

import json
from pathlib import Path

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.frame_store import FrameStore
from vae_gan_jax.film.store.frames_file import FRAMES, MANIFEST
from vae_gan_jax.run import atomic_io, storage


def stage(folder: Path) -> None:
    """Brings the frames whose place in a bucket this folder is, unless they are there already.

    Whole or not at all, and compared with their checksums. Of several processes of one machine one
    does it, and the others wait. Where the bucket has none it leaves the folder as it is.

    Raises:
      InputError: they cannot be brought, or are damaged.
    """
    url = storage.address(folder)
    with atomic_io.locked(folder):
        manifest = storage.read(f"{url}/{MANIFEST}")
        if manifest is None or manifest == _manifest(folder):
            return
        (folder / MANIFEST).unlink(missing_ok=True)  # without it the folder is no store
        storage.bring(storage.find(f"{url}/{FRAMES}"), folder.name)
        try:
            FrameStore(str(folder), json.loads(manifest)).verify()
        except (InputError, OSError, ValueError):
            raise InputError(
                f"the frames in {url} are damaged: delete them there, they will be prepared again."
            ) from None
        atomic_io.write(folder / MANIFEST, manifest)


def send(folder: Path) -> None:
    """Sends the frames whose place in a bucket this folder is, unless it has the same.

    Raises:
      InputError: that cannot be done.
    """
    url, manifest = storage.address(folder), _manifest(folder)
    if storage.read(f"{url}/{MANIFEST}") != manifest:
        storage.delete(f"{url}/{MANIFEST}")  # without it the frames do not count
        storage.send([folder / FRAMES], folder.name)
        storage.write(f"{url}/{MANIFEST}", manifest)


def _manifest(folder: Path) -> bytes | None:
    path = folder / MANIFEST
    return path.read_bytes() if path.exists() else None
