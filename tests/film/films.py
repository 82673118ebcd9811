"""Renders small films of many kinds with the bundled ffmpeg."""

import dataclasses
import itertools
import subprocess
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import imageio_ffmpeg
import numpy as np

from vae_gan_jax.film import demo_film

REAL = Path(__file__).parents[3] / "shared" / "films"

# Each film shows four quarters of known colours; a box in the middle flashes white with a beep.
COLOURS = np.array([(200, 30, 40), (30, 180, 60), (20, 60, 210), (128, 128, 128)])
FLASH, LENGTH = 0.5, 0.25  # seconds: start and length of flash and beep


class DemoShot(NamedTuple):
    """A shot of the demo film: its frames from ``start`` up to ``stop``."""

    name: str
    start: int
    stop: int


_STARTS = itertools.accumulate((scene.length for scene in demo_film.SCENES.values()), initial=0)
DEMO_SHOTS = [
    DemoShot(name, start, start + scene.length)
    for (name, scene), start in zip(demo_film.SCENES.items(), _STARTS, strict=False)
]


def run_ffmpeg(*arguments) -> bytes:
    """Runs the bundled ffmpeg, asserts that it succeeds, and returns its output."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]
    done = subprocess.run([*command, *map(str, arguments)], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout


def entries(folder) -> list[str]:
    """The sorted names in a folder, without lock files."""
    return sorted(path.name for path in Path(folder).iterdir() if path.suffix != ".lock")


def counting_film(path, rate="24", count=48, size=(64, 48), options=()):
    """Makes a film whose frames show their number in binary, as eight black or white bars."""
    width, height = size
    bits = "".join(f"+255*eq(floor(X*8/W),{bit})*mod(floor(N/{2**bit}),2)" for bit in range(8))
    run_ffmpeg(
        *("-f", "lavfi", "-i", f"color=black:s={width}x{height}:r={rate},format=gray"),
        *("-vf", f"geq=lum='0{bits}',format=yuv420p", "-frames:v", count),
        *("-c:v", "libx264", "-preset", "ultrafast", "-qp", "0", *options, path),
    )
    return str(path)


def numbers(frames_THWC) -> list[int]:
    """The frame numbers that frames of a counting film show."""
    read = []
    for frame_HWC in frames_THWC:
        height, width, _ = frame_HWC.shape
        bars = [frame_HWC[height // 2, int((bit + 0.5) * width / 8), 1] for bit in range(8)]
        read.append(sum(2**bit for bit in range(8) if bars[bit] > 127))
    return read


def patches(width: int, height: int) -> str:
    """lavfi filters that paint the four quarters and the flash, in RGB."""
    boxes = [("iw/2", "0", 1), ("0", "ih/2", 2), ("iw/2", "ih/2", 3)]
    painted = [
        f"drawbox=x={x}:y={y}:w=iw/2:h=ih/2:t=fill:c=0x{bytes(COLOURS[quarter].tolist()).hex()}"
        for x, y, quarter in boxes
    ]
    flash = (
        f"drawbox=x=iw*3/8:y=ih*3/8:w=iw/4:h=ih/4:t=fill:c=white"
        f":enable='between(t,{FLASH}-0.001,{FLASH + LENGTH})'"
    )
    return ",".join([*painted, flash])


def quarters(frame_HWC) -> np.ndarray:
    """The colours in the quarters of a frame: int [4, 3]."""
    height, width, _ = frame_HWC.shape
    at = [(y, x) for y in (0.25, 0.75) for x in (0.25, 0.75)]
    return np.array([frame_HWC[int(y * height), int(x * width)] for y, x in at], int)


@dataclasses.dataclass(frozen=True)
class Variant:
    """A kind of film: how to render it, and its expected properties."""

    name: str  # with extension
    rate: str = "25"
    size: tuple[int, int] = (128, 72)
    seconds: float = 1.2
    matrix: str = "bt709"
    full: bool = False
    filters: str = ""  # after the colour conversion
    video: tuple = ("-c:v", "libx264", "-preset", "ultrafast", "-qp", "4")
    sounds: tuple = (("-c:a", "aac"),)
    sound_seconds: float | None = None
    more: tuple = ()
    rotation: int = 0
    shown: tuple[int, int] | None = None
    frames: int | None = None
    out_rate: str | None = None
    colour_slack: int = 3

    def make(self, folder: Path) -> str:
        """Makes the film and returns its path."""
        width, height = self.size
        path = folder / self.name
        first = bytes(COLOURS[0].tolist()).hex()
        picture = f"color=c=0x{first}:s={width}x{height}:r={self.rate}:d={self.seconds},format=gbrp"
        beep = (
            f"aevalsrc=0.5*sin(2000*PI*t)*between(t\\,{FLASH}\\,{FLASH + LENGTH})"
            f":d={self.sound_seconds or self.seconds}"
        )
        conversion = (
            f"scale=flags=accurate_rnd:out_color_matrix={self.matrix}"
            f":out_range={'pc' if self.full else 'tv'},format=yuv420p,setparams="
            f"range={'pc' if self.full else 'tv'}:colorspace={self.matrix}"
        )
        filters = [patches(width, height), conversion, *([self.filters] if self.filters else [])]
        sounds = [option for sound in self.sounds for option in sound]
        target = folder / f"unturned_{self.name}" if self.rotation else path
        run_ffmpeg(
            *("-f", "lavfi", "-i", picture),
            *(("-f", "lavfi", "-i", beep) * bool(sounds)),
            *("-map", "0:v", "-vf", ",".join(filters), *self.video),
            *sum((("-map", "1:a") for _ in self.sounds), ()),
            *sounds,
            *self.more,
            target,
        )
        if self.rotation:
            run_ffmpeg(
                *("-display_rotation", self.rotation, "-i", target, "-map", "0", "-c", "copy", path)
            )
        return str(path)

    @property
    def shown_colours(self) -> np.ndarray:
        """The colours in the quarters of a frame as shown, after turning: int [4, 3]."""
        return COLOURS[{90: [1, 3, 0, 2], 180: [3, 2, 1, 0]}.get(self.rotation, [0, 1, 2, 3])]

    @property
    def expected_frames(self) -> int:
        """The number of frames that decoding must give."""
        return self.frames or round(float(Fraction(self.rate)) * self.seconds)


def second_sound_of_unknown_codec(folder: Path) -> str:
    """A film whose second sound track is Apple's APAC by its header, which ffmpeg cannot decode."""
    film = Variant("unknown.mp4", sounds=TWO_SOUNDS[:1] * 2).make(folder)
    content = bytearray(Path(film).read_bytes())
    for name, patched in ((b"mp4a", b"apac"), (b"esds", b"dapa")):
        last = content.rfind(name)
        content[last : last + 4] = patched
    Path(film).write_bytes(content)
    return film


