"""Reconstructed frames as a folder of numbered PNGs."""

import contextlib
import os
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io, disk_errors, provenance

NAME = "{:08d}.png"


class NumberedPngs(contextlib.AbstractContextManager):
    """Writes frames as PNGs numbered from 1 into a folder that appears whole; a context manager.

    An unfinished ``folder.partial`` is resumed if it was made from the same ``made_from``, which is
    JSON. A folder of earlier PNGs is replaced. ``frames`` is the number of the next frame to write,
    from 0. Processes may share the folder: each writes its ``frame_range``, and afterwards a
    NumberedPngs without a range publishes the folder. Raises InputError if the folder holds other
    files, or cannot be written.
    """

    def __init__(self, folder: str, made_from: Any, frame_range: range | None = None):
        self.frames = frame_range.start if frame_range else 0
        self._shared = frame_range is not None
        self._folder = Path(folder).resolve()  # of a link, the folder that it leads to
        if self._folder.exists() and not _holds_only_pngs(self._folder):
            raise InputError(f"--frames_out={folder} holds other files: give a new folder.")
        self._unfinished = atomic_io.beside(self._folder, ".partial", prefix="")
        self._problem = f"--frames_out={folder} cannot be written"
        with disk_errors.readable(self._problem):
            provenance.open_unfinished(self._unfinished, made_from, is_first=not self.frames)
        stop = None if frame_range is None else frame_range.stop
        while self.frames != stop and self._png(self.frames + 1).exists():
            self.frames += 1

    def _png(self, number: int) -> Path:
        return self._unfinished / NAME.format(number)

    def truncate(self, frames: int) -> None:
        """Before writing: removes all PNGs after the first ``frames``."""
        self.frames = frames
        if not self._shared:
            for path in self._unfinished.glob("*.png"):
                if int(path.stem) > frames:
                    path.unlink()

    def write(self, frames_BHWC: np.ndarray) -> None:
        """Writes the next frames, uint8 ``[B, H, W, 3]``."""
        with disk_errors.readable(self._problem):
            for frame_HWC in frames_BHWC:
                self.frames += 1
                path = self._png(self.frames)
                partial = path.with_suffix(".partial")
                partial.write_bytes(atomic_io.png(frame_HWC))
                os.replace(partial, path)

    def __exit__(self, exception, *_):
        if self._shared:
            return
        if exception is not None:
            if not self.frames:
                shutil.rmtree(self._unfinished, ignore_errors=True)
            return
        (self._unfinished / provenance.LABEL).unlink()
        atomic_io.publish_folder(self._unfinished, self._folder)


def _holds_only_pngs(folder: Path) -> bool:
    return folder.is_dir() and all(
        re.fullmatch(r"\d{8}\.png", item.name) for item in folder.iterdir()
    )
