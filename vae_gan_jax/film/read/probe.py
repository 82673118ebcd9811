"""Probes a film: its streams, exact rate, size, scan type and colours."""

import dataclasses
import functools
import logging
import math
import os
import re
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read import frame_rate, stills
from vae_gan_jax.film.read.packets import read_packets
from vae_gan_jax.film.read.timeline import Timeline, read_timeline

PICTURES = ("attached pic", "still image", "timed thumbnails")  # as ffmpeg lists them
ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}  # ffmpeg's own ignore the alpha
# Of the most frames and the greatest length: a stream with less is not a rendition of the film.
MIN_FRAMES_SHARE, MIN_LENGTH_SHARE = 0.2, 0.6
DEFAULT_PEAK_NITS = 1000.0  # of most HDR masters, and the nominal peak of HLG
SAMPLED_FRAMES = 12  # decoded at the start of a film to detect interlacing

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Stream:
    """A stream of a file, as ffmpeg lists it."""

    kind: str  # Video, Audio, Subtitle or Attachment
    index: int  # among the streams of this kind, from 0
    codec: str
    details: str
    has_alpha: bool = False  # in a second stream of VP8 or VP9
    turned: bool = False  # the picture is shown turned

    @property
    def is_picture(self) -> bool:
        """Whether this is a cover or a thumbnail."""
        return any(f"({word})" in self.details for word in PICTURES)

    @property
    def area(self) -> int:
        """Pixels of a frame; 0 if unknown."""
        size = re.search(r",\s(\d+)x(\d+)\b", self.details)
        return int(size[1]) * int(size[2]) if size else 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Probe:
    """A film and its chosen video stream; times are seconds of the film's clock."""

    path: str
    files: tuple[str, ...]  # the film, or its stills
    input: tuple[str, ...]  # ffmpeg's arguments that open the film
    width: int  # as displayed: rotated, with square pixels
    height: int
    rate: Fraction  # frames a second; for a variable rate, the rate to resample to
    variable_rate: bool = False
    renumbered: bool = False  # timestamps are useless: the frames follow each other at ``rate``
    start: float = 0.0  # when the first frame is shown
    duration: float  # from ``start`` to the end of the last frame
    frames: int  # that decode; after resampling if the rate varies
    stored_width: int  # rotated, in stored pixels
    stored_height: int
    stream: int = 0  # index among the video streams
    turned: bool = False  # ffmpeg turns the picture
    several_shapes: bool = False  # later frames have another aspect ratio; found by decoding
    interlaced: bool  # at its start
    pixel_format: str
    matrix: str  # this and the next three as ffmpeg names them, or "unknown"
    colour_range: str
    primaries: str
    transfer: str
    peak: float  # mastering luminance of an HDR film, nits
    audio_streams: int = 0
    complaints: str = ""  # ffmpeg's stderr about a damaged or truncated file
    claimed_frames: int = 0  # by the duration in the file's header
    # When each keyframe is shown, ascending; empty if the film cannot be sought.
    keys_T: np.ndarray = dataclasses.field(compare=False, repr=False)

    @property
    def end(self) -> float:
        """When the last frame ends."""
        return self.start + self.duration


def probe(
    path: str | os.PathLike, video_stream: int | None = None, fps: Fraction | None = None
) -> Probe:
    """Lists the streams of a film and finds out which frames it has.

    ``path`` is a file that ffmpeg opens, a folder of stills, or a pattern such as ``a/*.png``. By
    default covers are skipped, and the video stream marked default is preferred, then the longest,
    then the largest. ``fps`` are the frames a second of stills; default: 24. Raises InputError if
    there is no such file or stream, or the file has no video.
    """
    path = os.fspath(path)
    if stills.are_stills(path):
        files = stills.find_pictures(path)
        changed = tuple(os.stat(name).st_mtime_ns for name in files)
        return _probe_stills(path, files, fps or stills.DEFAULT_RATE, changed)
    ffmpeg.require_file(path)
    return _probe_film(path, video_stream)


