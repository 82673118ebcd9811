"""Encodes frames as a film and adds the sound of their source."""

import contextlib
import dataclasses
import logging
import os
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.colours import SCALING
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.read.packets import read_packets
from vae_gan_jax.film.write import codecs, source_tracks
from vae_gan_jax.film.write.segments import Segments, failed
from vae_gan_jax.run import atomic_io, disk_errors

TO_BT709 = "out_color_matrix=bt709:out_range=tv"
TAGS = "color_primaries=bt709:color_trc=bt709"
# Sound is cut in whole packets of about 21 ms. The last one must start at least half a packet
# before the picture ends, so that both end within half a packet of each other.
HALF_PACKET_SECONDS = 0.0105

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class FilmFormat:
    """How a film is encoded."""

    codec: str = "h264"  # h264, h265, ffv1 or prores
    quality: int | None = None  # constant rate factor, 0 (best) to 51; default: the codec's
    upscale: tuple[int, int] | None = None  # width and height, scaled by Lanczos
    sound: str = "auto"  # auto, copy, encode or none; see source_tracks.of


class Encoder(contextlib.AbstractContextManager):
    """Writes a film atomically; a context manager.

    The picture is encoded in segments beside the film. ``close`` adds the sound, subtitles, fonts,
    chapters and title of the source that can be written, cut to the same time range. The picture
    has the matrix and the tags of BT.709. Where the codec needs even sides, the last line of an odd
    side is repeated.

    Args:
      path: the film to write; an existing one stays until the new one is complete.
      framing: size of the frames; time range and video stream of ``sound_from``.
      rate: frames a second.
      sound_from: film or sound file with the sound of the frames; a folder of stills has none. It
        may still be set before ``close``.
      resume: what the film is made from, as JSON. An Encoder with the same path and value resumes
        after the last complete segment, at frame ``frames``. None: no resuming.
      frame_range: numbers of the frames that this process encodes, see ``Segments``. Afterwards an
        Encoder without a range joins the segments of all processes.

    Raises:
      InputError: the path cannot be written, or does not suit the codec or the sound.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        framing: Framing,
        rate: Fraction,
        sound_from: str | os.PathLike | None = None,
        *,
        film_format: FilmFormat = FilmFormat(),
        resume: Any = None,
        frame_range: range | None = None,
    ):
        self.path = os.fspath(path)
        self.framing, self.rate, self.sound_from = framing, Fraction(rate), None
        if sound_from is not None and os.path.isfile(sound_from):
            self.sound_from = os.fspath(sound_from)
        require_writable(self.path, self.sound_from)
        self._sound = film_format.sound
        encoding = codecs.picture_arguments(self.path, film_format.codec, film_format.quality)
        width, height = framing.width, framing.height
        filters = _filters(width, height, film_format)
        arguments = [
            *("-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"),
            *("-r", str(rate), "-i", "pipe:0", "-vf", filters, *encoding, "-r", str(rate)),
        ]
        self._joined = os.fspath(atomic_io.beside(self.path, ".joined"))
        self._shared = frame_range is not None
        if not self._shared:
            self._tracks()  # refuses sound before the picture is encoded
        self.segments = Segments(self.path, arguments, resume, frame_range)

    @property
    def frames(self) -> int:
        """Number of the next frame to write."""
        return self.segments.frames

    def write(self, frames_BHWC: np.ndarray) -> None:
        """Appends uint8 RGB frames ``[B, H, W, 3]``; raises InputError if ffmpeg failed."""
        assert frames_BHWC.shape[1:] == (self.framing.height, self.framing.width, 3)
        assert frames_BHWC.dtype == np.uint8
        self.segments.write(frames_BHWC)

    def close(self) -> None:
        """Joins picture and sound, and publishes the film.

        Raises InputError if there are no frames, ffmpeg failed, or the file does not hold every
        frame.
        """
        if not self.frames:
            raise InputError(f"{self.path} was given no frames: give a film that has some.")
        tracks = self._tracks()
        reason = self._join(tracks)
        if reason and tracks and reason not in ffmpeg.DISK_FAULTS:
            logger.warning(
                "%s is written without sound, subtitles and chapters: %s.", self.path, reason
            )
            reason = self._join(None)
        elif tracks and not reason:
            tracks.warn(self.path)
        if reason:
            raise failed(self.path, reason)
        written = len(read_packets(self._joined, 0).times_T)
        if written != self.frames:
            raise InputError(
                f"{self.path} would hold {written} frames instead of {self.frames} and is not "
                "written: give another --codec or --output."
            )
        atomic_io.publish(self._joined, self.path)
        self.segments.remove()

    def _tracks(self) -> source_tracks.SourceTracks | None:
        if self.sound_from is None:
            return None
        return source_tracks.of(self.sound_from, self.path, self.framing, self._sound)

    def _join(self, tracks: source_tracks.SourceTracks | None) -> str | None:
        """Writes the picture with these tracks; returns the reason if ffmpeg fails."""
        # The latest start of a sound packet, later than the start of the last frame.
        stop = self.frames / float(self.rate) - min(HALF_PACKET_SECONDS, 0.5 / float(self.rate))
        code, _, stderr = ffmpeg.output_of(
            ffmpeg.QUIET,
            ["-y", "-max_error_rate", "1", "-f", "concat", "-safe", "0"],
            ["-i", ffmpeg.url(self.segments.concat_list(self.rate))],
            tracks.input_arguments(stop) if tracks else [],
            ["-map", "0:v", "-c:v", "copy", "-movflags", "+faststart", "-fflags", "+bitexact"],
            source_tracks.output_arguments(tracks.choices) if tracks else [],
            ["-f", codecs.MUXERS[codecs.extension_of(self.path)]],
            ["-t", f"{stop:.6f}", ffmpeg.url(self._joined)],
        )
        return ffmpeg.failure_reason(stderr) if code else None

    def __exit__(self, kind, *_):
        try:
            if kind is None and not self._shared:
                self.close()
        finally:
            self.segments.stop()
            if not self._shared:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self._joined)


def require_writable(path: str, source: str | None = None) -> None:
    """Raises InputError unless a film made from ``source`` can be written to ``path``."""
    disk_errors.require_writable(path)
    if source and os.path.exists(path) and os.path.samefile(source, path):
        raise InputError(f"{path} is the film that is read: give another output.")


def _filters(width: int, height: int, film_format: FilmFormat) -> str:
    """ffmpeg's filters from RGB frames to the encoder's input."""
    filters, pixel_format = [], codecs.CODECS[film_format.codec].pixel_format
    if film_format.upscale is not None:
        width, height = film_format.upscale
        filters.append(f"scale={width}:{height}:{SCALING.replace('bicubic', 'lanczos')}")
    if pixel_format == "bgr0":
        return ",".join([*filters, "format=bgr0", f"setparams=range=pc:colorspace=gbr:{TAGS}"])
    if width % 2 or height % 2:
        filters.append(f"pad={width + width % 2}:{height + height % 2}")
        filters.append(f"fillborders=right={width % 2}:bottom={height % 2}:mode=smear")
    filters.append(f"scale={SCALING}:{TO_BT709}")
    return ",".join([*filters, f"format={pixel_format}", f"setparams=colorspace=bt709:{TAGS}"])
