"""Prepared frames that runs share in a bucket: each machine downloads or uploads them once."""

from pathlib import Path

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.frame_store import FrameStore
from vae_gan_jax.film.store.frames_file import FRAMES, MANIFEST, parse_manifest
from vae_gan_jax.run import atomic_io, storage


def stage(folder: Path) -> None:
    """Downloads a frame store into its local copy ``folder``, unless both are equal.

    Does nothing if the bucket has no such store. If several processes of a machine call it, one
    downloads and the others wait.

    Raises:
      InputError: the store cannot be downloaded, or its manifest or frames are damaged.
    """
    url = storage.address(folder)
    with atomic_io.locked(folder), storage.readable_errors(url):
        content = storage.read(f"{url}/{MANIFEST}")
        if content is None or content == _local_manifest(folder):
            return
        damaged = InputError(
            f"the frames in {url} are damaged: delete them, then they are prepared again."
        )
        try:
            manifest = parse_manifest(content)
        except ValueError:
            raise damaged from None
        (folder / MANIFEST).unlink(missing_ok=True)  # without it the folder is no store
        storage.file_system(url).get(f"{url}/{FRAMES}", str(folder / FRAMES))
        try:
            FrameStore(str(folder), manifest).verify()
        except InputError:
            raise damaged from None
        atomic_io.write(folder / MANIFEST, content)


def send(folder: Path) -> None:
    """Uploads the frame store in ``folder``, unless the bucket has the same one.

    Raises:
      InputError: the store cannot be uploaded.
    """
    url = storage.address(folder)
    with storage.readable_errors(url):
        if storage.read(f"{url}/{MANIFEST}") != _local_manifest(folder):
            for name in (FRAMES, MANIFEST):  # frames without a manifest are ignored
                storage.file_system(url).put_file(str(folder / name), f"{url}/{name}")


def _local_manifest(folder: Path) -> bytes | None:
    path = folder / MANIFEST
    return path.read_bytes() if path.exists() else None
