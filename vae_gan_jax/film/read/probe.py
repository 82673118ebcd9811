"""What a film is: its streams, exact rate, shape, scan and colours, as ffmpeg itself sees them."""

import dataclasses
import functools
import math
import os
import re
from fractions import Fraction

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read import stills

NTSC = Fraction(1000, 1001)
STANDARD_RATES = (12, 15, 24 * NTSC, 24, 25, 30 * NTSC, 30, 48, 50, 60 * NTSC, 60, 100, 120)
FASTEST = 240  # frames a second; a clock's ticks taken for a rate lie far above
CLOCK_TICK = 1.1e-3  # seconds; Matroska rounds timestamps to milliseconds
USUAL_PEAK = 1000.0  # nits; of most masters, and the nominal one of HLG
JITTER = 0.3  # of a frame; by which frames of a constant rate may be early or late
KEY, DISCARDED = 0x1, 0x4  # flags of a packet; the latter is cut away by the file's edit list
UNKNOWN = -(2**63)  # as a time
SAMPLED_FRAMES = 12  # at the start of a film, to see whether it is interlaced


@dataclasses.dataclass(frozen=True)
class Stream:
    """One line of ffmpeg's list: ``kind`` is Video, Audio or Subtitle, ``index`` counts in it."""

    kind: str
    index: int
    codec: str
    details: str

    @property
    def is_picture(self) -> bool:
        """Whether it is a cover or a thumbnail rather than a film."""
        return any(word in self.details for word in ("(attached pic)", "(still image)"))

    @property
    def area(self) -> int:
        """Pixels of a video's frame; 0 where ffmpeg could not tell."""
        size = re.search(r",\s(\d+)x(\d+)\b", self.details)
        return int(size[1]) * int(size[2]) if size else 0


@dataclasses.dataclass(frozen=True)
class Probe:
    """A film's video stream, and what accompanies it. Times are seconds of the film's own clock."""

    path: str
    files: tuple[str, ...]  # that it consists of: one, or stills
    input: tuple[str, ...]  # ffmpeg's arguments that open it
    width: int  # as shown: rotated, with square pixels
    height: int
    rate: Fraction  # frames a second: of the film, or to resample a variable one to
    variable_rate: bool
    start: float  # when the first frame is shown
    duration: float | None  # from there to the end of the last frame
    frames: int | None  # in the file; at ``rate`` where that is variable
    stored_width: int  # rotated, before its pixels are made square
    stored_height: int
    stream: int  # number among the video streams
    interlaced: bool
    pixel_format: str
    matrix: str  # the last four as ffmpeg names them, or "unknown"
    colour_range: str
    primaries: str
    transfer: str
    peak: float  # nits of the brightest that an HDR film was mastered for
    audio_streams: int
    complaints: str = ""  # of the demuxer: a damaged or truncated file
    claimed_frames: int = 0  # that the whole file would have, by the duration in its head
    # When each frame is shown, and which of these times are of keyframes; ascending.
    times_T: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)
    keys_T: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)

    @property
    def end(self) -> float | None:
        """When the last frame ends."""
        return None if self.duration is None else self.start + self.duration