def broken_sound_header(folder: Path, value: int = 0) -> str:
    """A film with a decoder configuration of its sound that consists of bytes of one value."""
    film = Variant("broken_header.mp4").make(folder)
    content = bytearray(Path(film).read_bytes())
    start = content.rfind(b"\x05\x80\x80\x80", 0, len(content)) + 5
    content[start : start + content[start - 1]] = bytes([value]) * content[start - 1]
    Path(film).write_bytes(content)
    return film


def empty_sound(folder: Path) -> str:
    """A film with a sound track that has no packets."""
    film = Variant("sound.mkv").make(folder)
    run_ffmpeg("-i", film, "-c", "copy", "-bsf:a", "noise=drop=1", folder / "empty_sound.mkv")
    return str(folder / "empty_sound.mkv")


def changing_sound(folder: Path, codec: str = "aac") -> str:
    """A broadcast whose sample rate and channels change after 1.2 seconds; a beep in each half."""
    joined = b""
    for rate, channels, offset in ((44_100, 1, 0), (48_000, 2, 1.2)):
        sound = ("-ar", rate, "-ac", channels, "-c:a", codec)
        part = Variant("part.ts", sounds=(sound,), more=("-output_ts_offset", offset))
        joined += Path(part.make(folder)).read_bytes()
    (folder / "changing.ts").write_bytes(joined)
    return str(folder / "changing.ts")


def earlier_stream(folder: Path) -> str:
    """A broadcast with another, smaller picture that starts 0.3 s before picture and sound."""
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc=s=96x64:r=25:d=1.6"),
        *("-i", Variant("later.mkv").make(folder)),
        *("-map", "0", "-map", "1", "-c:v:0", "mpeg2video", "-c:v:1", "copy", "-c:a", "copy"),
        *("-bsf:v:1", "setts=ts=TS+0.3/TB", "-bsf:a", "setts=ts=TS+0.3/TB", folder / "earlier.ts"),
    )
    return str(folder / "earlier.ts")


