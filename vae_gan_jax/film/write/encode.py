"""Frames to a film: encoded as they come, then joined with the sound of their source."""

import contextlib
import logging
import os
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.framing import SCALING
from vae_gan_jax.film.read.probe import list_streams, probe, read_packets
from vae_gan_jax.film.read.trim import section
from vae_gan_jax.film.write import codecs
from vae_gan_jax.film.write.segments import Segments, finish

TO_BT709 = "out_color_matrix=bt709:out_range=tv"
TAGS = "color_primaries=bt709:color_trc=bt709"
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
        ``Segments``, and an Encoder for the same path and the same words goes on after the last whole
        one: ``frames`` then says how many are there already. The film is the same as one that was
        never interrupted.
      stretch: numbers of the frames that are written here, where several processes share a film, as
        for ``Segments``: only they are encoded. An Encoder without a stretch, when all have done so,
        makes of them the film that it would have made alone.

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
        stretch: range | None = None,
    ):
        self.path = os.fspath(path)
        self.width, self.height, self.rate = width, height, Fraction(rate)
        self._sound_from = None
        if sound_from is not None and os.path.isfile(sound_from):
            self._sound_from = os.fspath(sound_from)
        self._range = (video_stream, trim_start, trim_end)
        self._require_place()
        encoding = codecs.picture_arguments(self.path, codec, quality)
        filters = _filters(width, height, upscale, codecs.CODECS[codec].pixel_format)
        arguments = [
            *("-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
            *("-r", str(rate), "-i", "pipe:0", "-vf", filters, *encoding, "-r", str(rate)),
        ]
        folder, name = os.path.split(self.path)
        stem, extension = os.path.splitext(name)
        self._whole = os.path.join(folder, f".{stem}.whole{extension}")
        self._shared = stretch is not None
        self.segments = Segments(self.path, arguments, resume, stretch)

    @property
    def frames(self) -> int:
        """How many there are, as ``Segments`` count them."""
        return self.segments.frames

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
        self.segments.write(frames_BHWC)

    def close(self) -> None:
        """Ends the film and gives it its name.

        Raises:
          InputError: there were no frames, ffmpeg failed, or the file does not hold every frame.
        """
        if not self.frames:
            raise InputError(f"{self.path} was given no frames: nothing is written.")
        joined = ffmpeg.Process(
            ffmpeg.QUIET,
            ["-y", "-f", "concat", "-safe", "0", "-i", ffmpeg.url(self.segments.list(self.rate))],
            self._accompaniment(),
            ["-map", "0:v", "-c:v", "copy", "-movflags", "+faststart", "-fflags", "+bitexact"],
            ["-t", f"{self._end_of_sound():.6f}", ffmpeg.url(self._whole)],
        )
        finish(joined, self.path)
        written = len(read_packets(self._whole, 0).times_T)
        if written != self.frames:
            raise InputError(
                f"{self.path} would hold {written} frames instead of {self.frames}: "
                "nothing is written; is the disk full?"
            )
        os.replace(self._whole, self.path)
        self.segments.remove()

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

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None and not self._shared:
                self.close()
        finally:
            self.segments.stop()
            if not self._shared:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self._whole)


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