def probe(
    path: str | os.PathLike, video_stream: int | None = None, fps: Fraction | None = None
) -> Probe:
    """Looks at a film: lists its streams, decodes a few frames, reads every packet's timestamp.

    Args:
      path: anything that ffmpeg opens; a folder of stills, or a pattern such as ``a/*.png``.
      video_stream: number among the video streams, from 0; default: the largest that is no cover.
      fps: frames a second of stills.

    Raises:
      InputError: no such file, no film, no video in it, no such stream.
    """
    path = os.fspath(path)
    if stills.are_stills(path):
        return _probe_stills(path, stills.find(path), fps or stills.USUAL_RATE)
    ffmpeg.require_file(path)
    status = os.stat(path)
    return _probe_film(path, video_stream, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _probe_film(path: str, video_stream: int | None, _size: int, _changed: int) -> Probe:
    streams, clock_start, claimed = list_streams(path)
    stream = _choose(path, streams, video_stream)
    opened = ("-i", ffmpeg.url(path))
    seen = _first_frames(path, opened, stream)
    first_shown = seen.pop("first_shown") - clock_start
    packets = read_packets(path, stream, clock_start, first_shown)
    times_T = _decodable(packets.times_T, first_shown)
    rate, variable = _rate(times_T, packets.last_duration, seen.pop("claimed_rate"))
    frames = duration = None
    if len(times_T):
        frames, duration = len(times_T), float(len(times_T) / rate)
    if variable:
        duration = float(times_T[-1] - times_T[0]) + packets.last_duration
        frames = max(1, round(duration * rate))
    return Probe(
        path=path,
        files=(path,),
        input=opened,
        rate=rate,
        variable_rate=variable,
        start=float(times_T[0]) if len(times_T) else 0.0,
        duration=duration,
        frames=frames,
        stream=stream,
        audio_streams=sum(stream.kind == "Audio" for stream in streams),
        complaints=packets.complaints,
        claimed_frames=round(claimed * rate),
        times_T=times_T,
        keys_T=packets.keys_T,
        **seen,
    )


def _probe_stills(path: str, files: tuple[str, ...], rate: Fraction) -> Probe:
    opened = ("-framerate", str(rate), "-i", stills.sequence(files))
    seen = _first_frames(path, opened, 0)
    del seen["claimed_rate"], seen["first_shown"]
    return Probe(
        path=path,
        files=files,
        input=opened,
        rate=rate,
        variable_rate=False,
        start=0.0,
        duration=float(len(files) / rate),
        frames=len(files),
        stream=0,
        audio_streams=0,
        times_T=np.arange(len(files)) / float(rate),
        keys_T=np.arange(len(files)) / float(rate),
        **seen,
    )


def list_streams(path: str) -> tuple[list[Stream], float, float]:
    """The streams of a file, when its clock starts, and how long it claims to last; seconds.

    Raises:
      InputError: ffmpeg cannot open it.
    """
    _, _, text = ffmpeg.output_of(["-hide_banner", "-nostdin", "-i", ffmpeg.url(path)])
    if "Input #0" not in text:
        raise InputError(
            f"{path} is no film that ffmpeg can read ({_reason(text, path)}): give another file."
        )
    streams, count = [], {}
    listed = r"^\s+Stream #0:\d+.*?: (Video|Audio|Subtitle): (.*)$"
    for kind, rest in re.findall(listed, text, re.MULTILINE):
        index = count.get(kind, 0)
        count[kind] = index + 1
        streams.append(Stream(kind, index, re.match(r"\w*", rest)[0], rest))
    start = re.search(r"Duration: .*?, start: (-?[\d.]+)", text)
    length = re.search(r"Duration: (\d+):(\d+):([\d.]+)", text)
    seconds = int(length[1]) * 3600 + int(length[2]) * 60 + float(length[3]) if length else 0.0
    return streams, float(start[1]) if start else 0.0, seconds


def _reason(text: str, path: str) -> str:
    lines = [line for line in text.splitlines() if "Error opening input" not in line]
    if lines:
        return ffmpeg.last_words("\n".join(lines))
    return ffmpeg.last_words(text).removeprefix("Error opening input: ").replace(path, "it")


def _choose(path: str, streams: list[Stream], video_stream: int | None) -> int:
    videos = [stream for stream in streams if stream.kind == "Video"]
    if video_stream is not None:
        if not 0 <= video_stream < len(videos):
            raise InputError(
                f"{path} has no video stream {video_stream}: it has {len(videos)}, counted from 0."
            )
        return video_stream
    videos = [stream for stream in videos if not stream.is_picture]
    if not videos:
        raise InputError(f"{path} has no video: give a film with pictures.")
    return max(videos, key=lambda stream: (stream.area, "(default)" in stream.details)).index


def _first_frames(path: str, opened: tuple[str, ...], stream: int) -> dict:
    """Decodes the first frames: what ffmpeg's showinfo says about them, as fields of Probe."""
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
            f"no frame of {path} can be decoded ({ffmpeg.last_words(text)}): give another file."
        )
    rate = re.search(r"config in time_base: \S+ frame_rate: (\d+)/(\d+)", text)
    peak = re.search(r"max_luminance[=:]\s*([\d.]+)", text)
    above, below, width, height = map(int, frame.groups()[1:])
    sar = Fraction(above, below) if above and below else Fraction(1)
    return {
        "first_shown": float(int(shown[2]) * Fraction(shown[1])) if shown else -math.inf,
        "claimed_rate": Fraction(int(rate[1]), int(rate[2])) if rate and int(rate[2]) else None,
        "width": round(width * max(sar, 1)),
        "height": round(height / min(sar, 1)),
        "stored_width": width,
        "stored_height": height,
        "interlaced": re.search(r"\bi:[TB]\b", text) is not None,
        "pixel_format": frame[1],
        "colour_range": colours[1],
        "matrix": colours[2],
        "primaries": colours[3],
        "transfer": colours[4],
        "peak": float(peak[1]) if peak else USUAL_PEAK,
    }


