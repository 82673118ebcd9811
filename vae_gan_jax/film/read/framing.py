"""Which part of a film becomes frames of one size: its frames, and ffmpeg's filters for them."""

import dataclasses
import math
import re
from collections.abc import Sequence
from fractions import Fraction

from vae_gan_jax.config import InputError
from vae_gan_jax.config.flag_text import check_crop
from vae_gan_jax.film.read import frame_sizes
from vae_gan_jax.film.read.black_bars import picture_inside
from vae_gan_jax.film.read.colours import hide_matrix, to_rgb
from vae_gan_jax.film.read.probe import Probe

DEINTERLACED_FORMATS = r"yuva?j?4\d\dp.*"  # others are converted for it, which takes time
MIN_DEINTERLACED_SIDE = 16  # pixels; bwdif refuses planes of fewer than four lines, chroma included


@dataclasses.dataclass(frozen=True)
class Framing:
    """Which part of a film becomes frames, and the size of the frames."""

    width: int  # of a frame, pixels
    height: int
    # A rectangle of the displayed picture, with square pixels: W:H is the largest central one of
    # that aspect ratio, W:H:X:Y is in pixels, auto removes black bars. Each is then cropped
    # centrally to the aspect ratio of the frames. none letterboxes instead.
    crop: str = "16:9"
    trim_start: float | None = None  # time range, seconds; None: the film's own
    trim_end: float | None = None
    video_stream: int | None = None  # index among the video streams; None: see probe
    fps: Fraction | None = None  # frames a second of stills; None: 24

    def __post_init__(self):
        check_crop(self.crop)


@dataclasses.dataclass(frozen=True)
class Section:
    """A range of frames of a film."""

    first: int  # number of the first frame, at the film's rate
    count: int
    start: float  # when the first frame is shown, seconds of the film's clock


def section(film: Probe, framing: Framing) -> Section:
    """The frames shown from ``trim_start`` until just before ``trim_end``.

    Raises InputError if there are no such frames, or the trim ends after the film.
    """
    first, stop, end = 0, film.frames, framing.trim_end
    if framing.trim_start is not None:
        first = max(0, math.ceil(_position(film, framing.trim_start)))
    if end is not None:
        if end > film.end + 1 / film.rate:
            raise InputError(
                f"--trim_end={end:g} is after the end of {film.path}, {film.end:.2f} s: "
                "give an earlier end, or none."
            )
        stop = min(stop, max(0, math.ceil(_position(film, end))))
    if stop <= first:
        trims = {"--trim_start": framing.trim_start, "--trim_end": end}
        given = " and ".join(f"{flag}={time:g}" for flag, time in trims.items() if time is not None)
        raise InputError(
            f"no frame of {film.path}, which lasts from {film.start:.2f} to {film.end:.2f} s, is "
            f"within {given}: give other times."
        )
    return Section(first, stop - first, film.start + float(first / film.rate))


def _position(film: Probe, seconds: float) -> float:
    """A time in frames, slightly early, so that a frame with a rounded timestamp is included."""
    return (seconds - film.start) * float(film.rate) - 0.05


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

    Raises InputError if the crop lies outside the picture.
    """
    part, ratios = _part(film, framing), _ratios(framing)
    for ratio in ratios:
        part = part.central(ratio)
    return part


def _part(film: Probe, framing: Framing) -> Rectangle:
    """The part of the displayed picture that is then cropped centrally to ``_ratios``."""
    if framing.crop == "auto":
        trimmed = section(film, framing)
        first_shape = dataclasses.replace(film, several_shapes=False)
        left, top, right, bottom = picture_inside(first_shape, trimmed.first, trimmed.count)
        across, down = film.width / film.stored_width, film.height / film.stored_height
        size = (right - left) * across, (bottom - top) * down
        return Rectangle(*size, left * across, top * down)
    if framing.crop == "none" or framing.crop.count(":") == 1:
        return Rectangle(film.width, film.height, 0, 0)
    part = Rectangle(*map(int, framing.crop.split(":")))
    if part.x + part.width > film.width or part.y + part.height > film.height:
        raise InputError(
            f"--crop={framing.crop} reaches outside the picture of {film.path}, "
            f"which is {film.width}x{film.height}: give a rectangle inside it."
        )
    return part


def _ratios(framing: Framing) -> list[Fraction]:
    if framing.crop == "none":
        return []
    first = [Fraction(*map(int, framing.crop.split(":")))] if framing.crop.count(":") == 1 else []
    return [*first, Fraction(framing.width, framing.height)]


def filter_chain(film: Probe, framing: Framing, cut: Sequence[str] = ()) -> str:
    """ffmpeg's filters from the decoded picture to RGB frames of the framing's size.

    The filters of ``cut``, which select frames, come after deinterlacing, which needs neighbouring
    frames, and before the other filters, whose work on dropped frames would be wasted.
    """
    area = _stored(film, chosen_rectangle(film, framing))
    filters = hide_matrix(film)
    if not film.turned:
        filters.append(_one_size(film, framing, area))
    if film.several_shapes and framing.crop == "none":
        film = dataclasses.replace(film, width=framing.width, height=framing.height)
    suits = film.interlaced or re.fullmatch(DEINTERLACED_FORMATS, film.pixel_format)
    if suits and min(film.stored_width, film.stored_height) >= MIN_DEINTERLACED_SIDE:
        filters.append("bwdif=mode=send_frame:parity=auto:deint=interlaced")  # flagged frames only
    filters += cut
    if (area.width, area.height) != (film.stored_width, film.stored_height):
        filters.append(f"crop={area.width}:{area.height}:{area.x}:{area.y}:exact=1")
    width, height = framing.width, framing.height
    if framing.crop == "none":
        fit = min(Fraction(width, film.width), Fraction(height, film.height))
        width, height = round(film.width * fit), round(film.height * fit)
    even = area.width % 2 == 0 == area.height % 2
    filters += to_rgb(film, even, max(width, 1), max(height, 1))
    if (width, height) != (framing.width, framing.height):
        filters.append(f"pad={framing.width}:{framing.height}:(ow-iw)/2:(oh-ih)/2:black")
    return ",".join(filters)


def _one_size(film: Probe, framing: Framing, area: Rectangle) -> str:
    if not film.several_shapes:
        return frame_sizes.same_shape(film)
    if framing.crop == "none":
        return frame_sizes.letterbox_each_frame(film, Fraction(framing.width, framing.height))
    part = _part(film, framing)
    if framing.crop == "auto":  # the bars are those of the first shape
        part = Rectangle(film.width, film.height, 0, 0)
    fractions = (
        *(part.x / film.width, part.y / film.height),
        *(part.width / film.width, part.height / film.height),
    )
    pixels = area.x, area.y, area.width, area.height
    return frame_sizes.crop_each_frame(film, fractions, _ratios(framing), pixels)


def _stored(film: Probe, area: Rectangle) -> Rectangle:
    """A rectangle in stored pixels; its corner is even, as subsampled chroma requires."""
    across, down = film.stored_width / film.width, film.stored_height / film.height
    return Rectangle(
        max(1, round(area.width * across)),
        max(1, round(area.height * down)),
        int(area.x * across) // 2 * 2,
        int(area.y * down) // 2 * 2,
    )
