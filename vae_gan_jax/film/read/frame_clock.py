"""Which frame of a film each decoded one is, by the time that ffmpeg says it is shown at."""

import math
import tempfile
from fractions import Fraction

from vae_gan_jax.film import ffmpeg


class FrameClock:
    """The times of the frames that an ffmpeg gives, frame by frame.

    ``arguments``, among those of its output, have ffmpeg write each time to a file before it gives
    the frame.
    """

    def __init__(self):
        self._file = tempfile.NamedTemporaryFile("r", prefix="times-")  # noqa: SIM115  (close)
        self.arguments = [
            *("-enc_time_base", "filter", "-stats_enc_pre", ffmpeg.url(self._file.name)),
            *("-stats_enc_pre_fmt", "{pts} {tb}"),
        ]

    def next(self, count: int) -> list[float]:
        """Of the next ``count`` frames, which have been read: seconds of the output's clock.

        Not a number where a time could not be written, on a full disk.
        """
        lines = [self._file.readline().split() for _ in range(count)]
        return [float(int(line[0]) * Fraction(line[1])) if line[1:] else math.nan for line in lines]

    def close(self) -> None:
        """Removes the file."""
        self._file.close()
