"""Paths through the latent space as pure functions: interpolations, walks, spirals, sweeps."""

import math
from collections.abc import Callable

import numpy as np

from vae_gan_jax.inference.gaussian import Gaussian

MIN_SINE = 1e-6  # of the angle between two latents; below it they lie on one line


def slerp(start_Z: np.ndarray, end_Z: np.ndarray, fraction_T: np.ndarray) -> np.ndarray:
    """Spherical interpolation ``[T, Z]``: direction and length change evenly.

    ``fraction_T`` goes from 0 at the start to 1 at the end. Latents on one line through the origin,
    where the arc is undefined, are interpolated linearly.
    """
    fraction_T1 = np.asarray(fraction_T, np.float64)[:, None]
    lengths = np.linalg.norm(start_Z), np.linalg.norm(end_Z)
    if min(lengths) == 0:
        return lerp(start_Z, end_Z, fraction_T)
    directions = start_Z / lengths[0], end_Z / lengths[1]
    angle = math.acos(float(np.clip(directions[0] @ directions[1], -1, 1)))
    if math.sin(angle) < MIN_SINE:
        return lerp(start_Z, end_Z, fraction_T)
    direction_TZ = (
        np.sin((1 - fraction_T1) * angle) * directions[0]
        + np.sin(fraction_T1 * angle) * directions[1]
    ) / math.sin(angle)
    return ((1 - fraction_T1) * lengths[0] + fraction_T1 * lengths[1]) * direction_TZ


def lerp(start_Z: np.ndarray, end_Z: np.ndarray, fraction_T: np.ndarray) -> np.ndarray:
    """Linear interpolation ``[T, Z]``, with the arguments of ``slerp``."""
    fraction_T1 = np.asarray(fraction_T, np.float64)[:, None]
    return (1 - fraction_T1) * start_Z + fraction_T1 * end_Z


Interpolation = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]
INTERPOLATIONS: dict[str, Interpolation] = {"spherical": slerp, "linear": lerp}


def path_through(
    stops_NZ: np.ndarray, position_T: np.ndarray, interpolate: Interpolation
) -> np.ndarray:
    """The path ``[T, Z]`` through one stop or more.

    ``position_T`` goes from 0 at the first stop to N-1 at the last; ``interpolate`` has the
    arguments of ``slerp``.
    """
    stops_NZ = np.asarray(stops_NZ, np.float64)
    path_TZ = np.empty((len(position_T), stops_NZ.shape[1]))
    leg_T = np.clip(np.floor(position_T).astype(int), 0, max(0, len(stops_NZ) - 2))
    for leg in np.unique(leg_T):
        on_leg_T = leg_T == leg
        end = min(leg + 1, len(stops_NZ) - 1)
        fraction_T = np.asarray(position_T)[on_leg_T] - leg
        path_TZ[on_leg_T] = interpolate(stops_NZ[leg], stops_NZ[end], fraction_T)
    return path_TZ


def eased_positions(stops: int, frames: int) -> np.ndarray:
    """Positions ``[frames]`` from 0 to stops-1 that slow down at every stop."""
    position_T = np.linspace(0, stops - 1, frames)
    leg_T = np.floor(position_T)
    fraction_T = position_T - leg_T
    return leg_T + fraction_T * fraction_T * (3 - 2 * fraction_T)


def slow_motion_positions(frames: int, factor: int) -> np.ndarray:
    """Positions ``[(frames - 1) * factor + 1]`` at even steps of ``1 / factor`` frame."""
    return np.arange((frames - 1) * factor + 1) / factor


def loop(seed: int, frames: int, dimensions: int, harmonics: int) -> np.ndarray:
    """A closed walk ``[frames, dimensions]`` whose points are draws of N(0, I).

    It is a sum of sines with normal amplitudes, a stationary Gaussian process on the circle. The
    step from the last frame to the first is as large as the others. With more ``harmonics``, sines,
    the walk goes farther in one round.
    """
    amplitudes_2HZ = np.random.default_rng(seed).standard_normal((2, harmonics, dimensions))
    turn_T = 2 * np.pi * np.arange(frames) / frames
    phase_TH = turn_T[:, None] * np.arange(1, harmonics + 1)
    path_TZ = np.cos(phase_TH) @ amplitudes_2HZ[0] + np.sin(phase_TH) @ amplitudes_2HZ[1]
    return path_TZ / math.sqrt(harmonics)


def to_uniform(normal_TZ: np.ndarray) -> np.ndarray:
    """Turns draws of N(0, 1) into draws of uniform(-1, 1), by the normal distribution function."""
    return np.vectorize(math.erf, otypes=[np.float64])(normal_TZ / math.sqrt(2))


def spiral(
    centre_Z: np.ndarray, gaussian: Gaussian, frames: int, radius: float = 1.0, turns: int = 3
) -> np.ndarray:
    """A spiral ``[T, Z]`` out from a code and back, in the plane of the first two components.

    ``radius`` is in standard deviations of the Gaussian along each component.
    """
    fraction_T = np.linspace(0, 1, frames)
    radius_T = radius * np.sin(np.pi * fraction_T) ** 2
    angle_T = 2 * np.pi * turns * fraction_T
    offset_T2 = radius_T[:, None] * np.stack([np.cos(angle_T), np.sin(angle_T)], axis=1)
    return centre_Z + offset_T2 @ _plane(gaussian)


def grid(centre_Z: np.ndarray, gaussian: Gaussian, steps: np.ndarray) -> np.ndarray:
    """A square grid ``[len(steps), len(steps), Z]`` around a code, in the plane of ``spiral``.

    The first component of ``gaussian`` varies from left to right, the second from top to bottom;
    ``steps`` are standard deviations.
    """
    across_Z, down_Z = _plane(gaussian)
    steps = np.asarray(steps, np.float64)
    return centre_Z + steps[None, :, None] * across_Z + steps[:, None, None] * down_Z


def _plane(gaussian: Gaussian) -> np.ndarray:
    scaled_KZ = (gaussian.std_K[:, None] * gaussian.components_KZ)[:2]
    return np.pad(scaled_KZ, ((0, 2 - len(scaled_KZ)), (0, 0)))


def widest_dimensions(mean_TZ: np.ndarray) -> np.ndarray:
    """Numbers of the latent dimensions ``[Z]``, largest variance over the film first."""
    return np.argsort(-mean_TZ.var(axis=0), kind="stable")


def sweep(centre_Z: np.ndarray, dimension: int, values_T: np.ndarray) -> np.ndarray:
    """The code ``[T, Z]`` with one dimension set to each of the values."""
    path_TZ = np.repeat(np.asarray(centre_Z, np.float64)[None], len(values_T), axis=0)
    path_TZ[:, dimension] = values_T
    return path_TZ


def swing(start: float, low: float, high: float, frames: int) -> np.ndarray:
    """Values ``[T]`` along a sine from ``start`` up to ``high``, down to ``low`` and back."""
    middle, amplitude = (low + high) / 2, (high - low) / 2
    first = math.asin(np.clip((start - middle) / amplitude, -1, 1)) if amplitude else 0.0
    return middle + amplitude * np.sin(first + np.linspace(0, 2 * np.pi, frames))
