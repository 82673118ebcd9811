"""Ways through the latent space: between stops, around a code, through a Gaussian, back again."""

import dataclasses
import math

import numpy as np

PARALLEL = 1e-6  # sine of the angle below which two latents have one direction


@dataclasses.dataclass(frozen=True)
class Gaussian:
    """A Gaussian over the latent space, in its principal components, widest first.

    Attributes:
      mean_Z: its mean.
      std_K: standard deviation along each principal component; K is at most Z.
      components_KZ: the components, of length 1 and at right angles.
    """

    mean_Z: np.ndarray
    std_K: np.ndarray
    components_KZ: np.ndarray

    def transform(self, normal_TZ: np.ndarray) -> np.ndarray:
        """Draws of this Gaussian, ``[T, Z]``, from draws of N(0, I), ``[T, Z]``."""
        return self.mean_Z + (normal_TZ[:, : len(self.std_K)] * self.std_K) @ self.components_KZ


def fit(mean_TZ: np.ndarray) -> Gaussian:
    """The Gaussian with the mean and covariance of a film's codes ``[T, Z]``, T at least 2."""
    mean_Z = mean_TZ.mean(axis=0, dtype=np.float64)
    centred_TZ = mean_TZ - mean_Z
    covariance_ZZ = centred_TZ.T @ centred_TZ / (len(mean_TZ) - 1)
    variance_K, components_ZK = np.linalg.eigh(covariance_ZZ)
    std_K = np.sqrt(np.maximum(variance_K[::-1], 0))
    components_KZ = components_ZK.T[::-1]
    # Which of its two signs a component has is open; its largest entry is made positive.
    largest_K = np.abs(components_KZ).argmax(axis=1)
    signs_K = np.sign(components_KZ[np.arange(len(largest_K)), largest_K])
    return Gaussian(mean_Z, std_K, components_KZ * signs_K[:, None])


def slerp(start_Z: np.ndarray, end_Z: np.ndarray, share_T: np.ndarray) -> np.ndarray:
    """Spherical interpolation: the direction turns evenly, the length changes evenly.

    Args:
      start_Z, end_Z: two latents.
      share_T: how far between them, 0 to 1.

    Returns:
      ``[T, Z]``. Latents on one line through the origin, which no single arc joins, are
      interpolated linearly.
    """
    share_T1 = np.asarray(share_T, np.float64)[:, None]
    lengths = np.linalg.norm(start_Z), np.linalg.norm(end_Z)
    if min(lengths) == 0:
        return lerp(start_Z, end_Z, share_T)
    directions = start_Z / lengths[0], end_Z / lengths[1]
    angle = math.acos(float(np.clip(directions[0] @ directions[1], -1, 1)))
    if math.sin(angle) < PARALLEL:
        return lerp(start_Z, end_Z, share_T)
    direction_TZ = (
        np.sin((1 - share_T1) * angle) * directions[0] + np.sin(share_T1 * angle) * directions[1]
    ) / math.sin(angle)
    return ((1 - share_T1) * lengths[0] + share_T1 * lengths[1]) * direction_TZ


def lerp(start_Z: np.ndarray, end_Z: np.ndarray, share_T: np.ndarray) -> np.ndarray:
    """Linear interpolation, as ``slerp``."""
    share_T1 = np.asarray(share_T, np.float64)[:, None]
    return (1 - share_T1) * start_Z + share_T1 * end_Z


INTERPOLATIONS = {"spherical": slerp, "linear": lerp}


def through(stops_NZ: np.ndarray, position_T: np.ndarray, interpolation: str) -> np.ndarray:
    """The path through stops, ``[T, Z]``.

    Args:
      stops_NZ: latents, one or more.
      position_T: where on the path, 0 at the first stop to N-1 at the last.
      interpolation: spherical or linear.
    """
    stops_NZ = np.asarray(stops_NZ, np.float64)
    path_TZ = np.empty((len(position_T), stops_NZ.shape[1]))
    leg_T = np.clip(np.floor(position_T).astype(int), 0, max(0, len(stops_NZ) - 2))
    for leg in np.unique(leg_T):
        on_leg_T = leg_T == leg
        end = min(leg + 1, len(stops_NZ) - 1)
        share_T = np.asarray(position_T)[on_leg_T] - leg
        path_TZ[on_leg_T] = INTERPOLATIONS[interpolation](stops_NZ[leg], stops_NZ[end], share_T)
    return path_TZ


