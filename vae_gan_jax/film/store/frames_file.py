"""Writes and reads the two files of a frame store: the frames and their manifest."""

import contextlib
import json
import os
import shutil
import zlib
from collections.abc import Sequence
from typing import Any

import tqdm

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.framing import Framing, filter_chain, section
from vae_gan_jax.film.read.probe import Probe
from vae_gan_jax.film.read.video import Decoder, report_loss
from vae_gan_jax.film.shots import ShotFinder
from vae_gan_jax.film.store.batches import prefetch
from vae_gan_jax.run import atomic_io, film_names, provenance, storage
from vae_gan_jax.run.damaged_json import DAMAGE, is_whole

VERSION = 2  # of the manifest's layout
COPY_BYTES = 8 << 20  # copied at a time
FRAMES, MANIFEST = "frames.u8", "manifest.json"


def decode_into(
    folder: str, probes: Sequence[Probe], framing: Framing, strict: bool, show_progress: bool = True
) -> None:
    """Decodes films, in order, into ``frames.u8``, then writes the manifest.

    The folder is created if its parent exists. Raises InputError if a film cannot be used, or is
    damaged while ``strict``; and OSError if a file cannot be written.
    """
    total = sum(section(film, framing).count for film in probes)
    films, checksums = [], []
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder)
    with (
        open(os.path.join(folder, FRAMES), "wb") as file,
        tqdm.tqdm(
            total=total, desc="frames", unit="frame", mininterval=0.5, disable=not show_progress
        ) as progress,
    ):
        for film in probes:
            finder, status = ShotFinder(), _file_status(film)
            # ffmpeg decodes in the prefetching thread while a block is written.
            with (
                Decoder(film, framing) as decoder,
                contextlib.closing(prefetch(decoder.blocks())) as blocks,
            ):
                for frames_BHWC in blocks:
                    block = memoryview(frames_BHWC).cast("B")
                    checksums.append((len(frames_BHWC), zlib.crc32(block)))
                    file.write(block)
                    finder.add(frames_BHWC)
                    progress.update(len(frames_BHWC))
                loss = report_loss(decoder, strict)
            if _file_status(film) != status:
                raise InputError(
                    f"{film.path} changed while it was read: wait until it is complete, then give "
                    "the same command again."
                )
            entry = _entry(film, framing, decoder, loss)
            films.append(entry | {"shots": [shot.first for shot in finder.shots()]})
        file.flush()
        os.fsync(file.fileno())
    count = sum(film["count"] for film in films)
    manifest = {
        "version": VERSION,
        "settings": settings_of(framing),
        "shape": [count, framing.height, framing.width, 3],
        "films": films,
        "checksums": checksums,  # [frames, crc32] of each block, in order
    }
    atomic_io.write(os.path.join(folder, MANIFEST), json.dumps(manifest, indent=1))


def join(folder: str, others: Sequence[str]) -> None:
    """Appends the frames of other folders to those of this one and removes the other folders.

    Each is removed before the next is read, so that the disk holds at most one of them twice. The
    result equals, byte for byte, that of one ``decode_into`` for all films. Raises OSError if the
    disk is full.
    """
    manifest = read_manifest(folder)
    with open(os.path.join(folder, FRAMES), "ab") as file:
        for other in tqdm.tqdm(others, desc="joining", unit="film"):
            appended = read_manifest(other)
            with open(os.path.join(other, FRAMES), "rb") as frames:
                shutil.copyfileobj(frames, file, COPY_BYTES)
            shutil.rmtree(other)
            manifest["films"] += appended["films"]
            manifest["checksums"] += appended["checksums"]
            manifest["shape"][0] += appended["shape"][0]
        file.flush()
        os.fsync(file.fileno())
    atomic_io.write(os.path.join(folder, MANIFEST), json.dumps(manifest, indent=1))


def read_manifest(folder: str) -> dict[str, Any]:
    """The manifest in a folder.

    Raises OSError or ValueError if it is missing, damaged, or of another version.
    """
    with open(os.path.join(folder, MANIFEST), "rb") as file:
        content = file.read()
    try:
        manifest = json.loads(content)
        shape, lengths = manifest["shape"], [film["count"] for film in manifest["films"]]
        blocks, checksums = zip(*manifest["checksums"], strict=True)
        valid = manifest["version"] == VERSION and isinstance(manifest["settings"], dict)
        valid &= all(map(film_names.is_entry, manifest["films"]))
        valid &= all(map(is_whole, (*shape, *blocks, *checksums)))
        valid &= len(shape) == 4 and min(*shape, *blocks) > 0
        valid &= sum(lengths) == sum(blocks) == shape[0]
    except DAMAGE:
        valid = False
    if not valid:
        raise ValueError(f"this is not a manifest of version {VERSION}")
    return manifest


def settings_of(framing: Framing) -> dict[str, Any]:
    """A framing as JSON."""
    fps = None if framing.fps is None else str(framing.fps)
    return vars(framing) | {"fps": fps}


def _entry(film: Probe, framing: Framing, decoder: Decoder, loss: str | None) -> dict[str, Any]:
    return {
        **_file_status(film),
        "sha256": provenance.film_checksum(film.files),
        "stream": film.stream,
        "rate": str(film.rate),
        "first_time": decoder.start,
        "filters": filter_chain(film, framing),
        "count": decoder.decoded,
        "loss": loss,
    }


def _file_status(film: Probe) -> dict[str, Any]:
    """Path, size in bytes and modification time; a film is unchanged if these are equal."""
    status = [os.stat(name) for name in film.files]
    return {
        "path": storage.address(film.path),
        "size": sum(file.st_size for file in status),
        "changed": max(file.st_mtime_ns for file in status),
    }


def same_films(entries: Sequence[dict[str, Any]], probes: Sequence[Probe]) -> bool:
    """Whether a manifest's entries describe these films, judged by their content."""
    return len(entries) == len(probes) and all(map(_same_film, entries, probes))


def _same_film(entry: dict[str, Any], film: Probe) -> bool:
    status = _file_status(film)
    if entry.get("size") != status["size"] or entry.get("stream") != film.stream:
        return False
    if all(entry.get(key) == status[key] for key in status):
        return True
    return entry.get("sha256") == provenance.film_checksum(film.files)
