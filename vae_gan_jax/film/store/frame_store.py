"""Prepared frames in a memory-mapped file, and the numbers of those to learn from."""

import dataclasses
import functools
import hashlib
import json
import os
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.store.frames_file import FRAMES, read_manifest, settings_of
from vae_gan_jax.film.store.training_frames import FrameRanges
from vae_gan_jax.run import film_names, storage

CHECKED_BLOCKS = 4  # blocks whose checksums are compared when a store is opened
DAMAGED = "the frames in {} are damaged: delete the folder, and they will be prepared again."


@dataclasses.dataclass(frozen=True)
class FrameStore:
    """A folder with ``frames.u8``, uint8 ``[T, H, W, C]``, and ``manifest.json``.

    Attributes:
      folder: path of the folder.
      manifest: films, settings and checksums of the frames. It replaces a provenance record, which
        would read gigabytes at every start.
      exclude: ranges ``(start, end)`` of every film that ``training_T`` leaves out, seconds; None
        is the end of the film.
    """

    folder: str
    manifest: dict[str, Any]
    exclude: tuple[tuple[float, float | None], ...] = ()

    @functools.cached_property
    def frames_THWC(self) -> np.ndarray:
        """Every frame of every film, in order: uint8 RGB, memory-mapped, read-only."""
        shape = tuple(self.manifest["shape"])
        return np.memmap(os.path.join(self.folder, FRAMES), np.uint8, "r", shape=shape)

    @functools.cached_property
    def training_T(self) -> FrameRanges:
        """Ascending numbers of the frames to learn from: all but the excluded ones."""
        bounds, start = [], 0
        for film in self.manifest["films"]:
            first = start
            ranges = ([start + _frame_at(film, time) for time in times] for times in self.exclude)
            for excluded_first, excluded_stop in sorted(ranges):
                bounds.append((first, excluded_first))
                first = max(first, excluded_stop)
            start += film["count"]
            bounds.append((first, start))
        return FrameRanges(bounds)

    @property
    def digest(self) -> int:
        """A 32-bit checksum of all frames and their order."""
        content = json.dumps([self.manifest["shape"], self.manifest["checksums"]])
        return zlib.crc32(content.encode())

    def verify(self, blocks: int | None = None) -> None:
        """Compares all frames, or ``blocks`` blocks spread over the store, with their checksums.

        Raises:
          InputError: they differ.
        """
        checksums, size = self.manifest["checksums"], int(np.prod(self.manifest["shape"][1:]))
        ends = np.cumsum([count for count, _ in checksums])
        chosen = range(len(checksums))
        if blocks is not None and blocks < len(checksums):
            chosen = np.unique(np.linspace(0, len(checksums) - 1, blocks).astype(int))
        with open(os.path.join(self.folder, FRAMES), "rb") as file:
            for block in chosen:
                count, checksum = checksums[block]
                file.seek(int(ends[block] - count) * size)
                if zlib.crc32(file.read(count * size)) != checksum:
                    raise InputError(DAMAGED.format(self.folder))


def _frame_at(film: dict[str, Any], time: float | None) -> int:
    """Number of the film's first frame shown at ``time`` or later; None is the end."""
    if time is None:
        return film["count"]
    rate, first_time = float(Fraction(film["rate"])), film["first_time"]
    return bisect_left(range(film["count"]), time, key=lambda frame: first_time + frame / rate)


def open_store(
    folder: str | os.PathLike, exclude: Sequence[tuple[float, float | None]] = ()
) -> FrameStore:
    """Opens a prepared store and compares some of its frames with their checksums.

    Raises:
      InputError: there is no store, it is damaged, or ``exclude`` leaves nothing to learn from.
    """
    folder = os.fspath(folder)
    try:
        manifest = read_manifest(folder)
        size = os.path.getsize(os.path.join(folder, FRAMES))
    except FileNotFoundError:
        raise InputError(f"there are no prepared frames in {folder}: prepare a film.") from None
    except (OSError, ValueError):
        raise InputError(DAMAGED.format(folder)) from None
    if size != np.prod(manifest["shape"]):
        raise InputError(DAMAGED.format(folder))
    store = FrameStore(folder, manifest, tuple(exclude))
    store.verify(CHECKED_BLOCKS)
    if not len(store.training_T):
        raise InputError("--exclude leaves no frame to learn from: leave out less.")
    return store


def name_for(films: Sequence[str | os.PathLike], framing: Framing) -> str:
    """A folder name unique to these films and this framing."""
    request = [[storage.address(film) for film in films], settings_of(framing)]
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    stem = os.path.splitext(os.path.basename(os.path.abspath(films[0])))[0]
    stem = film_names.fitting_name(stem)
    return f"{stem}_{framing.width}x{framing.height}_{digest[:12]}"
