"""The picture of a film encoded in parts, so that it can be gone on with and shared out."""

import contextlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg

SEGMENT_FRAMES = 1000  # frames between which an interrupted film can go on, and processes share it
LAST = "last"  # name of the short part at the end
LABEL = "made_from.json"
OUT_OF_STEP = "out_of_step"  # a file; its being there says it


class Segments:
    """A film's picture in files of ``SEGMENT_FRAMES`` frames, in a hidden folder beside the film.

    A part's number is that of its frames by ``SEGMENT_FRAMES``; one that is not whole has none. They stay
    there until ``remove``.

    Args:
      path: the film that they are for.
      arguments: ffmpeg's, from raw frames on stdin to the encoded picture.
      made_from: what the film is made from. Segments of a film made from something else are removed.
        Without it there is one part, however long.
      stretch: numbers of the frames that are written here, by ``SEGMENT_FRAMES`` both ends, where several
        processes share a film; the other parts are left alone. The process that has the first
        frame must come before the others: it makes the folder.

    Attributes:
      frames: how many whole parts hold, and then those written; of a stretch, counted from the
        film's first.
      out_of_step: whether frames are missing in the source, so that the parts after them hold later
        ones than their numbers say.

    Raises:
      InputError: the folder cannot be made, or is not there.
    """

    def __init__(
        self,
        path: str,
        arguments: Sequence[str],
        made_from: str | None = None,
        stretch: range | None = None,
    ):
        self.frames = stretch.start if stretch else 0
        self._path, self._arguments = path, arguments
        self._single, self._stretch = made_from is None, stretch
        folder, name = os.path.split(path)
        stem, self._extension = os.path.splitext(name)
        self._folder = os.path.join(folder, f".{stem}.parts")
        self._process = None
        label = {"from": made_from, "encoding": arguments}
        try:
            if self._single or not self._has_label(label):
                self._make_folder(label)
        except OSError as error:
            raise InputError(f"{path} cannot be written ({error.strerror}).") from None
        self.out_of_step = os.path.exists(os.path.join(self._folder, OUT_OF_STEP))
        end = None if stretch is None else stretch.stop
        while self.frames != end:
            if not os.path.exists(self._part(self.frames // SEGMENT_FRAMES)):
                break
            self.frames += SEGMENT_FRAMES

    def _has_label(self, label: dict) -> bool:
        try:
            with open(os.path.join(self._folder, LABEL), encoding="utf-8") as file:
                return json.load(file) == label
        except (OSError, ValueError):
            return False

    def _make_folder(self, label: dict) -> None:
        if self._stretch and self._stretch.start:
            raise InputError(
                f"{self._folder} was not made by the first process: give all processes the same "
                "flags, and a folder for the film that they share."
            )
        shutil.rmtree(self._folder, ignore_errors=True)
        os.mkdir(self._folder)
        with open(os.path.join(self._folder, LABEL), "w", encoding="utf-8") as file:
            json.dump(label, file)

    def _part(self, name: int | str) -> str:
        return os.path.join(self._folder, f"{name}{self._extension}")

    def go_back(self, frames: int) -> None:
        """Before writing: forgets all parts after ``frames``, where a film beside it stands."""
        if frames % SEGMENT_FRAMES or frames > self.frames or self._process is not None:
            raise ValueError(f"cannot go back from {self.frames} frames to {frames}")
        self.frames = frames
        if self._stretch is None:
            kept = {
                os.path.basename(self._part(number)) for number in range(frames // SEGMENT_FRAMES)
            }
            for name in set(os.listdir(self._folder)) - kept - {LABEL, OUT_OF_STEP}:
                os.remove(os.path.join(self._folder, name))

    def set_out_of_step(self) -> None:
        """Notes, for later attempts too, that frames are missing in the source before the next."""
        if not self.out_of_step:
            self.out_of_step = True
            with open(os.path.join(self._folder, OUT_OF_STEP), "w"):
                pass

    def write(self, frames_BHWC: np.ndarray) -> None:
        """Appends uint8 RGB frames [B, H, W, 3].

        Raises:
          InputError: ffmpeg has given up; the sentence says why.
        """
        while len(frames_BHWC):
            room = (
                len(frames_BHWC) if self._single else SEGMENT_FRAMES - self.frames % SEGMENT_FRAMES
            )
            self._write(frames_BHWC[:room])
            if not self._single and self.frames % SEGMENT_FRAMES == 0:
                self._end_part()
            frames_BHWC = frames_BHWC[room:]

    def _write(self, frames_BHWC: np.ndarray) -> None:
        if self._process is None:
            self._process = ffmpeg.Process(
                *(ffmpeg.QUIET, self._arguments, [ffmpeg.url(self._unfinished)]),
                stdin=subprocess.PIPE,
            )
        block = memoryview(np.ascontiguousarray(frames_BHWC)).cast("B")
        try:
            while block:
                block = block[self._process.stdin.write(block) :]
        except OSError:  # ffmpeg has closed the pipe: its own words say why
            finish(self._process, self._path)
            raise InputError(f"{self._path} cannot be written: ffmpeg stopped early.") from None
        self.frames += len(frames_BHWC)

    @property
    def _unfinished(self) -> str:
        """Of this process's own: others write parts into the same folder."""
        return self._part(f"unfinished_from_{self._stretch.start if self._stretch else 0}")

    def _end_part(self) -> None:
        """Closes the part being written and gives it its name."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        finish(self._process, self._path)
        self._process = None
        os.replace(self._unfinished, self._part(self._names()[-1]))

    def _names(self) -> list[int | str]:
        """What the parts of the frames so far are called.

        A short last one has no number: interrupted before the film is put together, it does not
        count as a whole one.
        """
        if self._single:
            return [LAST]
        whole, rest = divmod(self.frames, SEGMENT_FRAMES)
        return [*range(whole), *([LAST] if rest else [])]

    def list(self, rate: Fraction) -> str:
        """Ends the last part; writes the list by which ffmpeg puts all one after another.

        Args:
          rate: frames a second.

        Returns:
          The list's path.
        """
        if self._process is not None:
            self._end_part()
        lines, left = ["ffconcat version 1.0"], self.frames
        for name in self._names():
            count = left if name == LAST else SEGMENT_FRAMES
            # In full: what a # or ? in the list's own path starts would not be part of a folder.
            part = ffmpeg.url(os.path.abspath(self._part(name))).replace("'", r"'\''")
            lines += [f"file '{part}'", f"duration {count / float(rate):.9f}"]
            left -= count
        path = os.path.join(self._folder, "parts.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def stop(self) -> None:
        """Ends ffmpeg where it is, and leaves nothing behind where no part is whole."""
        if self._process is not None:
            self._process.kill()
        if self._stretch is None and (self._single or not os.path.exists(self._part(0))):
            self.remove()

    def remove(self) -> None:
        """Removes all parts."""
        shutil.rmtree(self._folder, ignore_errors=True)


def finish(process: ffmpeg.Process, path: str) -> None:
    """Waits for an ffmpeg that writes.

    Raises:
      InputError: it failed, and ``path`` cannot be written.
    """
    try:
        code, complaints = process.wait()
    finally:
        process.kill()
    if code:
        raise InputError(
            f"{path} cannot be written ({ffmpeg.last_words(complaints)}): "
            "make room or give another output."
        )
