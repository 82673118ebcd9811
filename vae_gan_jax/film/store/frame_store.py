"""The frames of films as one memory-mapped file, with a manifest that says where they came from."""

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
from vae_gan_jax.film.read.probe import Probe
from vae_gan_jax.film.store.frames_file import FRAMES, VERSION, date, read_manifest, sha256
from vae_gan_jax.film.store.training_frames import FrameRanges
from vae_gan_jax.run import storage


@dataclasses.dataclass(frozen=True)
class Segment:
    """The frames of one film within a store: ``count`` of them from number ``start`` on."""

    path: str
    start: int
    count: int
    rate: Fraction
    first_time: float  # when its first frame is shown, seconds of the film's clock

    def numbers(self, stretch: tuple[float, float | None]) -> tuple[int, int]:
        """First number of a stretch in seconds, and the one after its last; ``None``: the end."""

        def seconds(frame: int) -> float:
            return self.first_time + frame / float(self.rate)

        first, last = (
            self.count if time is None else bisect_left(range(self.count), time, key=seconds)
            for time in stretch
        )
        return self.start + first, self.start + last


@dataclasses.dataclass(frozen=True)
class FrameStore:
    """Prepared frames: a folder with ``frames.u8``, uint8 [T, H, W, C], and ``manifest.json``.

    ``exclude`` are stretches in seconds, (start, end) with end None for a film's own; their frames
    are in the store, so that a film comes out whole, and only missing from ``training_T``.
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
    def films(self) -> tuple[Segment, ...]:
        """What came from which film; reconstructing, no order crosses from one to another."""
        segments, start = [], 0
        for film in self.manifest["films"]:
            segments.append(
                Segment(
                    film["path"], start, film["count"], Fraction(film["rate"]), film["first_time"]
                )
            )
            start += film["count"]
        return tuple(segments)

    @property
    def film(self) -> str:
        """Path of the first film."""
        return self.films[0].path

    @property
    def rate(self) -> Fraction:
        """Frames a second of the first film."""
        return self.films[0].rate

    @functools.cached_property
    def training_T(self) -> FrameRanges:
        """Numbers of the frames to learn from, ascending: all but the excluded ones."""
        bounds = []
        for film in self.films:
            first, end = film.start, film.start + film.count
            for excluded_from, excluded_to in sorted(map(film.numbers, self.exclude)):
                bounds.append((first, excluded_from))
                first = max(first, excluded_to)
            bounds.append((first, end))
        return FrameRanges(bounds)

    @property
    def digest(self) -> int:
        """A checksum of all frames and their order, 32 bits."""
        told = json.dumps([self.manifest["shape"], self.manifest["checksums"]])
        return zlib.crc32(told.encode())

    def verify(self, blocks: int | None = None) -> None:
        """Compares the frames with their checksums: all, or some ``blocks`` spread over the store.

        Raises:
          InputError: they differ, or the file is short.
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
                    raise InputError(
                        f"the frames in {self.folder} are damaged: delete the folder, "
                        "they will be prepared again."
                    )


def open_store(
    folder: str | os.PathLike, exclude: Sequence[tuple[float, float | None]] = ()
) -> FrameStore:
    """A prepared store; some of its frames are compared with their checksums.

    Args:
      folder: where it is.
      exclude: stretches to leave out of ``training_T``, see FrameStore.

    Raises:
      InputError: there is none, it is damaged, or ``exclude`` leaves nothing to learn from.
    """
    folder = os.fspath(folder)
    damaged = f"the frames in {folder} are damaged: delete the folder, they will be prepared again."
    try:
        manifest = read_manifest(folder)
        size = os.path.getsize(os.path.join(folder, FRAMES))
    except FileNotFoundError:
        raise InputError(f"there are no prepared frames in {folder}: prepare a film.") from None
    except (OSError, ValueError):
        raise InputError(damaged) from None
    if manifest.get("version") != VERSION:
        raise InputError(f"the frames in {folder} are of another version: prepare the film again.")
    if size != np.prod(manifest["shape"]):
        raise InputError(damaged)
    store = FrameStore(folder, manifest, tuple(exclude))
    store.verify(blocks=4)
    if not len(store.training_T):
        raise InputError("--exclude leaves no frame to learn from: leave out less.")
    return store


def name_for(films: Sequence[str | os.PathLike], framing: Framing) -> str:
    """A folder's name for the frames of these films under these settings, among those of others."""
    asked = [[storage.address(film) for film in films], settings_of(framing)]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    stem = os.path.splitext(os.path.basename(os.path.abspath(films[0])))[0]
    return f"{stem}_{framing.width}x{framing.height}_{digest[:12]}"


def settings_of(framing: Framing) -> dict[str, Any]:
    """The framing as the manifest has it."""
    fps = None if framing.fps is None else str(framing.fps)
    return dataclasses.asdict(framing) | {"fps": fps}


def same_films(entries: Sequence[dict[str, Any]], probes: Sequence[Probe]) -> bool:
    """Whether films are those of which a manifest has these entries, by their contents."""
    return len(entries) == len(probes) and all(map(_same_film, entries, probes))


def _same_film(entry: dict[str, Any], film: Probe) -> bool:
    dated = date(film)
    if entry["size"] != dated["size"] or entry["stream"] != film.stream:
        return False
    return all(entry[key] == dated[key] for key in dated) or entry["sha256"] == sha256(film)
