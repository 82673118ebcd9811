"""The codecs for picture, sound and subtitles that each container supports."""

import dataclasses
import os
import re

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.probe import Stream

MP4, MOV, MKV = ("mp4", "m4v"), ("mov",), ("mkv",)
MUXERS = dict.fromkeys(MP4, "mp4") | {"mov": "mov", "mkv": "matroska"}  # ffmpeg's names
COPY = {"c": "copy"}  # ffmpeg's options for a track
# Sound codecs that players support in each container; other sound is encoded as AAC.
COPIED_SOUND = {
    **dict.fromkeys(MP4, ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "opus", "flac")),
    **dict.fromkeys(MOV, ("aac", "mp3", "mp2", "ac3", "eac3", "alac", "pcm_s16le", "pcm_s24le")),
    **dict.fromkeys(
        MKV,
        (
            *("aac", "mp3", "mp2", "ac3", "eac3", "dts", "truehd", "alac", "opus", "flac"),
            *("vorbis", "pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s32le", "pcm_f32le"),
        ),
    ),
}
# Sound codecs whose sample rate and channels may change within a copied track.
MAY_CHANGE = ("ac3", "eac3", "dts", "truehd")
TEXT_SUBTITLES = ("subrip", "ass", "ssa", "mov_text", "webvtt", "text")
BITMAP_SUBTITLES = ("dvd_subtitle", "hdmv_pgs_subtitle", "dvb_subtitle")
AAC_KBIT_PER_CHANNEL, AAC_MAX_KBIT = 96, 512  # per second


@dataclasses.dataclass(frozen=True)
class Codec:
    """How a picture is encoded, and which containers support that."""

    arguments: tuple[str, ...]
    pixel_format: str
    extensions: tuple[str, ...]  # the first is the default
    quality: int | None  # default constant rate factor; None: the codec has no such setting
    max_side: int | None = None  # pixels; None: ffmpeg's own limit


CODECS = {
    "h264": Codec(("-c:v", "libx264"), "yuv420p", (*MP4, *MOV, *MKV), 18, 16384),
    "h265": Codec(
        ("-c:v", "libx265", "-x265-params", "log-level=error"), "yuv420p", (*MP4, *MOV, *MKV), 20
    ),
    "ffv1": Codec(("-c:v", "ffv1", "-level", "3"), "bgr0", MKV, None),  # lossless: RGB stays RGB
    "prores": Codec(("-c:v", "prores_ks", "-profile:v", "hq"), "yuv422p10le", (*MOV, *MKV), None),
}


def file_name(name: str, codec: str) -> str:
    """The name of a film in the codec's default container."""
    return f"{name}.{CODECS[codec].extensions[0]}"


def extension_of(path: str) -> str:
    """The container of a path: ``mp4`` for ``a/film.MP4``."""
    return os.path.splitext(path)[1][1:].lower()


def picture_arguments(path: str, codec: str, quality: int | None) -> list[str]:
    """ffmpeg's arguments for the picture of the file ``path``.

    Raises InputError if the codec is unknown, or does not suit the container or the quality.
    """
    if codec not in CODECS:
        raise InputError(f"--codec={codec} is not one of {', '.join(CODECS)}: give one of them.")
    chosen = CODECS[codec]
    if extension_of(path) not in chosen.extensions:
        names = " or ".join(f".{extension}" for extension in chosen.extensions)
        raise InputError(f"{path} cannot hold {codec}: give a name that ends in {names}.")
    arguments = [*chosen.arguments, "-pix_fmt", chosen.pixel_format]
    if quality is not None and (chosen.quality is None or not 0 <= quality <= 51):
        raise InputError(
            f"--quality={quality} does not suit {codec}: "
            + ("leave it out." if chosen.quality is None else "give 0 (best) to 51.")
        )
    if chosen.quality is not None:
        arguments += ["-crf", str(chosen.quality if quality is None else quality)]
    if codec == "h265" and extension_of(path) not in MKV:
        arguments += ["-tag:v", "hvc1"]  # Apple's players need this tag
    return arguments


def sound_ways(stream: Stream, extension: str, sound: str) -> tuple[dict[str, str], ...]:
    """ffmpeg's options for each way to write a sound track, best first.

    ``sound`` is auto, copy or encode.
    """
    rate = min(AAC_KBIT_PER_CHANNEL * _channels(stream.details), AAC_MAX_KBIT)
    # Removes sound before the film begins, and fills gaps with silence. When the sample rate
    # changes, ffmpeg starts these filters again, so they must not pad the start.
    aac = {"c": "aac", "b": f"{rate}k", "filter": "atrim=start=0,aresample=async=1"}
    stereo = aac | {"b": f"{2 * AAC_KBIT_PER_CHANNEL}k", "ac": "2"}
    if sound == "copy":
        return (COPY,)
    if sound == "auto" and stream.codec in COPIED_SOUND[extension]:
        return COPY, aac, stereo
    return aac, stereo


def subtitle_ways(stream: Stream, extension: str) -> tuple[dict[str, str], ...]:
    """ffmpeg's options for each way to write a subtitle track, best first."""
    matroska = extension in MKV
    text = {"c": "srt" if matroska else "mov_text"}
    # Drops subtitles that end before the film begins: re-encoded, they would be shown at its start.
    early = {"bsf": "noise=drop=lt(pts\\,0)"}
    if stream.codec in TEXT_SUBTITLES:
        unchanged = (stream.codec == "mov_text") != matroska
        return (COPY | early, text | early) if unchanged else (text | early,)
    return (COPY | early,) if matroska and stream.codec in BITMAP_SUBTITLES else ()


def description(stream: Stream) -> str:
    """A stream for messages: ``mp3, 11025 Hz, mono``."""
    sound = re.search(r" (\d+ Hz, [^,]+)", stream.details)
    return stream.codec + (f", {sound[1]}" if sound else "")


def _channels(details: str) -> int:
    """The number of channels of a sound track: 6 for ``48000 Hz, 5.1(side), fltp``."""
    layout = re.search(r" Hz, (mono|stereo|(\d+)\.(\d+)|(\d+) channels)", details)
    if not layout:
        return 2
    if layout[2]:
        return int(layout[2]) + int(layout[3])
    return int(layout[4] or {"mono": 1, "stereo": 2}[layout[1]])
