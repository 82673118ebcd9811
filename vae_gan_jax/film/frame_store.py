"""The frames of films as one memory-mapped file, with a manifest that says where they came from."""

import contextlib
import dataclasses
import fcntl
import functools
import hashlib
import json
import os
import shutil
import zlib
from bisect import bisect_left
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import tqdm

from vae_gan_jax.config import InputError
from vae_gan_jax.film.batches import Stretches, prefetch
from vae_gan_jax.film.framing import Framing, filter_chain
from vae_gan_jax.film.probe import Probe, probe
from vae_gan_jax.film.video import Decoder, expected_frames, tell_loss

VERSION = 1  # of the layout below; another one is prepared anew
BLOCK = 8 << 20  # bytes of a film read at a time for its checksum
SPARE = 64 << 20  # bytes of disk left to others
FRAMES, MANIFEST = "frames.u8", "manifest.json"


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
    def training_T(self) -> Stretches:
        """Numbers of the frames to learn from, ascending: all but the excluded ones."""
        bounds = []
        for film in self.films:
            first, end = film.start, film.start + film.count
            for excluded_from, excluded_to in sorted(map(film.numbers, self.exclude)):
                bounds.append((first, excluded_from))
                first = max(first, excluded_to)
            bounds.append((first, end))
        return Stretches(bounds)

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
        with open(os.path.join(folder, MANIFEST), encoding="utf-8") as file:
            manifest = json.load(file)
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


def prepare(
    films: Sequence[str | os.PathLike],
    folder: str | os.PathLike,
    framing: Framing,
    exclude: Sequence[tuple[float, float | None]] = (),
    *,
    strict: bool = False,
) -> FrameStore:
    """Decodes films into a store, or opens the one in ``folder`` that was made from the same.

    The store appears whole or not at all; an unfinished one is called ``folder.partial``.

    Args:
      films: their paths, in order.
      folder: of the store; made if needed, replaced if it holds other frames.
      framing: what of each film becomes frames.
      exclude: stretches of every film to leave out of ``training_T``, see FrameStore.
      strict: refuse damaged films.

    Raises:
      InputError: a film cannot be used, or the disk is too small.
    """
    if isinstance(films, str | os.PathLike) or not films:
        raise ValueError("films must be a sequence of one path or more")
    folder = os.fspath(folder)
    settings = _settings(framing)
    probes = [probe(film, framing.video_stream, framing.fps) for film in films]
    with _alone_beside(folder):
        with contextlib.suppress(InputError):
            store = open_store(folder, exclude)
            if _agrees(store.manifest, settings, probes):
                return store
        _require_room(folder, sum(_bytes(film, framing) for film in probes))
        unfinished = folder.rstrip(os.sep) + ".partial"
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            os.makedirs(unfinished)
            _decode_into(unfinished, settings, probes, framing, strict)
            _publish(unfinished, folder)
        except OSError as error:
            raise InputError(
                f"the frames cannot be kept in {folder} ({error.strerror}): "
                "make room or give another folder."
            ) from None
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return open_store(folder, exclude)


def name_for(films: Sequence[str | os.PathLike], framing: Framing) -> str:
    """A folder's name for the frames of these films under these settings, among those of others."""
    asked = [[os.path.abspath(film) for film in films], _settings(framing)]
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()
    stem = os.path.splitext(os.path.basename(os.path.abspath(films[0])))[0]
    return f"{stem}_{framing.width}x{framing.height}_{digest[:12]}"


@contextlib.contextmanager
def _alone_beside(folder: str):
    """Keeps other processes from preparing frames beside these at the same time: they wait."""
    beside = os.path.dirname(os.path.abspath(folder))
    os.makedirs(beside, exist_ok=True)
    held = os.open(beside, os.O_RDONLY)  # the folder is its own lock, so that none is left behind
    try:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def _settings(framing: Framing) -> dict[str, Any]:
    fps = None if framing.fps is None else str(framing.fps)
    return dataclasses.asdict(framing) | {"fps": fps}


def _bytes(film: Probe, framing: Framing) -> int:
    return (expected_frames(film, framing) or 0) * framing.height * framing.width * 3


def _agrees(manifest: dict[str, Any], settings: dict[str, Any], probes: Sequence[Probe]) -> bool:
    """Whether the manifest is of these films, by their contents, under these settings."""
    return manifest["settings"] == settings and same_films(manifest["films"], probes)


def same_films(entries: Sequence[dict[str, Any]], probes: Sequence[Probe]) -> bool:
    """Whether films are those of which a manifest has these entries, by their contents."""
    return len(entries) == len(probes) and all(map(_same_film, entries, probes))


def _same_film(entry: dict[str, Any], film: Probe) -> bool:
    dated = _date(film)
    if entry["size"] != dated["size"] or entry["stream"] != film.stream:
        return False
    return all(entry[key] == dated[key] for key in dated) or entry["sha256"] == _sha256(film)


def _date(film: Probe) -> dict[str, Any]:
    """What tells at a glance whether a film may have changed."""
    status = [os.stat(name) for name in film.files]
    return {
        "path": os.path.abspath(film.path),
        "size": sum(file.st_size for file in status),
        "changed": max(file.st_mtime_ns for file in status),
    }


def _sha256(film: Probe) -> str:
    digest = hashlib.sha256()
    for name in film.files:
        with open(name, "rb") as file:
            while block := file.read(BLOCK):
                digest.update(block)
    return digest.hexdigest()


def _require_room(folder: str, needed: int) -> None:
    place = os.path.abspath(folder)
    while not os.path.exists(place):
        place = os.path.dirname(place)
    free = shutil.disk_usage(place).free
    if needed + SPARE > free:
        raise InputError(
            f"the frames need {_size(needed)}, {_size(SPARE)} should stay free, and {place} has "
            f"{_size(free)}: make room, give another folder or a shorter range."
        )


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _decode_into(
    folder: str,
    settings: dict[str, Any],
    probes: Sequence[Probe],
    framing: Framing,
    strict: bool,
) -> None:
    """Writes ``frames.u8`` and, after it is on the disk, the manifest."""
    expected = [expected_frames(film, framing) for film in probes]
    total = None if None in expected else sum(expected)
    films, checksums = [], []
    with (
        open(os.path.join(folder, FRAMES), "wb", buffering=0) as file,
        tqdm.tqdm(total=total, desc="frames", unit="frame", mininterval=0.5) as progress,
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
                    while block:
                        block = block[file.write(block) :]
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
    with open(os.path.join(folder, MANIFEST), "w", encoding="utf-8") as file:
        json.dump(manifest, file, indent=1)
        file.flush()
        os.fsync(file.fileno())


def _entry(film: Probe, framing: Framing, decoder: Decoder, loss: str | None) -> dict[str, Any]:
    return {
        **_date(film),
        "sha256": _sha256(film),
        "stream": film.stream,
        "rate": str(film.rate),
        "first_time": decoder.start,
        "filters": filter_chain(film, framing),
        "count": decoder.decoded,
        "loss": loss,
    }


def _publish(unfinished: str, folder: str) -> None:
    """Gives the finished folder its name; what had it before goes."""
    former = folder.rstrip(os.sep) + ".former"
    shutil.rmtree(former, ignore_errors=True)
    if os.path.exists(folder):
        os.rename(folder, former)
    os.rename(unfinished, folder)
    shutil.rmtree(former, ignore_errors=True)
