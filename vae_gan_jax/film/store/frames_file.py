"""Films decoded into a folder: the file of their frames, and the manifest that goes with it."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from typing import Any

import tqdm

from vae_gan_jax.film.read.framing import Framing, filter_chain
from vae_gan_jax.film.read.probe import Probe
from vae_gan_jax.film.read.video import Decoder, expected_frames, tell_loss
from vae_gan_jax.film.store.batches import prefetch
from vae_gan_jax.run import storage

VERSION = 1  # of the layout below; another one is prepared anew
BLOCK = 8 << 20  # bytes of a file read at a time
FRAMES, MANIFEST = "frames.u8", "manifest.json"


def decode_into(
    folder: str,
    settings: dict[str, Any],
    probes: Sequence[Probe],
    framing: Framing,
    strict: bool,
    shown: bool = True,
) -> None:
    """Writes ``frames.u8`` and, after it is on the disk, the manifest.

    Args:
      folder: of both; made if needed, where its own folder is there.
      settings: the framing as the manifest has it.
      probes: the films, in order.
      framing: what of each becomes frames.
      strict: refuse damaged films.
      shown: whether with a progress bar.

    Raises:
      InputError: a film cannot be used.
      OSError: the files cannot be written.
    """
    expected = [expected_frames(film, framing) for film in probes]
    total = None if None in expected else sum(expected)
    films, checksums = [], []
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    with (
        open(os.path.join(folder, FRAMES), "wb", buffering=0) as file,
        tqdm.tqdm(
            total=total, desc="frames", unit="frame", mininterval=0.5, disable=not shown
        ) as progress,
    ):
        for film in probes:
            # The prefetching thread keeps ffmpeg busy while a block goes to the disk.
            with (
                Decoder(film, framing) as decoder,
                contextlib.closing(prefetch(decoder.blocks())) as blocks,
            ):
                for frames_BHWC in blocks:
                    block = memoryview(frames_BHWC).cast("B")
                    checksums.append((len(frames_BHWC), zlib.crc32(block)))
                    _write(file, block)
                    progress.update(len(frames_BHWC))
                loss = tell_loss(decoder, strict)
            films.append(_entry(film, framing, decoder, loss))
        os.fsync(file.fileno())
    count = sum(film["count"] for film in films)
    manifest = {
        "version": VERSION,
        "settings": settings,
        "shape": [count, framing.height, framing.width, 3],
        "films": films,
        "checksums": checksums,  # [frames, crc32] of each block, in order
    }
    _write_manifest(folder, manifest)


def join(folder: str, parts: Sequence[str]) -> None:
    """Puts the frames of further folders, in order, behind those of this one; the folders go.

    Each goes before the next is read, so that the disk holds one of them twice at the most. What
    comes of it is what ``decode_into`` makes of all films at once, to the byte.

    Raises:
      OSError: the disk is full.
    """
    manifest = read_manifest(folder)
    with open(os.path.join(folder, FRAMES), "r+b", buffering=0) as file:
        file.seek(0, os.SEEK_END)
        for part in tqdm.tqdm(parts, desc="joining", unit="film"):
            further = read_manifest(part)
            with open(os.path.join(part, FRAMES), "rb", buffering=0) as frames:
                _append(file, frames)
            shutil.rmtree(part)
            manifest["films"] += further["films"]
            manifest["checksums"] += further["checksums"]
            manifest["shape"][0] += further["shape"][0]
        os.fsync(file.fileno())
    _write_manifest(folder, manifest)


def _append(file: io.FileIO, frames: io.FileIO) -> None:
    """Copies to where a file stands, within the file system where that can."""
    with contextlib.suppress(OSError, AttributeError):
        while os.copy_file_range(frames.fileno(), file.fileno(), 1 << 30):
            pass
    while block := frames.read(BLOCK):  # what is left: all, where it cannot
        _write(file, memoryview(block))


def _write(file: io.FileIO, block: memoryview) -> None:
    while block:
        block = block[file.write(block) :]


def read_manifest(folder: str) -> dict[str, Any]:
    """The manifest in a folder."""
    with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
        return json.load(file)


def _write_manifest(folder: str, manifest: dict[str, Any]) -> None:
    with open(os.path.join(folder, MANIFEST), "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _entry(film: Probe, framing: Framing, decoder: Decoder, loss: str | None) -> dict[str, Any]:
    return {
        **date(film),
        "sha256": sha256(film),
        "stream": film.stream,
        "rate": str(film.rate),
        "first_time": decoder.start,
        "filters": filter_chain(film, framing),
        "count": decoder.decoded,
        "loss": loss,
    }


def date(film: Probe) -> dict[str, Any]:
    """What tells at a glance whether a film may have changed."""
    status = [os.stat(name) for name in film.files]
    return {
        "path": storage.address(film.path),
        "size": sum(file.st_size for file in status),
        "changed": max(file.st_mtime_ns for file in status),
    }


def sha256(film: Probe) -> str:
    """What tells whether it has changed."""
    digest = hashlib.sha256()
    for name in film.files:
        with open(name, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()
