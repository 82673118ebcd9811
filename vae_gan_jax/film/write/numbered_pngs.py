"""Reconstructed frames as a folder of numbered PNGs."""

import re
import shutil
from pathlib import Path

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io

NAME = "{:08d}.png"


class NumberedPngs:
    """Frames as PNGs numbered from 1 in a folder that appears whole; a context manager.

    Unfinished, it is called ``folder.partial`` and is continued if made from the same. An earlier
    reconstruction's folder is replaced; one that holds anything else is refused.

    Args:
      folder: where they go; with "" nothing is written.
      made_from: what they are made from.
      stretch: numbers of the frames, from 0, that are written here, where several processes share a
        film: the folder gets its name from the NumberedPngs without a stretch that comes after them.

    Raises:
      InputError: the folder holds something else, or cannot be made.
    """

    def __init__(self, folder: str, made_from: str, stretch: range | None = None):
        self.frames = stretch.start if stretch else 0  # the next one's number
        self._shared = stretch is not None
        self._folder = Path(folder) if folder else None
        if self._folder is None:
            return
        if self._folder.exists() and not _holds_stills_alone(self._folder):
            raise InputError(f"--frames_out={folder} holds other files: give a new folder.")
        self._unfinished = self._folder.with_name(self._folder.name + ".partial")
        label = self._unfinished / "made_from.json"
        if not label.exists() or label.read_text() != made_from:
            if stretch and stretch.start:
                raise InputError(
                    f"{self._unfinished} was not made by the first process: give all processes the "
                    "same flags, and for --frames_out a folder that they share."
                )
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir(parents=True)
            label.write_text(made_from)
        end = None if stretch is None else stretch.stop
        while self.frames != end and self._still(self.frames + 1).exists():
            self.frames += 1

    def _still(self, number: int) -> Path:
        return self._unfinished / NAME.format(number)

    def go_back(self, frames: int) -> None:
        """Before writing: forgets all after ``frames``, where a film beside them stands."""
        self.frames = frames
        if self._folder is not None and not self._shared:
            for still in self._unfinished.glob("*.png"):
                if int(still.stem) > frames:
                    still.unlink()

    def write(self, frames_BHWC: np.ndarray) -> None:
        """Writes the next frames."""
        for frame_HWC in frames_BHWC if self._folder else ():
            self.frames += 1
            atomic_io.write(self._still(self.frames), atomic_io.png(frame_HWC))

    def __enter__(self):
        return self

    def __exit__(self, exception, *_):
        if self._folder is None or self._shared:
            return
        if exception is not None:
            if not self.frames:
                shutil.rmtree(self._unfinished, ignore_errors=True)
            return
        (self._unfinished / "made_from.json").unlink()
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._unfinished.rename(self._folder)


def _holds_stills_alone(folder: Path) -> bool:
    return folder.is_dir() and all(
        re.fullmatch(r"\d{8}\.png", item.name) for item in folder.iterdir()
    )
