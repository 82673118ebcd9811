"""From a film's picture to frames of one size, as ffmpeg filters: which part, which colours."""

import dataclasses
import re
from collections.abc import Sequence
from fractions import Fraction

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.black_bars import picture_inside
from vae_gan_jax.film.read.probe import Probe
from vae_gan_jax.film.read.trim import section

SCALING = "flags=bicubic+accurate_rnd+full_chroma_int"
# zscale is faster and as exact, but only for these and for even sides.
FASTER, FASTER_SCALING = r"yuvj?4(20|22|44)p(1[02]le)?", "filter=bicubic:param_a=0:param_b=0.5"
HIGH_DYNAMIC_RANGE = ("smpte2084", "arib-std-b67")  # PQ and HLG
RGB = ("rgb", "bgr", "gbr", "argb", "abgr", "0rgb", "0bgr", "pal8", "mono", "gray", "ya")
MATRICES = ("bt709", "bt470bg", "smpte170m", "smpte240m", "fcc", "bt2020nc")
REFERENCE_WHITE = 203.0  # nits of a white page in PQ and HLG (ITU-R BT.2408)


@dataclasses.dataclass(frozen=True)
class Framing:
    """What of a film becomes frames, and of which size.

    ``crop`` chooses a rectangle of the picture as it is shown, with square pixels: ``W:H`` the
    largest central one of that shape, ``W:H:X:Y`` that very one, in pixels, ``auto`` the picture
    without its black bars. It is then cropped centrally to the shape of the frames, so that nothing
    is ever distorted. ``none`` keeps everything and pads with black.
    """

    width: int
    height: int
    crop: str = "16:9"
    trim_start: float | None = None  # seconds
    trim_end: float | None = None
    video_stream: int | None = None
    fps: Fraction | None = None  # stills only

    def __post_init__(self):
        if not re.fullmatch(r"auto|none|[1-9]\d*:[1-9]\d*(:\d+:\d+)?", self.crop):
            raise InputError(
                f"--crop={self.crop} is no shape: give W:H such as 16:9, W:H:X:Y, auto or none."
            )


@dataclasses.dataclass(frozen=True)
class Rectangle:
    """Part of a picture, in pixels: its size and its top left corner."""

    width: float
    height: float
    x: float
    y: float

    def central(self, shape: Fraction | float) -> "Rectangle":
        """The largest rectangle of that shape (width over height) in its middle."""
        width = min(self.width, self.height * shape)
        height = min(self.height, self.width / shape)
        return Rectangle(
            width, height, self.x + (self.width - width) / 2, self.y + (self.height - height) / 2
        )


def chosen_rectangle(film: Probe, framing: Framing) -> Rectangle:
    """The part of the picture, as shown, that becomes a frame.

    Raises:
      InputError: the rectangle given lies outside the picture.
    """
    picture = Rectangle(film.width, film.height, 0, 0)
    if framing.crop == "none":
        return picture
    shape = Fraction(framing.width, framing.height)
    if framing.crop == "auto":
        return _without_bars(film, framing).central(shape)
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
    return picture.central(shape)


def _without_bars(film: Probe, framing: Framing) -> Rectangle:
    kept = section(film, framing.trim_start, framing.trim_end)
    left, top, right, bottom = picture_inside(film, kept.first, kept.count or 1)
    across, down = film.width / film.stored_width, film.height / film.stored_height
    return Rectangle((right - left) * across, (bottom - top) * down, left * across, top * down)


def filter_chain(film: Probe, framing: Framing, cut: Sequence[str] = ()) -> str:
    """ffmpeg's filters from the decoded picture to RGB frames of the framing's size.

    Those of ``cut``, which choose among the frames, come after deinterlacing, which looks at
    neighbours, and before all that would be in vain for a frame left out.
    """
    filters = []
    if film.interlaced:
        filters.append("bwdif=mode=send_frame:parity=auto:deint=interlaced")
    filters += cut
    part = _stored(film, chosen_rectangle(film, framing))
    if (part.width, part.height) != (film.stored_width, film.stored_height):
        filters.append(f"crop={part.width}:{part.height}:{part.x}:{part.y}:exact=1")
    width, height = framing.width, framing.height
    if framing.crop == "none":
        fit = min(Fraction(width, film.width), Fraction(height, film.height))
        width, height = round(film.width * fit), round(film.height * fit)
    filters += _to_rgb(film, part, max(width, 1), max(height, 1))
    if (width, height) != (framing.width, framing.height):
        filters.append(f"pad={framing.width}:{framing.height}:(ow-iw)/2:(oh-ih)/2:black")
    return ",".join(filters)


def _stored(film: Probe, part: Rectangle) -> Rectangle:
    """The rectangle in stored pixels; corners on even ones, where coarser chroma has samples."""
    across, down = film.stored_width / film.width, film.stored_height / film.height
    return Rectangle(
        max(1, round(part.width * across)),
        max(1, round(part.height * down)),
        int(part.x * across) // 2 * 2,
        int(part.y * down) // 2 * 2,
    )


def _to_rgb(film: Probe, part: Rectangle, width: int, height: int) -> list[str]:
    """Scales and turns into 8-bit RGB of BT.709, the film's own matrix and range stated."""
    scale = f"scale={width}:{height}:{SCALING}"
    if film.pixel_format.startswith(RGB):
        return [*_over_black(film), scale, "format=rgb24"]
    full = film.colour_range == "pc" or film.pixel_format.startswith("yuvj")
    if film.transfer in HIGH_DYNAMIC_RANGE:
        return [scale, "format=yuv444p12le", *_tone_map(film, full), "format=rgb24"]
    matrix = film.matrix
    if matrix not in MATRICES:
        # As players do: what does not say is BT.709 from 720 lines upwards and BT.601 below.
        high = film.stored_width >= 1280 or film.stored_height > 576
        matrix = "bt709" if high else "smpte170m"
    if re.fullmatch(FASTER, film.pixel_format) and not (part.width % 2 or part.height % 2):
        colours = f"min={matrix}:rin={'full' if full else 'limited'}:m=gbr:r=full"
        return [f"zscale={width}:{height}:{FASTER_SCALING}:{colours}", "format=gbrp,format=rgb24"]
    colours = f"in_color_matrix={matrix}:in_range={'pc' if full else 'tv'}:out_range=pc"
    return [f"{scale}:{colours}", "format=rgb24"]


def _over_black(film: Probe) -> list[str]:
    """Transparent pictures are laid over black; RGB knows no transparency."""
    if not film.pixel_format.startswith(("rgba", "bgra", "argb", "abgr", "gbrap", "ya", "pal8")):
        return []
    return ["format=gbrap", "premultiply=inplace=1", "format=gbrp"]


def _tone_map(film: Probe, full: bool) -> list[str]:
    """HDR light to that of a BT.709 screen, of which reference white is the unit.

    Up to 0.3 of it, and so faces and shadows, nothing changes; from there a Moebius curve leads the
    brightest that the film was mastered for to 1.
    """
    return [
        f"zscale=tin={film.transfer}:min=bt2020nc:pin=bt2020:rin={'full' if full else 'limited'}"
        f":t=linear:npl={REFERENCE_WHITE}",
        "format=gbrpf32le",
        "zscale=p=bt709",
        f"tonemap=mobius:param=0.3:desat=0:peak={film.peak / REFERENCE_WHITE:.4f}",
        "zscale=t=bt709:m=gbr:r=full",
        "format=gbrp",
    ]
