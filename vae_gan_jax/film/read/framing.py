"""Converts the picture of a film to frames of one size, as ffmpeg filters."""

import dataclasses
import re
from collections.abc import Sequence
from fractions import Fraction

from vae_gan_jax.config import InputError
from vae_gan_jax.config.flag_text import check_crop
from vae_gan_jax.film.read.black_bars import picture_inside
from vae_gan_jax.film.read.probe import Probe
from vae_gan_jax.film.read.trim import section

SCALING = "flags=bicubic+accurate_rnd+full_chroma_int"
# zscale is faster than scale and equally exact, but only for these formats and even sides.
ZSCALE_FORMATS = r"yuvj?4(20|22|44)p(1[02]le)?"
ZSCALE_SCALING = "filter=bicubic:param_a=0:param_b=0.5"
HDR_TRANSFERS = ("smpte2084", "arib-std-b67")  # PQ and HLG
RGB = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "mono", "gray", "ya")
TRANSPARENT = ("rgba", "bgra", "argb", "abgr", "gbrap", "ya", "pal8")
MATRICES = ("bt709", "bt470bg", "smpte170m", "smpte240m", "fcc", "bt2020nc")
REFERENCE_WHITE_NITS = 203.0  # diffuse white in PQ and HLG (ITU-R BT.2408)


@dataclasses.dataclass(frozen=True)
class Framing:
    """Which part of a film becomes frames, and the size of the frames.

    Attributes:
      width, height: of a frame, pixels.
      crop: rectangle of the displayed picture, with square pixels: ``W:H`` is the largest central
        one of that aspect ratio, ``W:H:X:Y`` is in pixels, ``auto`` removes black bars. Each is
        then cropped centrally to the aspect ratio of the frames. ``none`` letterboxes instead.
      trim_start, trim_end: time range, seconds; None: the film's own.
      video_stream: index among the video streams; None: the largest.
      fps: frames a second of stills; None: 24.
    """

    width: int
    height: int
    crop: str = "16:9"
    trim_start: float | None = None
    trim_end: float | None = None
    video_stream: int | None = None
    fps: Fraction | None = None

    def __post_init__(self):
        check_crop(self.crop)


@dataclasses.dataclass(frozen=True)
class Rectangle:
    """Size and top left corner of a part of a picture, pixels."""

    width: float
    height: float
    x: float
    y: float

    def central(self, aspect_ratio: Fraction | float) -> "Rectangle":
        """The largest central part with this aspect ratio, width over height."""
        width = min(self.width, self.height * aspect_ratio)
        height = min(self.height, self.width / aspect_ratio)
        return Rectangle(
            width, height, self.x + (self.width - width) / 2, self.y + (self.height - height) / 2
        )


def chosen_rectangle(film: Probe, framing: Framing) -> Rectangle:
    """The part of the displayed picture that becomes a frame.

    Raises:
      InputError: the crop lies outside the picture.
    """
    picture = Rectangle(film.width, film.height, 0, 0)
    if framing.crop == "none":
        return picture
    aspect_ratio = Fraction(framing.width, framing.height)
    if framing.crop == "auto":
        return _without_bars(film, framing).central(aspect_ratio)
    numbers = [int(number) for number in framing.crop.split(":")]
    if len(numbers) == 2:
        picture = picture.central(Fraction(*numbers))
    else:
        picture = Rectangle(*numbers)
        if picture.x + picture.width > film.width or picture.y + picture.height > film.height:
            raise InputError(
                f"--crop={framing.crop} reaches outside the picture of {film.path}, "
                f"which is {film.width}x{film.height}: give a rectangle inside it."
            )
    return picture.central(aspect_ratio)


def _without_bars(film: Probe, framing: Framing) -> Rectangle:
    trimmed = section(film, framing.trim_start, framing.trim_end)
    left, top, right, bottom = picture_inside(film, trimmed.first, trimmed.count or 1)
    across, down = film.width / film.stored_width, film.height / film.stored_height
    return Rectangle((right - left) * across, (bottom - top) * down, left * across, top * down)


