"""Reads the presentation times of the frames that an ffmpeg process outputs."""

import math
import tempfile
from fractions import Fraction

from vae_gan_jax.film import ffmpeg


class FrameClock:
    """The time of each frame.

    ffmpeg needs ``arguments`` among those of its output. It then writes the time of a frame to a
    temporary file before it outputs the frame.
    """

    def __init__(self):
        self._file = tempfile.NamedTemporaryFile("r", prefix="times-")  # noqa: SIM115  (close)
        self.arguments = [
            *("-enc_time_base", "filter", "-stats_enc_pre", ffmpeg.url(self._file.name)),
            *("-stats_enc_pre_fmt", "{pts} {tb}"),
        ]

    def next(self, count: int) -> list[float]:
        """Times of the next ``count`` frames, seconds, after these were read; NaN if unknown."""
        lines = [self._file.readline().split() for _ in range(count)]
        return [float(int(line[0]) * Fraction(line[1])) if line[1:] else math.nan for line in lines]

    def close(self) -> None:
        """Removes the temporary file."""
        self._file.close()