@ffmpeg.cached_by_file()
def _probe_film(path: str, video_stream: int | None) -> Probe:
    streams, clock_start, claimed_seconds = list_streams(path)
    stream = _choose(path, streams, video_stream)
    chosen = [one for one in streams if one.kind == "Video"][stream]
    opened = (*_keep_filters(chosen.turned), "-i", ffmpeg.url(path))
    if chosen.has_alpha and chosen.codec in ALPHA_DECODERS:
        opened = (f"-c:v:{stream}", ALPHA_DECODERS[chosen.codec], *opened)
    sample, first_time, claimed_rate = _decode_sample(path, opened, stream)
    area = sample["stored_width"] * sample["stored_height"]
    timeline = read_timeline(path, stream, chosen.codec, first_time - clock_start, area)
    times_T = timeline.times_T
    if not timeline.ordered:
        rate = float(frame_rate.plausible_rate(claimed_rate))
        times_T = times_T[0] + np.arange(len(times_T)) / rate
    rate, variable = frame_rate.detect(times_T, timeline.last_duration, claimed_rate)
    frames, duration = len(times_T), float(len(times_T) / rate)
    if variable:
        duration = float(times_T[-1] - times_T[0]) + timeline.last_duration
        frames = max(1, round(duration * rate))
    _log_changes(path, timeline, frames, rate if variable else None)
    return Probe(
        path=path, files=(path,), input=opened, stream=stream, turned=chosen.turned,
        audio_streams=sum(stream.kind == "Audio" for stream in streams),
        rate=rate, variable_rate=variable, renumbered=not timeline.ordered,
        start=float(times_T[0]), duration=duration, frames=frames, keys_T=timeline.keys_T,
        complaints=timeline.complaints, claimed_frames=round(claimed_seconds * rate),
        **sample,
    )  # fmt: skip


def _log_changes(path: str, timeline: Timeline, frames: int, new_rate: Fraction | None) -> None:
    """Logs what happens to the times of the frames; ``new_rate`` is that of resampling."""
    if timeline.jumps:
        logger.warning("%s: its timestamps jump; the parts are joined, in order.", path)
    if not timeline.ordered:
        logger.warning("%s: its timestamps are out of order; the frames keep their order.", path)
    if new_rate:
        logger.info(
            "%s has a variable rate: its %d frames become %d, %.5g a second.",
            path, len(timeline.times_T), frames, float(new_rate),
        )  # fmt: skip


@functools.lru_cache(maxsize=8)
def _probe_stills(
    path: str, files: tuple[str, ...], rate: Fraction, _changed: tuple[int, ...]
) -> Probe:
    turned = stills.are_turned(files)
    pattern = stills.sequence(files)
    opened = (*_keep_filters(turned), "-framerate", str(rate), "-i", pattern)
    sample, _, _ = _decode_sample(path, opened, 0)
    if stills.are_mixed(files):
        sample |= {"pixel_format": "gbrap16le", "matrix": "gbr", "colour_range": "pc"}
    return Probe(
        path=path, files=files, input=opened, rate=rate, turned=turned,
        duration=float(len(files) / rate), frames=len(files),
        keys_T=np.arange(len(files)) / float(rate),
        **sample,
    )  # fmt: skip


@ffmpeg.cached_by_file()
def list_streams(path: str) -> tuple[tuple[Stream, ...], float, float]:
    """The streams of a file, the start of its clock and its claimed duration, seconds.

    Raises InputError if ffmpeg cannot open the file.
    """
    _, _, text = ffmpeg.output_of(["-hide_banner", "-nostdin", "-i", ffmpeg.url(path)])
    if not re.search("Input #0, (?!tty,)", text):  # ffmpeg draws texts as pictures of a terminal
        if not os.path.getsize(path):
            raise InputError(f"{path} is empty: give another file.")
        reason = f" ({_open_failure(text, path)})"
        if "only with low score" in text or "Input #0" in text:  # it has the name of a film alone
            reason = ""
        raise InputError(f"{path} is not a film that ffmpeg can read{reason}: give another file.")
    streams, count = [], {}
    listed = (
        r"^\s+Stream #0:(\d+).*?: (Video|Audio|Subtitle|Attachment): (.*)"
        r"((?:\n(?!\s+Stream #).*)*)"
    )
    found = {int(row[0]): row[1:] for row in re.findall(listed, text, re.MULTILINE)}
    for _, (kind, rest, metadata) in sorted(found.items()):  # programs are listed in any order
        index = count.get(kind, 0)
        count[kind] = index + 1
        has_alpha = re.search(r"^\s+alpha_mode\s*: 1$", metadata, re.MULTILINE) is not None
        turned = "displaymatrix: rotation" in metadata
        streams.append(Stream(kind, index, re.match(r"\w*", rest)[0], rest, has_alpha, turned))
    start = re.search(r"Duration: .*?, start: (-?[\d.]+)", text)
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", text)
    seconds = int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]) if length else 0.0
    return tuple(streams), float(start[1]) if start else 0.0, seconds


