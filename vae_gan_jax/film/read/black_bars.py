"""Finds the black bars of a letterboxed or pillarboxed film."""

import functools

import numpy as np

from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.probe import Probe

SAMPLED_FRAMES = 40  # spread over the film; a single bright frame shows the edges of the picture
BLACK_LEVEL = 20  # of 255; bars are at 0 except for compression noise
PERCENTILE = 98  # of the levels in a row or column, so that specks of noise do not count as picture


@functools.lru_cache(maxsize=16)
def picture_inside(film: Probe, first: int, count: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the picture inside its bars, in stored pixels.

    Samples the ``count`` frames from number ``first`` on. A black film has no bars.
    """
    row_level_H = np.zeros(film.stored_height)
    column_level_W = np.zeros(film.stored_width)
    for position in np.unique(np.linspace(0, count - 1, SAMPLED_FRAMES).astype(int)):
        luma_HW = _luma(film, first + int(position))
        if luma_HW is not None:
            row_level_H = np.maximum(row_level_H, np.percentile(luma_HW, PERCENTILE, axis=1))
            column_level_W = np.maximum(column_level_W, np.percentile(luma_HW, PERCENTILE, axis=0))
    rows = np.flatnonzero(row_level_H > BLACK_LEVEL)
    columns = np.flatnonzero(column_level_W > BLACK_LEVEL)
    if not len(rows) or not len(columns):
        return 0, 0, film.stored_width, film.stored_height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _luma(film: Probe, frame: int) -> np.ndarray | None:
    """One frame's luma, uint8 ``[H, W]`` with black at 0; None if it does not decode."""
    time = film.start + frame / float(film.rate)
    seek = ["-ss", f"{time:.6f}"] if frame else []  # some formats cannot seek to frame 0
    _, luma, _ = ffmpeg.output_of(
        [*ffmpeg.QUIET, *seek, *film.input, "-map", f"0:v:{film.stream}", "-frames:v", "1"],
        ["-vf", "scale=out_range=pc,format=gray", "-f", "rawvideo", "pipe:1"],
    )
    if len(luma) != film.stored_width * film.stored_height:
        return None
    return np.frombuffer(luma, np.uint8).reshape(film.stored_height, film.stored_width)
