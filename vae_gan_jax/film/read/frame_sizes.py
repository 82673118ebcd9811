"""Brings every frame of a film to the size, format and matrix of the first, as ffmpeg filters.

A broadcast, a call or a joined film may change them at any frame. Filters that count frames or
compare them would begin again there, so ffmpeg must not rebuild them (``KEEP_FILTERS``).
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from vae_gan_jax.film.read.colours import MATRICES, SCALING, is_rgb, matrix_of, swscale_matrix
from vae_gan_jax.film.read.probe import Probe

STOPPED = "Error when evaluating the expression"  # by ffmpeg, at a frame of another shape
MAX_STRETCH = 0.01  # 1920x1088 counts as 1920x1080
NO_OUTPUT_FORMATS = r"pal8|uyyvyy|bayer|.*f(16|32)"  # ffmpeg's scale reads these only


def same_shape(film: Probe) -> str:
    """Scales frames of the film's shape; ffmpeg stops with ``STOPPED`` at one of another shape."""
    size = f"w='if({_has_shape(film)},{film.stored_width},0/0)':h={film.stored_height}"
    return f"{_scale(film, size)},{_format(film)}"


def crop_each_frame(
    film: Probe, part: Sequence[float], ratios: Sequence[Fraction], area: Sequence[int]
) -> str:
    """Moves the chosen part of every frame, whatever its shape, to where the first frame has it.

    ``part``, fractions of the picture, is cropped centrally to each of the aspect ratios in turn.
    In the film's first frame this gives ``area``, pixels. Both are left, top, width and height.
    """
    left, top, across, down = part
    width, height = f"{across}*dar", f"{down}"  # in heights of the frame
    for ratio in map(float, ratios):
        width, height = f"min({width},({height})*{ratio})", f"min({height},({width})/{ratio})"
    scaled = f"round({area[2]}*dar/({width})/2)*2", f"round({area[3]}/({height})/2)*2"
    own = film.stored_width, film.stored_height
    size = [
        f"'if({_has_shape(film)},{side},{other})'" for side, other in zip(own, scaled, strict=True)
    ]
    middle = area[0] + area[2] / 2, area[1] + area[3] / 2
    x = f"round(({middle[0]}-{left + across / 2}*w)/2)*2"
    y = f"round(({middle[1]}-{top + down / 2}*h)/2)*2"
    unmoved = f"eq(w,{own[0]})*eq(h,{own[1]})"
    return (
        f"split[a][b];[a]{_scale(film, f'{own[0]}:{own[1]}')}[a];"
        f"[b]{_scale(film, f'w={size[0]}:h={size[1]}')}[b];"
        f"[a][b]overlay=x='if({unmoved},0,{x})':y='if({unmoved},0,{y})':eval=frame:format=auto,"
        f"{_format(film)}"
    )


def letterbox_each_frame(film: Probe, ratio: Fraction) -> str:
    """Letterboxes every frame to an aspect ratio, in a picture of the film's stored size."""
    width, height = film.stored_width, film.stored_height
    size = (
        f"w='floor({width}*min(1,dar/{float(ratio)})/2)*2'"
        f":h='floor({height}*min(1,{float(ratio)}/dar)/2)*2'"
    )
    pad = f"pad={width}:{height}:(ow-iw)/2:(oh-ih)/2:black:eval=frame"
    return f"{_scale(film, size)},{_format(film)},{pad}"


def _has_shape(film: Probe) -> str:
    return f"lt(abs(dar*{film.height}/{film.width}-1),{MAX_STRETCH})"


def _scale(film: Probe, size: str) -> str:
    colours = ""
    if not is_rgb(film) and matrix_of(film) in MATRICES:
        colours = f":{swscale_matrix(film, 'out')}"
        if film.matrix not in MATRICES:  # untagged
            colours += f":in_color_matrix={matrix_of(film)}"
    return f"scale={size}:eval=frame:interl=-1:{SCALING}{colours}"


def _format(film: Probe) -> str:
    writable = re.match(NO_OUTPUT_FORMATS, film.pixel_format) is None
    return f"format={film.pixel_format if writable else 'gbrap16le'}"
