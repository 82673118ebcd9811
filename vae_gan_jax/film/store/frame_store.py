"""Prepared frames in a memory-mapped file, and the numbers of those to learn from."""

import dataclasses
import functools
import hashlib
import json
import logging
import math
import os
import zlib
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.config import FIELDS, InputError, to_text
from vae_gan_jax.config.flag_text import HoldOut, show_ranges
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.store.frames_file import FRAMES, read_manifest, settings_of
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.run import film_names, storage

logger = logging.getLogger(__name__)

MICROSECONDS = 10**6  # in a second
CHECKED_BLOCKS = 4  # blocks whose checksums are compared when a store is opened
DAMAGED = "the frames in {} are damaged: delete the folder, and they will be prepared again."


@dataclasses.dataclass(frozen=True)
class FrameStore:
    """A folder with ``frames.u8``, uint8 ``[T, H, W, C]``, and ``manifest.json``."""

    folder: str
    # Films, settings and checksums of the frames. It replaces a provenance record, which would read
    # gigabytes at every start.
    manifest: dict[str, Any]
    # Ranges (start, end) of every film that are not learnt, seconds; None: the end of the film.
    exclude: tuple[tuple[float, float | None], ...] = ()
    hold_out: HoldOut | None = None  # further frames of every film that are not learnt

    @functools.cached_property
    def frames_THWC(self) -> np.ndarray:
        """Every frame of every film, in order: uint8 RGB, memory-mapped, read-only."""
        shape = tuple(self.manifest["shape"])
        return np.memmap(os.path.join(self.folder, FRAMES), np.uint8, "r", shape=shape)

    @functools.cached_property
    def training_T(self) -> np.ndarray:
        """Ascending numbers of the frames to learn from: neither excluded nor held out."""
        return np.flatnonzero(self._learnt_and_held_out[0])

    @property
    def training_frames(self) -> TrainingFrames:
        """The frames to learn from."""
        return TrainingFrames(self.frames_THWC, self.training_T)

    @functools.cached_property
    def _learnt_and_held_out(self) -> tuple[np.ndarray, np.ndarray]:
        films = self.manifest["films"]
        parts = [learnt_and_held_out(film, self.exclude, self.hold_out) for film in films]
        return tuple(map(np.concatenate, zip(*parts, strict=True)))

    def require_frames(self) -> None:
        """Raises InputError if no frame is left to learn, or ``hold_out`` holds out none."""
        learnt_T, held_out_T = self._learnt_and_held_out
        flags = "--exclude and --hold_out leave" if self.hold_out else "--exclude leaves"
        if not learnt_T.any():
            raise InputError(f"{flags} no frame to learn from: leave out less.")
        if self.hold_out and not held_out_T.any():
            raise InputError(
                f"--hold_out={to_text(FIELDS['hold_out'], self.hold_out)} holds out no frame of "
                "the film: give a shorter period."
            )

    def warn_of_empty_exclusions(self) -> None:
        """Warns of each range of ``exclude`` that has no frame."""
        for entry in self.exclude:
            parts = [learnt_and_held_out(film, [entry], None)[0] for film in self.manifest["films"]]
            if all(map(np.all, parts)):
                logger.warning("--exclude=%s excludes no frame.", show_ranges((entry,)))

    @property
    def digest(self) -> int:
        """A 32-bit checksum of all frames, their order and their shots."""
        shots = [film["shots"] for film in self.manifest["films"]]
        content = json.dumps([self.manifest["shape"], self.manifest["checksums"], shots])
        return zlib.crc32(content.encode())

    def verify(self, blocks: int | None = None) -> None:
        """Compares all frames, or ``blocks`` blocks spread over the store, with their checksums.

        Raises InputError if they differ.
        """
        checksums, size = self.manifest["checksums"], int(np.prod(self.manifest["shape"][1:]))
        ends = np.cumsum([count for count, _ in checksums])
        spread = np.linspace(0, len(checksums) - 1, blocks or len(checksums))
        with open(os.path.join(self.folder, FRAMES), "rb") as file:
            for block in np.unique(spread.astype(int)):
                count, checksum = checksums[block]
                file.seek(int(ends[block] - count) * size)
                if zlib.crc32(file.read(count * size)) != checksum:
                    raise InputError(DAMAGED.format(self.folder))


def learnt_and_held_out(
    film: dict[str, Any], exclude: Sequence[tuple[float, float | None]], hold_out: HoldOut | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which frames of a film are learnt, and which are held out: booleans ``[T]`` each.

    ``film`` is the film's entry in the manifest. Excluded frames are neither.
    """
    number_T = np.arange(film["count"])
    time_T = film["first_time"] + number_T / float(Fraction(film["rate"]))
    excluded_T, held_out_T = np.zeros((2, film["count"]), bool)
    for start, end in exclude:
        excluded_T |= (time_T >= start) & (time_T < (math.inf if end is None else end))
    if hold_out and hold_out.unit == "shots":
        shot_T = np.searchsorted(film["shots"], number_T, side="right") - 1
        held_out_T = shot_T % hold_out.period >= hold_out.period - hold_out.length
    elif hold_out:
        time_T, length, period = (  # integers, so that no rounding moves a boundary
            np.rint(np.multiply(seconds, MICROSECONDS)).astype(np.int64)
            for seconds in (time_T, hold_out.length, hold_out.period)
        )
        held_out_T = time_T % period >= period - length
    return ~(excluded_T | held_out_T), held_out_T & ~excluded_T


def open_store(
    folder: str | os.PathLike,
    exclude: Sequence[tuple[float, float | None]] = (),
    hold_out: HoldOut | None = None,
) -> FrameStore:
    """Opens a prepared store and compares some of its frames with their checksums.

    Raises InputError if there is no store, it is damaged, or as ``require_frames`` does.
    """
    folder = os.fspath(folder)
    try:
        manifest = read_manifest(folder)
        size = os.path.getsize(os.path.join(folder, FRAMES))
    except FileNotFoundError:
        raise InputError(
            f"there are no prepared frames in {folder}: prepare them, with --mode=prepare."
        ) from None
    except (OSError, ValueError):
        raise InputError(DAMAGED.format(folder)) from None
    if size != np.prod(manifest["shape"]):
        raise InputError(DAMAGED.format(folder))
    store = FrameStore(folder, manifest, tuple(exclude), hold_out)
    store.verify(CHECKED_BLOCKS)
    store.require_frames()
    return store


def name_for(films: Sequence[str | os.PathLike], framing: Framing) -> str:
    """A folder name unique to these films and this framing."""
    request = [[storage.address(film) for film in films], settings_of(framing)]
    digest = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    stem = os.path.splitext(os.path.basename(os.path.abspath(films[0])))[0]
    stem = film_names.fitting_name(stem)
    return f"{stem}_{framing.width}x{framing.height}_{digest[:12]}"
