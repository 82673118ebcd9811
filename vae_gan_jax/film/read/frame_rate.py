"""Derives the exact frame rate of a film from its timestamps."""

from fractions import Fraction

import numpy as np

NTSC = Fraction(1000, 1001)
STANDARD_RATES = (12, 15, 24 * NTSC, 24, 25, 30 * NTSC, 30, 48, 50, 60 * NTSC, 60, 100, 120, 240)
DEFAULT_RATE = Fraction(25)
MAX_RATE = 4000  # frames a second
MAX_CLAIMED_RATE = 240  # frames a second; some containers claim the tick rate of their clock
ROUNDING_SECONDS = 1.1e-3  # Matroska rounds timestamps to milliseconds
MAX_JITTER_FRAMES = 0.3  # of the frames of a constant rate


def detect(
    times_T: np.ndarray, last_duration: float, claimed: Fraction | None
) -> tuple[Fraction, bool]:
    """The constant rate that fits every timestamp and False, or a rate to resample to and True.

    ``times_T`` ascend, in seconds; a ``last_duration`` of 0 is unknown; ``claimed`` is the
    container's.
    """
    if len(times_T) < 2:
        return plausible_rate(claimed, last_duration), False
    average = (len(times_T) - 1) / max(times_T[-1] - times_T[0], 1e-9)
    candidates = [_nearest_standard(average), Fraction(average).limit_denominator(1001)]
    if claimed:
        candidates = [_nearest_standard(float(claimed)), claimed, *candidates]
    candidates = [rate for rate in candidates if 0 < rate <= MAX_RATE]
    offset_T, number_T = times_T - times_T[0], np.arange(len(times_T))
    errors = [np.abs(offset_T - number_T / float(rate)).max() for rate in candidates]
    for exact in (True, False):
        for rate, error in zip(candidates, errors, strict=True):
            limit = min(ROUNDING_SECONDS * float(rate), 0.5) if exact else MAX_JITTER_FRAMES
            if error * float(rate) < limit:
                return rate, False
    return _rate_to_resample_to(np.diff(times_T)), True


def plausible_rate(claimed: Fraction | None, duration: float = 0.0) -> Fraction:
    """The rate of a film without usable timestamps; ``duration`` of a frame, seconds, if known."""
    if claimed is not None and 0 < claimed <= MAX_CLAIMED_RATE:
        return claimed
    return _nearest_standard(1 / duration) if duration else DEFAULT_RATE


def _rate_to_resample_to(steps: np.ndarray) -> Fraction:
    """A rate that loses few frames; ``steps`` are the seconds between frames."""
    steps = steps[steps > 1 / MAX_RATE]
    if not len(steps):
        return DEFAULT_RATE
    step = np.median(steps)
    while (steps < 0.75 * step).mean() > 0.05:  # part of the film is faster
        step = np.median(steps[steps < 0.75 * step])
    return _nearest_standard(1 / step, tolerance=0.05)


def _nearest_standard(rate: float, tolerance: float = 0.01) -> Fraction:
    """The nearest standard rate within a relative tolerance, otherwise a fraction near ``rate``."""
    nearest = min(STANDARD_RATES, key=lambda standard: abs(standard / rate - 1))
    if abs(nearest / rate - 1) < tolerance:
        return Fraction(nearest)
    return Fraction(rate).limit_denominator(1001) or Fraction(1)
