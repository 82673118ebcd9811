"""Prepared frames that runs share in a bucket: downloaded once by each machine, uploaded once."""

import json
from pathlib import Path

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.frame_store import FrameStore
from vae_gan_jax.film.store.frames_file import FRAMES, MANIFEST
from vae_gan_jax.run import atomic_io, storage


def stage(folder: Path) -> None:
    """Downloads the frames that a local copy stands for, unless it has them or there are none.

    If several processes of a machine call it, one downloads and the others wait.

    Raises:
      InputError: they cannot be downloaded, or do not agree with their checksums.
    """
    url = storage.address(folder)
    with atomic_io.locked(folder), storage.readable_errors(url):
        manifest = storage.read(f"{url}/{MANIFEST}")
        if manifest is None or manifest == _manifest(folder):
            return
        (folder / MANIFEST).unlink(missing_ok=True)  # without it the folder is no store
        storage.file_system(url).get(f"{url}/{FRAMES}", str(folder / FRAMES))
        try:
            FrameStore(str(folder), json.loads(manifest)).verify()
        except (InputError, OSError, ValueError, TypeError, KeyError):
            raise InputError(
                f"the frames in {url} are damaged: delete them, then they are prepared again."
            ) from None
        atomic_io.write(folder / MANIFEST, manifest)


def send(folder: Path) -> None:
    """Uploads the frames of a local copy, unless the bucket has the same.

    Raises:
      InputError: that cannot be done.
    """
    url, manifest = storage.address(folder), _manifest(folder)
    if storage.read(f"{url}/{MANIFEST}") != manifest:
        names = [FRAMES, MANIFEST]  # in this order: without the manifest the frames do not count
        for name in names:
            with storage.readable_errors(url):
                storage.file_system(url).put_file(str(folder / name), f"{url}/{name}")


def _manifest(folder: Path) -> bytes | None:
    path = folder / MANIFEST
    return path.read_bytes() if path.exists() else None