@dataclasses.dataclass(frozen=True)
class Packets:
    """What a video stream's packets say of its frames, undecoded; times in seconds, ascending."""

    times_T: np.ndarray
    keys_T: np.ndarray  # those of them that are of keyframes
    last_duration: float  # 0.0: unknown
    complaints: str  # of ffmpeg; empty for an undamaged file


def read_packets(
    path: str, stream: int, clock_start: float = 0.0, first_shown: float = 0.0
) -> Packets:
    """When each frame of a stream is shown, on a clock that starts at ``clock_start``.

    AVI and MPEG program streams say of some frames only when they are decoded. Those are shown in
    another order at the same pace, from ``first_shown`` on.
    """
    _, table, complaints = ffmpeg.output_of(
        ffmpeg.QUIET,
        ["-copyts", "-i", ffmpeg.url(path), "-map", f"0:v:{stream}", "-c", "copy"],
        ["-f", "framecrc", "pipe:1"],
    )
    tick, rows = Fraction(1), []
    for line in table.splitlines():
        if line.startswith(b"#tb"):
            tick = Fraction(line.split(b":")[1].strip().decode())
        elif not line.startswith(b"#"):
            _, decoded, shown, duration, _, _, *more = line.split(b",")
            flags = next((int(f.strip()[4:], 16) for f in more if f.strip()[:2] == b"F="), KEY)
            if not flags & DISCARDED and max(int(shown), int(decoded)) != UNKNOWN:
                rows.append((int(shown), int(duration), flags & KEY, int(decoded)))
    if not rows:
        return Packets(np.zeros(0), np.zeros(0), 0.0, complaints)
    rows.sort()
    shown_T, duration_T, key_T, decoded_T = np.array(rows, np.int64).T
    times_T = shown_T * float(tick) - clock_start
    if shown_T[0] == UNKNOWN:
        decoded_T.sort()
        times_T = (decoded_T - decoded_T[0]) * float(tick) + first_shown
        key_T[:] = 0  # which is shown when, nobody says: such a film is decoded from its start
    last_duration = float(duration_T[-1] * tick)
    return Packets(times_T, times_T[key_T == KEY], last_duration, complaints)


def _decodable(times_T: np.ndarray, first_shown: float) -> np.ndarray:
    """The times without those of frames that cannot be decoded, before the first that can.

    A broadcast's recording may begin with some that refer to a picture before it.
    """
    if len(times_T) < 2:
        return times_T
    nearly = first_shown - 0.5 * np.diff(times_T[:SAMPLED_FRAMES]).mean()
    return times_T[times_T >= nearly] if nearly < times_T[-1] else times_T


def _rate(times_T, last_duration: float, claimed: Fraction | None) -> tuple[Fraction, bool]:
    """The rate that explains every timestamp, or the one to resample to; whether it varies."""
    if claimed is not None and not 0 < claimed <= FASTEST:
        claimed = None
    if len(times_T) < 2:
        return claimed or _nearest_standard(1 / last_duration if last_duration else 25.0), False
    average = (len(times_T) - 1) / max(times_T[-1] - times_T[0], 1e-9)
    offset_T, number_T = times_T - times_T[0], np.arange(len(times_T))
    claims = [_nearest_standard(float(claimed)), claimed] if claimed else []
    candidates = [*claims, _nearest_standard(average), Fraction(average).limit_denominator(1001)]
    candidates = [rate for rate in candidates if 0 < rate <= FASTEST]
    for slack in (
        lambda _: CLOCK_TICK,
        lambda rate: JITTER / rate,
    ):  # an exact fit, or else a near one
        for rate in candidates:
            if np.abs(offset_T - number_T / float(rate)).max() < slack(float(rate)):
                return rate, False
    return _rate_to_keep(np.diff(times_T)), True


def _rate_to_keep(steps: np.ndarray) -> Fraction:
    """A rate at which a film with these steps between frames, in seconds, loses few of them."""
    steps = steps[steps > 1 / FASTEST]
    if not len(steps):
        return Fraction(25)
    usual = np.median(steps)
    while (steps < 0.75 * usual).mean() > 0.05:  # stretches that are really faster
        usual = np.median(steps[steps < 0.75 * usual])
    return _nearest_standard(1 / usual, within=0.05)


def _nearest_standard(rate: float, within: float = 0.01) -> Fraction:
    """A rate that films have, where one is near, or else a fraction near the number itself."""
    nearest = min(STANDARD_RATES, key=lambda standard: abs(standard / rate - 1))
    if abs(nearest / rate - 1) < within:
        return Fraction(nearest)
    return Fraction(rate).limit_denominator(1001) or Fraction(1)
