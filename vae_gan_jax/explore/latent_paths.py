"""Paths through the latent space as pure functions: interpolations and walks."""

import math
from collections.abc import Callable

import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.explore.curves import EASINGS

SECONDS_PER_WALK_PART = 4.0  # of a walk: between stops, or one harmonic
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
    return leg_T + EASINGS["smooth"](position_T - leg_T)


def closed(stops_NZ: np.ndarray, frames: int, interpolate: Interpolation) -> np.ndarray:
    """The path ``[frames, Z]`` through stops and back to the first one."""
    position_T = np.arange(frames) * len(stops_NZ) / frames
    return path_through(np.concatenate([stops_NZ, stops_NZ[:1]]), position_T, interpolate)


def prior_walk(config: Config, frames: int, harmonics: int) -> np.ndarray:
    """A closed walk ``[frames, Z]`` through the prior of a run."""
    walk_TZ = loop(config.seed, frames, config.z_dim, harmonics)
    return walk_TZ if config.prior == "normal" else to_uniform(walk_TZ)


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
