"""The exact frame rate that explains the timestamps of a film."""

from fractions import Fraction

import numpy as np

NTSC = Fraction(1000, 1001)
STANDARD_RATES = (12, 15, 24 * NTSC, 24, 25, 30 * NTSC, 30, 48, 50, 60 * NTSC, 60, 100, 120)
DEFAULT_RATE = Fraction(25)  # if nothing is known
MAX_RATE = 240  # frames a second; the ticks of a clock, mistaken for a rate, are far above
CLOCK_TICK_SECONDS = 1.1e-3  # Matroska rounds timestamps to milliseconds
JITTER_FRAMES = 0.3  # by which frames of a constant rate may be early or late


def detect(
    times_T: np.ndarray, last_duration: float, claimed: Fraction | None
) -> tuple[Fraction, bool]:
    """The rate that explains every timestamp, or one to resample to; and whether the rate varies.

    Args:
      times_T: when each frame is shown, seconds, ascending.
      last_duration: seconds of the last frame; 0: unknown.
      claimed: the rate that the container claims, if any.
    """
    if claimed is not None and not 0 < claimed <= MAX_RATE:
        claimed = None
    if len(times_T) < 2:
        rate = 1 / last_duration if last_duration else float(DEFAULT_RATE)
        return claimed or _nearest_standard(rate), False
    average = (len(times_T) - 1) / max(times_T[-1] - times_T[0], 1e-9)
    candidates = [_nearest_standard(average), Fraction(average).limit_denominator(1001)]
    if claimed:
        candidates = [_nearest_standard(float(claimed)), claimed, *candidates]
    candidates = [rate for rate in candidates if 0 < rate <= MAX_RATE]
    offset_T, number_T = times_T - times_T[0], np.arange(len(times_T))
    errors = [np.abs(offset_T - number_T / float(rate)).max() for rate in candidates]
    for exact in (True, False):  # prefers a rate that fits exactly
        for rate, error in zip(candidates, errors, strict=True):
            if error < (CLOCK_TICK_SECONDS if exact else JITTER_FRAMES / float(rate)):
                return rate, False
    return _rate_to_resample_to(np.diff(times_T)), True


def _rate_to_resample_to(steps: np.ndarray) -> Fraction:
    """A rate at which a film with these steps between frames, in seconds, loses few frames."""
    steps = steps[steps > 1 / MAX_RATE]
    if not len(steps):
        return DEFAULT_RATE
    usual = np.median(steps)
    while (steps < 0.75 * usual).mean() > 0.05:  # part of the film is really faster
        usual = np.median(steps[steps < 0.75 * usual])
    return _nearest_standard(1 / usual, within=0.05)


def _nearest_standard(rate: float, within: float = 0.01) -> Fraction:
    """The nearest standard rate within a relative tolerance, or else a fraction near ``rate``."""
    nearest = min(STANDARD_RATES, key=lambda standard: abs(standard / rate - 1))
    if abs(nearest / rate - 1) < within:
        return Fraction(nearest)
    return Fraction(rate).limit_denominator(1001) or Fraction(1)