def eased(stops: int, frames: int) -> np.ndarray:
    """Positions of so many frames on a path through stops, slow at each: ``[T]``, 0 to stops-1."""
    position_T = np.linspace(0, stops - 1, frames)
    leg_T = np.floor(position_T)
    share_T = position_T - leg_T
    return leg_T + share_T * share_T * (3 - 2 * share_T)


def slowed(frames: int, factor: int) -> np.ndarray:
    """Positions that show each of so many frames and, after it, ``factor`` - 1 between it and the
    next: ``[(frames - 1) * factor + 1]``."""
    return np.arange((frames - 1) * factor + 1) / factor


def loop(seed: int, frames: int, dimensions: int, harmonics: int) -> np.ndarray:
    """A closed walk of which every point is a draw of N(0, I): ``[T, Z]``.

    A sum of sines with normal amplitudes, a stationary Gaussian process on the circle: after the
    last frame comes the first, at the pace of all others.

    Args:
      seed: chooses the walk.
      frames: in one round.
      dimensions: of the latent space.
      harmonics: how many sines; more go farther within one round.
    """
    amplitudes_2HZ = np.random.default_rng(seed).standard_normal((2, harmonics, dimensions))
    turn_T = 2 * np.pi * np.arange(frames) / frames
    phase_TH = turn_T[:, None] * np.arange(1, harmonics + 1)
    path_TZ = np.cos(phase_TH) @ amplitudes_2HZ[0] + np.sin(phase_TH) @ amplitudes_2HZ[1]
    return path_TZ / math.sqrt(harmonics)


def to_uniform(normal_TZ: np.ndarray) -> np.ndarray:
    """Draws of uniform(-1, 1) from draws of N(0, 1), by the normal distribution function."""
    return np.vectorize(math.erf, otypes=[np.float64])(normal_TZ / math.sqrt(2))


def around(
    centre_Z: np.ndarray, gaussian: Gaussian, frames: int, reach: float = 1.0, turns: int = 3
) -> np.ndarray:
    """A spiral in the plane of the two widest components, out from a code and back: ``[T, Z]``.

    It goes out to ``reach`` standard deviations of the Gaussian along each.
    """
    share_T = np.linspace(0, 1, frames)
    radius_T = reach * np.sin(np.pi * share_T) ** 2
    angle_T = 2 * np.pi * turns * share_T
    offset_T2 = radius_T[:, None] * np.stack([np.cos(angle_T), np.sin(angle_T)], axis=1)
    return centre_Z + offset_T2 @ _plane(gaussian)


def neighbours(centre_Z: np.ndarray, gaussian: Gaussian, steps: np.ndarray) -> np.ndarray:
    """A square of codes around one, in the plane of ``around``: ``[len(steps), len(steps), Z]``.

    Args:
      centre_Z: the code.
      gaussian: whose two widest components span the plane: the widest from left to right, the other
        from top to bottom.
      steps: in standard deviations of the Gaussian along each.
    """
    across_Z, down_Z = _plane(gaussian)
    steps = np.asarray(steps, np.float64)
    return centre_Z + steps[None, :, None] * across_Z + steps[:, None, None] * down_Z


def _plane(gaussian: Gaussian) -> np.ndarray:
    scaled_KZ = (gaussian.std_K[:, None] * gaussian.components_KZ)[:2]
    return np.pad(scaled_KZ, ((0, 2 - len(scaled_KZ)), (0, 0)))


def widest_dimensions(mean_TZ: np.ndarray) -> np.ndarray:
    """Numbers of the latent dimensions, those that vary most over the film first: ``[Z]``."""
    return np.argsort(-mean_TZ.var(axis=0), kind="stable")


def sweep(centre_Z: np.ndarray, dimension: int, values_T: np.ndarray) -> np.ndarray:
    """A code with one of its dimensions at each of some values: ``[T, Z]``."""
    path_TZ = np.repeat(np.asarray(centre_Z, np.float64)[None], len(values_T), axis=0)
    path_TZ[:, dimension] = values_T
    return path_TZ


def swing(start: float, low: float, high: float, frames: int) -> np.ndarray:
    """Values from ``start`` up to ``high``, down to ``low`` and back, along a sine: ``[T]``."""
    middle, reach = (low + high) / 2, (high - low) / 2
    first = math.asin(np.clip((start - middle) / reach, -1, 1)) if reach else 0.0
    return middle + reach * np.sin(first + np.linspace(0, 2 * np.pi, frames))