def filter_chain(film: Probe, framing: Framing, cut: Sequence[str] = ()) -> str:
    """ffmpeg's filters from the decoded picture to RGB frames of the framing's size.

    The filters of ``cut``, which select frames, come after deinterlacing, which needs neighbouring
    frames, and before the other filters, whose work on dropped frames would be wasted.
    """
    filters = []
    if film.interlaced:
        filters.append("bwdif=mode=send_frame:parity=auto:deint=interlaced")
    filters += cut
    area = _stored(film, chosen_rectangle(film, framing))
    if (area.width, area.height) != (film.stored_width, film.stored_height):
        filters.append(f"crop={area.width}:{area.height}:{area.x}:{area.y}:exact=1")
    width, height = framing.width, framing.height
    if framing.crop == "none":
        fit = min(Fraction(width, film.width), Fraction(height, film.height))
        width, height = round(film.width * fit), round(film.height * fit)
    filters += _to_rgb(film, area, max(width, 1), max(height, 1))
    if (width, height) != (framing.width, framing.height):
        filters.append(f"pad={framing.width}:{framing.height}:(ow-iw)/2:(oh-ih)/2:black")
    return ",".join(filters)


def _stored(film: Probe, area: Rectangle) -> Rectangle:
    """A rectangle in stored pixels; its corner is even, as subsampled chroma requires."""
    across, down = film.stored_width / film.width, film.stored_height / film.height
    return Rectangle(
        max(1, round(area.width * across)),
        max(1, round(area.height * down)),
        int(area.x * across) // 2 * 2,
        int(area.y * down) // 2 * 2,
    )


def _to_rgb(film: Probe, area: Rectangle, width: int, height: int) -> list[str]:
    """Scales and converts to 8-bit RGB of BT.709, from the film's own matrix and range."""
    scale = f"scale={width}:{height}:{SCALING}"
    if film.pixel_format.startswith(RGB):
        over_black = ["format=gbrap", "premultiply=inplace=1", "format=gbrp"]
        transparent = film.pixel_format.startswith(TRANSPARENT)
        return [*(over_black if transparent else []), scale, "format=rgb24"]
    full = film.colour_range == "pc" or film.pixel_format.startswith("yuvj")
    if film.transfer in HDR_TRANSFERS:
        return [scale, "format=yuv444p12le", *_tone_map(film, full), "format=rgb24"]
    matrix = film.matrix
    if matrix not in MATRICES:
        # Players assume BT.709 for untagged films above 576 lines, and BT.601 otherwise.
        high = film.stored_width >= 1280 or film.stored_height > 576
        matrix = "bt709" if high else "smpte170m"
    if re.fullmatch(ZSCALE_FORMATS, film.pixel_format) and not (area.width % 2 or area.height % 2):
        colours = f"min={matrix}:rin={'full' if full else 'limited'}:m=gbr:r=full"
        return [f"zscale={width}:{height}:{ZSCALE_SCALING}:{colours}", "format=gbrp,format=rgb24"]
    colours = f"in_color_matrix={matrix}:in_range={'pc' if full else 'tv'}:out_range=pc"
    return [f"{scale}:{colours}", "format=rgb24"]


def _tone_map(film: Probe, full: bool) -> list[str]:
    """Maps HDR light to BT.709: linear below 0.3 of reference white, above by a Moebius curve."""
    return [
        f"zscale=tin={film.transfer}:min=bt2020nc:pin=bt2020:rin={'full' if full else 'limited'}"
        f":t=linear:npl={REFERENCE_WHITE_NITS}",
        "format=gbrpf32le",
        "zscale=p=bt709",
        f"tonemap=mobius:param=0.3:desat=0:peak={film.peak / REFERENCE_WHITE_NITS:.4f}",
        "zscale=t=bt709:m=gbr:r=full",
        "format=gbrp",
    ]
