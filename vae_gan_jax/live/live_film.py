"""The learnt film for the live page: its codes, a map of them, and a walk along them."""

import dataclasses
import functools
import logging
import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import latent_paths
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.inference import codes_film, film_codes

logger = logging.getLogger(__name__)

WALK_STOPS, WALK_LEG_SECONDS = 12, 4.0  # of the walk through the film's codes
MAX_WALK_CODES = 400  # that a walk goes along; a path needs the square of it


@dataclasses.dataclass(frozen=True)
class LiveFilm(FilmContext):
    """A film whose codes stay in the run's folder, where ``--mode=encode`` writes them."""

    progress: Callable[[float], None] = lambda done: None  # 0 to 1, while the film is encoded
    _encoding: threading.Lock = dataclasses.field(default_factory=threading.Lock, compare=False)

    @functools.cached_property
    def codes_TZ(self) -> np.ndarray:
        """The codes of all frames; raises InputError if the film cannot be read."""
        with self._encoding:  # a preset can need them while the film is being encoded
            return codes_film.run_codes(self.model, self.film, progress=self.progress).mean

    @functools.cached_property
    def map_T2(self) -> np.ndarray:
        """The codes in the plane of their first two components, each coordinate 0 to 1."""
        components_KZ = self.gaussian.components_KZ[:2]
        point_T2 = (self.codes_TZ - self.gaussian.mean_Z) @ components_KZ.T
        point_T2 = np.pad(point_T2, ((0, 0), (0, 2 - point_T2.shape[1])))
        low_2, high_2 = point_T2.min(axis=0), point_T2.max(axis=0)
        return (point_T2 - low_2) / np.maximum(high_2 - low_2, 1e-9)

    def map_message(self) -> dict[str, Any]:
        """The map as the page reads it."""
        shown = film_codes.evenly_spaced(len(self.codes_TZ))
        variance_K = self.gaussian.std_K**2
        firsts = [shot.first for shot in self.film.shots]
        return {
            "type": "map",
            "points": self.map_T2[shown].round(4).tolist(),
            "times": [round(self.film.seconds(int(number)), 3) for number in shown],
            "shots": np.searchsorted(firsts, shown, side="right").tolist(),
            "variance": (variance_K[:2] / max(variance_K.sum(), 1e-30)).round(4).tolist(),
        }

    def nearest(self, x: float, y: float) -> int:
        """The number of the frame whose code is nearest on the map."""
        return int(np.argmin(((self.map_T2 - (x, y)) ** 2).sum(axis=1)))

    @functools.cached_property
    def walk_TZ(self) -> np.ndarray:
        """A closed walk along codes of the film, ``[T, Z]`` at the film's rate."""
        chosen = film_codes.evenly_spaced(len(self.codes_TZ), MAX_WALK_CODES)
        codes = film_codes.FilmCodes.of(self.codes_TZ[chosen])
        random = np.random.default_rng(self.model.config.seed)
        stops_NZ = codes.mixtures(random, WALK_STOPS)
        frames = round(WALK_STOPS * WALK_LEG_SECONDS * float(self.film.rate))
        return latent_paths.closed(stops_NZ, frames, codes.shortest_path)


def learnt(model, progress: Callable[[float], None]) -> LiveFilm | None:
    """The first learnt film of a run; None if the film cannot be read and has no record."""
    try:
        model.film.rate  # raises if the film cannot be read  # noqa: B018
        return LiveFilm(model, model.film, progress)
    except InputError as error:
        logger.warning("%s", error)
        return None
