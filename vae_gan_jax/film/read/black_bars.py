"""Where a film's black bars are: letterbox and pillarbox, found over samples of all of it."""

import functools

import numpy as np

from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.probe import Probe

SAMPLES = 40  # frames spread over the film; one bright one suffices to show the picture's edge
BLACK = 20  # of 255; bars are at 0 but for what compression adds
BRIGHTEST = 98  # percentile of a line that must be black: a speck of noise does not make a picture


@functools.lru_cache(maxsize=16)
def picture_inside(film: Probe, first: int, count: int) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the picture within its bars, in stored pixels.

    Looks at frames ``first`` to ``first + count``. A film that is black throughout has no bars.
    """
    row_level_H = np.zeros(film.stored_height)
    column_level_W = np.zeros(film.stored_width)
    for position in np.unique(np.linspace(0, count - 1, SAMPLES).astype(int)):
        luma_HW = _luma(film, first + int(position))
        if luma_HW is not None:
            row_level_H = np.maximum(row_level_H, np.percentile(luma_HW, BRIGHTEST, axis=1))
            column_level_W = np.maximum(column_level_W, np.percentile(luma_HW, BRIGHTEST, axis=0))
    rows, columns = np.flatnonzero(row_level_H > BLACK), np.flatnonzero(column_level_W > BLACK)
    if not len(rows) or not len(columns):
        return 0, 0, film.stored_width, film.stored_height
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _luma(film: Probe, frame: int) -> np.ndarray | None:
    """One frame's luma, uint8 [height, width] with black at 0; None where it does not decode."""
    at = film.start + frame / float(film.rate)
    # Without a seek to the very start, which not every format can do.
    seek = ["-ss", f"{at:.6f}"] if frame else []
    _, luma, _ = ffmpeg.output_of(
        [*ffmpeg.QUIET, *seek, *film.input, "-map", f"0:v:{film.stream}", "-frames:v", "1"],
        ["-vf", "scale=out_range=pc,format=gray", "-f", "rawvideo", "pipe:1"],
    )
    if len(luma) != film.stored_width * film.stored_height:
        return None
    return np.frombuffer(luma, np.uint8).reshape(film.stored_height, film.stored_width)