BT709 = "setparams=color_primaries=bt709:color_trc=bt709"
TWO_SOUNDS = (("-c:a:0", "aac"), ("-c:a:1", "ac3"))
SIXTEEN_CHANNELS = "pan=16c|" + "|".join(f"c{channel}=c0" for channel in range(16))
VARIANTS = (
    Variant("23.976.mp4", rate="24000/1001"),
    Variant("25.mkv"),
    Variant("29.97.mp4", rate="30000/1001"),
    Variant("59.94.mkv", rate="60000/1001"),
    Variant(
        "variable.mp4",
        rate="30",
        filters="select='lt(t,0.4)+gte(t,0.4)*not(mod(n,2))'",
        more=("-fps_mode", "passthrough"),
        seconds=2,
        frames=59,  # the last one begins after 58
    ),
    Variant("turned_90.mp4", rotation=90, shown=(72, 128)),
    Variant("turned_180.mp4", rotation=180),
    Variant("pixels_64_45.mp4", size=(80, 64), filters="setsar=64/45", shown=(114, 64)),
    Variant(
        "pal_4_3.mkv",
        size=(180, 144),
        matrix="bt470bg",
        filters="setsar=16/15",
        shown=(192, 144),
    ),
    Variant(
        "interlaced.mp4",
        rate="50",
        size=(128, 96),
        filters="tinterlace=interleave_top,setfield=tff",
        video=("-c:v", "libx264", "-flags", "+ilme+ildct", "-x264-params", "tff=1", "-qp", "4"),
        out_rate="25",
        frames=30,
    ),
    Variant("bt601.mp4", matrix="smpte170m"),
    Variant("display_p3.mp4", filters=f"{BT709},zscale=p=smpte432:t=bt709", colour_slack=5),
    Variant(
        "bt2020.mkv",
        filters=f"{BT709},zscale=p=bt2020:t=2020_10:m=bt2020nc,format=yuv420p10le",
        video=("-c:v", "libx265", "-x265-params", "log-level=error:lossless=1"),
    ),
    Variant(
        "transparent.mov",
        filters="format=yuva444p10le",
        video=("-c:v", "prores_ks", "-profile:v", "4444"),
    ),
    Variant("full_range.mp4", full=True),
    Variant("full_range.mov", matrix="bt470bg", full=True, video=("-c:v", "mjpeg", "-q:v", "1")),
    Variant("two_sounds.mkv", sounds=TWO_SOUNDS),
    Variant("surround.mp4", sounds=(("-ac", "6", "-c:a", "aac"),)),
    Variant("silent.mp4", sounds=()),
    Variant("longer_sound.mp4", sound_seconds=2),
    Variant(
        "web.webm",
        matrix="smpte170m",
        video=("-c:v", "libvpx", "-b:v", "1M"),
        sounds=(("-c:a", "libvorbis"),),
    ),
    Variant("opus.webm", video=("-c:v", "libvpx-vp9", "-crf", "8"), sounds=(("-c:a", "libopus"),)),
    Variant("odd.mkv", size=(97, 73), filters="format=yuv444p", video=("-c:v", "ffv1")),
    Variant(  # the first frame is shown for two frames
        "old.avi",
        frames=31,
        matrix="smpte170m",
        video=("-c:v", "mpeg4", "-q:v", "1", "-fps_mode", "passthrough"),
        sounds=(("-c:a", "libmp3lame"),),
    ),
    Variant("broadcast.ts", video=("-c:v", "mpeg2video", "-q:v", "1"), sounds=(("-c:a", "mp2"),)),
    Variant(
        "animation.gif",
        rate="10",
        seconds=2,
        filters="split[a][b];[a]palettegen[c];[b][c]paletteuse",
        video=("-c:v", "gif"),
        sounds=(),
        colour_slack=4,
    ),
    Variant("raw.h264", video=("-c:v", "libopenh264", "-b:v", "2M"), sounds=()),
    Variant("one_frame.mp4", seconds=0.04, sounds=()),
    Variant("pcm.mov", sounds=(("-c:a", "pcm_s16le"),)),
    Variant("mp3_at_11025.flv", sounds=(("-c:a", "libmp3lame", "-ar", "11025"),)),
    Variant("dts.mkv", sounds=(("-c:a", "dca", "-ar", "48000", "-ac", "2", "-strict", "-2"),)),
    Variant("sixteen_channels.mov", sounds=(("-af", SIXTEEN_CHANNELS, "-c:a", "pcm_s16le"),)),
)
# Films whose sound is hard to write; each function makes one in a folder.
HARD_SOUND = (
    second_sound_of_unknown_codec,
    broken_sound_header,
    empty_sound,
    changing_sound,
    earlier_stream,
)
