"""Frames to a film: encoded as they come, then joined with the sound of their source."""

import contextlib
import os
import subprocess
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.probe import frame_times, probe
from vae_gan_jax.film.trim import section

BT709 = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"


class Encoder:
    """A film being written; a context manager. It appears under its name whole, or not at all.

    The picture is encoded to a temporary file beside it; once the frames are counted, that is
    joined with the source's sound, cut to the same range, in a second file, which then takes the
    name. H.264, yuv420p, converted with the matrix of BT.709 and tagged so; an odd side grows by a
    repeated line.

    Args:
      path: the film to write; an existing one stays until the new one is whole.
      width, height: of the frames, pixels.
      rate: frames a second, exact.
      sound_from: the film whose sound accompanies the frames.
      trim_start, trim_end: the range of ``sound_from`` that the frames come from, seconds.
      quality: constant rate factor; smaller is better and larger.

    Raises:
      InputError: the path cannot be written, or a sentence on how ffmpeg failed.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        width: int,
        height: int,
        rate: Fraction,
        sound_from: str | None = None,
        trim_start: float | None = None,
        trim_end: float | None = None,
        *,
        quality: int = 18,
    ):
        self.path = os.fspath(path)
        self.width, self.height, self.rate = width, height, rate
        self.frames = 0
        self._source = probe(sound_from) if sound_from else None
        self._trim = (trim_start, trim_end)
        _require_place(self.path)
        folder, name = os.path.split(self.path)
        stem, extension = os.path.splitext(name)
        self._picture = os.path.join(folder, f".{stem}.picture{extension}")
        self._whole = os.path.join(folder, f".{stem}.whole{extension}")
        self._process = ffmpeg.Process(
            ffmpeg.QUIET,
            ["-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"],
            ["-r", str(rate), "-i", "pipe:0", "-vf", self._filters()],
            ["-c:v", "libx264", "-crf", str(quality), "-r", str(rate), self._picture],
            stdin=subprocess.PIPE,
        )

    def _filters(self) -> str:
        width, height = self.width + self.width % 2, self.height + self.height % 2
        filters = []
        if (width, height) != (self.width, self.height):
            filters.append(f"pad={width}:{height}")
            filters.append(
                f"fillborders=right={width - self.width}:bottom={height - self.height}:mode=smear"
            )
        filters.append(
            "scale=flags=bicubic+accurate_rnd+full_chroma_int:out_color_matrix=bt709:out_range=tv"
        )
        return ",".join([*filters, "format=yuv420p", BT709])

    def write(self, frames_BHWC: np.ndarray) -> None:
        """Appends a block of uint8 RGB frames [B, height, width, 3].

        Raises:
          InputError: ffmpeg has given up; the sentence says why.
        """
        expected = (self.height, self.width, 3)
        if frames_BHWC.shape[1:] != expected or frames_BHWC.dtype != np.uint8:
            raise ValueError(
                f"frames must be uint8 [B, {self.height}, {self.width}, 3], "
                f"not {frames_BHWC.dtype} {list(frames_BHWC.shape)}"
            )
        block = memoryview(np.ascontiguousarray(frames_BHWC)).cast("B")
        try:
            while block:
                block = block[self._process.stdin.write(block) :]
        except OSError:  # ffmpeg closed the pipe: its own words say why
            self._finish(self._process)
            raise InputError(f"{self.path} cannot be written: ffmpeg stopped early.") from None
        self.frames += len(frames_BHWC)

    def _finish(self, process: ffmpeg.Process) -> None:
        code, complaints = process.wait()
        if code:
            raise InputError(
                f"{self.path} cannot be written ({ffmpeg.last_words(complaints)}): "
                "give another output or make room."
            )

    def _join(self) -> None:
        """Puts picture and sound into one file, the index in front."""
        source, sound = self._source, []
        arguments = ["-i", self._picture]
        if source is not None and source.sounds:
            start = section(source, *self._trim).start
            length = f"{self.frames / float(self.rate):.6f}"
            # -ss on the picture's side of the clock; the source's own picture, copied to nowhere,
            # keeps ffmpeg counting time from the file's first stream rather than from its sound's.
            arguments += (["-ss", f"{start:.6f}"] if start > 0 else []) + ["-t", length]
            arguments += ["-i", source.path]
            sound = ["-map", "1:a", "-c:a", "copy"]
        self._finish(
            ffmpeg.Process(
                ffmpeg.QUIET,
                ["-y", *arguments, "-map", "0:v", "-c:v", "copy", *sound],
                ["-movflags", "+faststart", self._whole],
            )
        )

    def close(self) -> None:
        """Ends the film and gives it its name.

        Raises:
          InputError: ffmpeg failed, or the file does not hold every frame.
        """
        self._process.stdin.close()
        self._finish(self._process)
        if not self.frames:
            raise InputError(f"{self.path} was given no frames: nothing is written.")
        self._join()
        times_T, _, _ = frame_times(self._whole, 0)
        if len(times_T) != self.frames:
            raise InputError(
                f"{self.path} would hold {len(times_T)} frames instead of {self.frames}: "
                "nothing is written; is the disk full?"
            )
        os.replace(self._whole, self.path)
        self._clear()

    def _clear(self) -> None:
        for path in (self._picture, self._whole):
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.close()
        finally:
            self._process.kill()
            self._clear()


def _require_place(path: str) -> None:
    folder = os.path.dirname(path) or "."
    if not os.path.isdir(folder):
        raise InputError(f"there is no folder {folder} for {path}: make it or give another.")
    if os.path.lexists(path) and not os.path.isfile(path):
        raise InputError(f"{path} is no ordinary file: give another output.")
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} may not be written: give another output.")