def _open_failure(stderr: str, path: str) -> str:
    lines = [line for line in stderr.splitlines() if "Error opening input" not in line]
    if lines:
        return ffmpeg.failure_reason("\n".join(lines))
    reason = ffmpeg.failure_reason(stderr)
    return reason.removeprefix("Error opening input: ").replace(path, "it")


def _choose(path: str, streams: tuple[Stream, ...], video_stream: int | None) -> int:
    videos = [stream for stream in streams if stream.kind == "Video"]
    if video_stream is not None:
        if not 0 <= video_stream < len(videos):
            raise InputError(
                f"--video_stream={video_stream} is not in {path}, which has {len(videos)} video "
                "streams, counted from 0: give the number of one."
            )
        return video_stream
    videos = [stream for stream in videos if not stream.is_picture]
    if not videos:
        raise InputError(f"{path} has no video: give a film with pictures.")
    videos = [stream for stream in videos if "(default)" in stream.details] or videos
    if len(videos) > 1:
        videos = _longest(path, videos)
    return max(videos, key=lambda stream: stream.area).index


def _longest(path: str, videos: list[Stream]) -> list[Stream]:
    """The streams that last about as long as the longest, and that are not a series of stills."""
    lengths = []
    for stream in videos:
        packets = read_packets(path, stream.index)
        times_T = packets.times_T
        seconds = float(times_T[-1] - times_T[0]) + packets.last_duration if len(times_T) else 0.0
        lengths.append((len(times_T), seconds))
    frames, seconds = map(max, zip(*lengths, strict=True))
    return [
        stream
        for stream, (count, length) in zip(videos, lengths, strict=True)
        if count >= MIN_FRAMES_SHARE * frames and length >= MIN_LENGTH_SHARE * seconds
    ] or videos


def _keep_filters(turned: bool) -> tuple[str, ...]:
    """ffmpeg's argument that keeps filters when the size changes; turning needs new ones."""
    return () if turned else ("-reinit_filter", "0")


def _decode_sample(
    path: str, opened: tuple[str, ...], stream: int
) -> tuple[dict[str, Any], float, Fraction | None]:
    """Fields of Probe from the first frames, the time of the first one, and the claimed rate."""
    _, _, text = ffmpeg.output_of(
        ["-hide_banner", "-nostdin", "-copyts", *opened, "-map", f"0:v:{stream}"],
        ["-vf", "showinfo=checksum=0", "-frames:v", str(SAMPLED_FRAMES), "-f", "null", "-"],
    )
    shown = re.search(r"config in time_base: (\S+),(?:.*\n)+?.*\bpts:\s*(-?\d+)", text)
    frame = re.search(r"\bfmt:(\S+) .*?\bsar:(\d+)/(\d+) s:(\d+)x(\d+)", text)
    colours = re.search(
        r"color_range:(\S+) color_space:(\S+) color_primaries:(\S+) color_trc:(\S+)", text
    )
    if not (frame and colours):
        raise InputError(
            f"no frame of {path} can be decoded "
            f"({ffmpeg.failure_reason(text, 'its pictures are damaged')}): give another file."
        )
    rate = re.search(r"config in time_base: \S+ frame_rate: (\d+)/(\d+)", text)
    peak = re.search(r"max_luminance[=:]\s*([\d.]+)", text)
    above, below, width, height = map(int, frame.groups()[1:])
    pixel_shape = Fraction(above, below) if above and below else Fraction(1)
    first_time = float(int(shown[2]) * Fraction(shown[1])) if shown else -math.inf
    claimed_rate = Fraction(int(rate[1]), int(rate[2])) if rate and int(rate[2]) else None
    sample = {
        "width": round(width * max(pixel_shape, 1)),
        "height": round(height / min(pixel_shape, 1)),
        "stored_width": width,
        "stored_height": height,
        "interlaced": re.search(r"\bi:[TB]\b", text) is not None,
        "pixel_format": frame[1],
        "colour_range": colours[1],
        "matrix": colours[2],
        "primaries": colours[3],
        "transfer": colours[4],
        "peak": float(peak[1]) if peak else DEFAULT_PEAK_NITS,
    }
    return sample, first_time, claimed_rate
