"""Frames to a film: encoded as they come, then joined with the sound of their source."""

import contextlib
import json
import logging
import os
import shutil
import subprocess
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import codecs, ffmpeg
from vae_gan_jax.film.framing import SCALING
from vae_gan_jax.film.probe import list_streams, probe, read_packets
from vae_gan_jax.film.trim import section

TO_BT709 = "out_color_matrix=bt709:out_range=tv"
TAGS = "color_primaries=bt709:color_trc=bt709"
PART = 1000  # frames between which an interrupted film can go on
LAST = "last"  # name of the short part at the end
# Compressed sound comes in packets of some 21 ms, and one that begins within the range is kept
# whole: cutting half a packet early, picture and sound end within half a packet of each other.
HALF_PACKET = 0.0105  # seconds
# What a container says about itself rather than about the film.
CONTAINER_TAGS = ("major_brand", "minor_version", "compatible_brands", "encoder")

logger = logging.getLogger(__name__)


class Encoder:
    """A film being written; a context manager. It appears under its name whole, or not at all.

    The picture is encoded to a temporary folder beside it. Once the frames are counted, that is
    joined with every sound track of the source, its chapters and title, and the subtitles that the
    container takes, all cut to the same range, in a file that then takes the name. The
    picture is converted with the matrix of BT.709 and tagged so. Where the codec wants even sides,
    an odd one grows by a repeated line.

    Args:
      path: the film to write; an existing one stays until the new one is whole.
      width, height: of the frames, pixels.
      rate: frames a second, exact.
      sound_from: the film, or sound, that accompanies the frames; stills have none.
      trim_start, trim_end: the range of ``sound_from`` that the frames come from, seconds.
      video_stream: which of its video streams they come from, where that was chosen.
      quality: constant rate factor, 0 (best) to 51; default: the codec's, 18 for h264.
      codec: h264, h265, ffv1 or prores.
      upscale: width and height of the film, if not those of the frames; Lanczos.
      resume: what the film is made from, in words of the caller's. If given, the picture is kept in
        parts of ``PART`` frames, and an Encoder for the same path and the same words goes on after
        the last whole one: ``frames`` then says how many are there already. The film is the same
        as one that was never interrupted.

    Raises:
      InputError: the path cannot be written, or does not suit the codec.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        width: int,
        height: int,
        rate: Fraction,
        sound_from: str | os.PathLike | None = None,
        trim_start: float | None = None,
        trim_end: float | None = None,
        *,
        video_stream: int | None = None,
        quality: int | None = None,
        codec: str = "h264",
        upscale: tuple[int, int] | None = None,
        resume: str | None = None,
    ):
        self.path = os.fspath(path)
        self.width, self.height, self.rate = width, height, Fraction(rate)
        self.frames = 0
        self._sound_from = None
        if sound_from is not None and os.path.isfile(sound_from):
            self._sound_from = os.fspath(sound_from)
        self._range = (video_stream, trim_start, trim_end)
        self._require_place()
        encoding = codecs.picture_arguments(self.path, codec, quality)
        filters = _filters(width, height, upscale, codecs.CODECS[codec].pixel_format)
        self._arguments = [
            *("-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
            *("-r", str(rate), "-i", "pipe:0", "-vf", filters, *encoding, "-r", str(rate)),
        ]
        folder, name = os.path.split(self.path)
        stem, self._extension = os.path.splitext(name)
        self._whole = os.path.join(folder, f".{stem}.whole{self._extension}")
        self._parts = os.path.join(folder, f".{stem}.parts")
        self._resume, self._process = resume is not None, None
        try:
            self._find_parts({"from": resume, "encoding": self._arguments})
        except OSError as error:
            raise InputError(f"{self.path} cannot be written ({error.strerror}).") from None

    def _find_parts(self, made_from: dict) -> None:
        """Counts the whole parts of an earlier attempt at the same film; others are removed."""
        label = os.path.join(self._parts, "made_from.json")
        with contextlib.suppress(OSError, ValueError), open(label, encoding="utf-8") as file:
            if self._resume and json.load(file) == made_from:
                while os.path.exists(self._part(self.frames // PART)):
                    self.frames += PART
                return
        shutil.rmtree(self._parts, ignore_errors=True)
        os.mkdir(self._parts)
        with open(label, "w", encoding="utf-8") as file:
            json.dump(made_from, file)

    def go_back(self, frames: int) -> None:
        """Before writing: forgets whole parts after ``frames``, where a film beside it stands."""
        if frames % PART or frames > self.frames or self._process is not None:
            raise ValueError(f"cannot go back from {self.frames} frames to {frames}")
        self.frames = frames

    def _part(self, number: int | str) -> str:
        return os.path.join(self._parts, f"{number}{self._extension}")

    def _require_place(self) -> None:
        folder = os.path.dirname(self.path) or "."
        if not os.path.isdir(folder):
            raise InputError(f"there is no folder {folder} for {self.path}: make it first.")
        if os.path.lexists(self.path) and not os.path.isfile(self.path):
            raise InputError(f"{self.path} is no ordinary file: give another output.")
        if not os.access(folder, os.W_OK):
            raise InputError(f"{folder} may not be written: give another output.")
        source = self._sound_from
        if source and os.path.exists(self.path) and os.path.samefile(source, self.path):
            raise InputError(f"{self.path} is the film that is read: give another output.")

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
        while len(frames_BHWC):
            room = PART - self.frames % PART if self._resume else len(frames_BHWC)
            self._write(frames_BHWC[:room])
            if self._resume and self.frames % PART == 0:
                self._end_part()
            frames_BHWC = frames_BHWC[room:]

    def _write(self, frames_BHWC: np.ndarray) -> None:
        if self._process is None:
            self._process = ffmpeg.Process(
                *(ffmpeg.QUIET, self._arguments, [ffmpeg.url(self._part("unfinished"))]),
                stdin=subprocess.PIPE,
            )
        block = memoryview(np.ascontiguousarray(frames_BHWC)).cast("B")
        try:
            while block:
                block = block[self._process.stdin.write(block) :]
        except OSError:  # ffmpeg has closed the pipe: its own words say why
            self._finish(self._process)
            raise InputError(f"{self.path} cannot be written: ffmpeg stopped early.") from None
        self.frames += len(frames_BHWC)

    def _end_part(self) -> None:
        """Closes the part being written and gives it its number."""
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._finish(self._process)
        self._process = None
        os.replace(self._part("unfinished"), self._part(self._names()[-1]))

    def _names(self) -> list[int | str]:
        """What the parts of the frames so far are called.

        A short last one has no number: interrupted before the film is put together, it does not
        count as a whole one.
        """
        if not self._resume:
            return [LAST]
        whole, rest = divmod(self.frames, PART)
        return [*range(whole), *([LAST] if rest else [])]

    def close(self) -> None:
        """Ends the film and gives it its name.

        Raises:
          InputError: there were no frames, ffmpeg failed, or the file does not hold every frame.
        """
        if not self.frames:
            raise InputError(f"{self.path} was given no frames: nothing is written.")
        if self._process is not None:
            self._end_part()
        self._finish(
            ffmpeg.Process(
                ffmpeg.QUIET,
                ["-y", "-f", "concat", "-safe", "0", "-i", ffmpeg.url(self._list_parts())],
                self._accompaniment(),
                ["-map", "0:v", "-c:v", "copy", "-movflags", "+faststart"],
                ["-t", f"{self._end_of_sound():.6f}", ffmpeg.url(self._whole)],
            )
        )
        written = len(read_packets(self._whole, 0).times_T)
        if written != self.frames:
            raise InputError(
                f"{self.path} would hold {written} frames instead of {self.frames}: "
                "nothing is written; is the disk full?"
            )
        os.replace(self._whole, self.path)
        shutil.rmtree(self._parts, ignore_errors=True)

    def _list_parts(self) -> str:
        """Writes the list by which ffmpeg puts the parts one after another."""
        lines, left = ["ffconcat version 1.0"], self.frames
        for name in self._names():
            count = left if name == LAST else PART
            seconds = count / float(self.rate)
            # In full: what a # or ? in the list's own path starts would not be part of a folder.
            part = ffmpeg.url(os.path.abspath(self._part(name))).replace("'", r"'\''")
            lines += [f"file '{part}'", f"duration {seconds:.9f}"]
            left -= count
        path = os.path.join(self._parts, "parts.txt")
        with open(path, "w", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
        return path

    def _end_of_sound(self) -> float:
        """Seconds at which no more packets begin; the last frame begins earlier in any case."""
        early = min(HALF_PACKET, 0.5 / float(self.rate))
        return self.frames / float(self.rate) - early

    def _accompaniment(self) -> list[str]:
        """A second input, and what is taken from it."""
        if self._sound_from is None:
            return []
        streams, *_ = list_streams(self._sound_from)
        of_kind = {
            kind: [stream for stream in streams if stream.kind == kind]
            for kind in ("Video", "Audio", "Subtitle")
        }
        video_stream, *trim = self._range
        start, picture = trim[0] or 0.0, []
        if any(not stream.is_picture for stream in of_kind["Video"]):
            film = probe(self._sound_from, video_stream)
            start = section(film, *trim).start
            # Into nothing, so that a broadcast's clock starts with the first of all its streams.
            until = ["-t", f"{self._end_of_sound():.6f}"]  # not to the end of a long source
            picture = ["-map", f"1:v:{film.stream}", "-c", "copy", *until, "-f", "null", "-"]
        subtitles, refused = codecs.subtitle_arguments(self.path, of_kind["Subtitle"])
        if refused:
            logger.warning("%s cannot hold %s subtitles.", self.path, ", ".join(refused))
        return [
            *("-itsoffset", f"{-start:.6f}", "-i", ffmpeg.url(self._sound_from), *picture),
            *codecs.sound_arguments(self.path, of_kind["Audio"]),
            *("-copypriorss:a", "0", "-copypriorss:s", "0"),
            *subtitles,
            *("-map_chapters", "1", "-map_metadata", "1"),
            *(part for tag in CONTAINER_TAGS for part in ("-metadata", f"{tag}=")),
        ]

    def _finish(self, process: ffmpeg.Process) -> None:
        try:
            code, complaints = process.wait()
        finally:
            process.kill()
        if code:
            raise InputError(
                f"{self.path} cannot be written ({ffmpeg.last_words(complaints)}): "
                "make room or give another output."
            )

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.close()
        finally:
            if self._process is not None:
                self._process.kill()
            with contextlib.suppress(FileNotFoundError):
                os.remove(self._whole)
            if not (self._resume and os.path.exists(self._part(0))):
                shutil.rmtree(self._parts, ignore_errors=True)


def _filters(width: int, height: int, upscale: tuple[int, int] | None, pixel_format: str) -> str:
    """From RGB frames to the picture that is encoded."""
    filters = []
    if upscale is not None:
        width, height = upscale
        filters.append(f"scale={width}:{height}:{SCALING.replace('bicubic', 'lanczos')}")
    if pixel_format == "bgr0":
        return ",".join([*filters, "format=bgr0", f"setparams=range=pc:colorspace=gbr:{TAGS}"])
    if width % 2 or height % 2:
        filters.append(f"pad={width + width % 2}:{height + height % 2}")
        filters.append(f"fillborders=right={width % 2}:bottom={height % 2}:mode=smear")
    filters.append(f"scale={SCALING}:{TO_BT709}")
    return ",".join([*filters, f"format={pixel_format}", f"setparams=colorspace=bt709:{TAGS}"])
