"""Finds the black bars of a letterboxed or pillarboxed film."""

import functools

import numpy as np

from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.colours import hide_matrix
from vae_gan_jax.film.read.frame_sizes import same_shape
from vae_gan_jax.film.read.probe import Probe

SAMPLED_FRAMES = 40  # spread over the film; a single bright frame shows the edges of the picture
BLACK_LEVEL = 20  # of 255; bars are at 0 except for compression noise
LIT_SHARE = 0.9  # of a row or column of the picture that is lit in some frame
PERCENTILE = 98  # of the levels in a row or column, so that specks of noise do not count as picture


@functools.lru_cache(maxsize=64)
def picture_inside(film: Probe, first: int, count: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the picture inside its bars, in stored pixels.

    Samples the ``count`` frames from number ``first`` on. A black film has no bars.
    """
    level_HW = np.zeros((film.stored_height, film.stored_width), np.uint8)
    row_level_H, column_level_W = np.zeros(film.stored_height), np.zeros(film.stored_width)
    for position in np.unique(np.linspace(0, count - 1, SAMPLED_FRAMES).astype(int)):
        luma_HW = _luma(film, first + int(position))
        if luma_HW is not None:
            level_HW = np.maximum(level_HW, luma_HW)
            row_level_H = np.maximum(row_level_H, np.percentile(luma_HW, PERCENTILE, axis=1))
            column_level_W = np.maximum(column_level_W, np.percentile(luma_HW, PERCENTILE, axis=0))
    rows, columns = row_level_H > BLACK_LEVEL, column_level_W > BLACK_LEVEL
    if not rows.any() or not columns.any():
        return 0, 0, film.stored_width, film.stored_height
    lit_HW = level_HW > BLACK_LEVEL
    top, bottom = _ends(rows, lit_HW[:, columns].mean(axis=1) > LIT_SHARE)
    left, right = _ends(columns, lit_HW[top:bottom].mean(axis=0) > LIT_SHARE)
    return left, top, right, bottom


def _ends(lit_N: np.ndarray, full_N: np.ndarray) -> tuple[int, int]:
    """Where the picture begins and ends among rows or columns.

    Those lit as a whole belong to it. Those lit in part are its dark edges, or subtitles in a bar:
    subtitles are apart from the picture, or they make the bars unequal.
    """
    places, full = np.flatnonzero(lit_N), np.flatnonzero(full_N & lit_N)
    if not len(full):
        return int(places[0]), int(places[-1]) + 1
    first, stop = int(full[0]), int(full[-1]) + 1
    outer_first, outer_stop = first, stop
    while outer_first > 0 and lit_N[outer_first - 1]:
        outer_first -= 1
    while outer_stop < len(lit_N) and lit_N[outer_stop]:
        outer_stop += 1
    # Each bar ends between the outer and the inner edge; both bars are equal if possible.
    before, after = (outer_first, first), (len(lit_N) - outer_stop, len(lit_N) - stop)
    equal = max(before[0], after[0])
    if equal <= min(before[1], after[1]):
        return equal, len(lit_N) - equal
    return outer_first, outer_stop


def _luma(film: Probe, frame: int) -> np.ndarray | None:
    """One frame's luma, uint8 ``[H, W]`` with black at 0; None if it does not decode."""
    time = film.start + frame / float(film.rate)
    seek = ["-ss", f"{time:.6f}"] if frame else []  # some formats cannot seek to frame 0
    filters = hide_matrix(film)
    if not film.turned:
        filters.append(same_shape(film))  # no frames of another shape
    filters.append("scale=out_range=pc,format=gray")
    _, luma, _ = ffmpeg.output_of(
        [*ffmpeg.QUIET, *seek, *film.input, "-map", f"0:v:{film.stream}", "-frames:v", "1"],
        ["-vf", ",".join(filters), "-f", "rawvideo", "pipe:1"],
    )
    if len(luma) != film.stored_width * film.stored_height:
        return None
    return np.frombuffer(luma, np.uint8).reshape(film.stored_height, film.stored_width)
