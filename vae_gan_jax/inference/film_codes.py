"""What lies between the codes of a film's frames: mixtures of neighbours, and paths along them.

The codes of frames fill little of the latent space. Most of its points, among them most draws of
N(0, I) and most points half-way between two codes, decode to textures or double exposures. The
mixtures and paths of this module stay among the codes and decode to pictures.
"""

import dataclasses

import numpy as np
from scipy.sparse import csgraph

MAX_CODES = 2000  # of a longer film this many, evenly spaced; a path needs the square of it
NEIGHBOURS = 5  # codes that a mixture is made of
# A step costs its length to this power, so that many short steps are cheaper than a long one.
STEP_POWER = 3
MIN_DISTANCE = 1e-2  # SciPy takes costs below 1e-8 for missing edges


@dataclasses.dataclass(frozen=True)
class FilmCodes:
    """The codes of a film's frames, ``[N, Z]``, of at most ``MAX_CODES`` of them.

    ``of`` makes it from the codes of any number of frames.
    """

    codes_NZ: np.ndarray

    @classmethod
    def of(cls, codes_TZ: np.ndarray) -> "FilmCodes":
        """Takes evenly spaced codes of a film."""
        return cls(codes_TZ[evenly_spaced(len(codes_TZ))].astype(np.float64))

    def mixtures(self, random: np.random.Generator, count: int) -> np.ndarray:
        """Draws ``[count, Z]``: each a random convex mixture of a code and its nearest codes."""
        neighbours = min(NEIGHBOURS, len(self.codes_NZ))
        draws = []
        for number in random.integers(len(self.codes_NZ), size=count):
            distance_N = _distances(self.codes_NZ[[number]], self.codes_NZ)[0]
            nearest = np.argpartition(distance_N, neighbours - 1)[:neighbours]
            draws.append(random.dirichlet(np.ones(neighbours)) @ self.codes_NZ[nearest])
        return np.array(draws)

    def shortest_path(
        self, start_Z: np.ndarray, end_Z: np.ndarray, fraction_T: np.ndarray
    ) -> np.ndarray:
        """The shortest path ``[T, Z]`` between two codes over codes of the film.

        Each step costs the cube of its length. Speed is constant; ``fraction_T`` goes from 0 at the
        start to 1 at the end.
        """
        codes_NZ = np.concatenate([[start_Z], self.codes_NZ, [end_Z]]).astype(np.float64)
        distance_NN = np.maximum(_distances(codes_NZ, codes_NZ), MIN_DISTANCE)
        _, before_N = csgraph.dijkstra(distance_NN**STEP_POWER, indices=0, return_predecessors=True)
        stops = [len(codes_NZ) - 1]
        while before_N[stops[-1]] >= 0:
            stops.append(before_N[stops[-1]])
        stops_SZ = codes_NZ[[0, *stops[-2::-1]] if stops[-1] == 0 else [0, stops[0]]]
        length_S = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(stops_SZ, axis=0), axis=1))]
        at_T = np.asarray(fraction_T) * length_S[-1]
        return np.stack([np.interp(at_T, length_S, stops_S) for stops_S in stops_SZ.T], axis=1)


def evenly_spaced(count: int, most: int = MAX_CODES, least: int = 0) -> np.ndarray:
    """Numbers of at most ``most`` of ``count`` frames; with fewer than ``least``, some repeat."""
    chosen = max(least, min(count, most))
    return np.arange(chosen) * count // chosen


def _distances(first_NZ: np.ndarray, second_MZ: np.ndarray) -> np.ndarray:
    """Euclidean distances ``[N, M]``."""
    squares_NM = (first_NZ**2).sum(1)[:, None] + (second_MZ**2).sum(1) - 2 * first_NZ @ second_MZ.T
    return np.sqrt(np.maximum(squares_NM, 0))
