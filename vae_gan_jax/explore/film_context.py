"""A film as explorations and controls see it: its codes, their distribution, its shots."""

import dataclasses
import functools

import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import InputError
from vae_gan_jax.film.film_scan import FilmScan
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.inference import film_codes, gaussian
from vae_gan_jax.inference.trained_model import Model


class TooShortError(InputError):
    """A film has too few frames for an exploration."""


@dataclasses.dataclass(frozen=True)
class FilmContext:
    """A model and a film, which is encoded once, when its codes are first needed.

    ``reader`` is None for the first film that the model learnt.
    """

    model: Model
    reader: FilmReader | None = None

    @property
    def film(self) -> FilmReader:
        """The film; raises InputError if there is none."""
        return self.reader or self.model.film

    @functools.cached_property
    def _scan_and_codes(self) -> tuple[FilmScan, np.ndarray]:
        scan, film = FilmScan(), self.film
        frames = tqdm(film.frames(), f"codes of {film.name}", film.count, unit="frame")
        return scan, self.model.encode(scan.watch(frames)).mean

    @property
    def scan(self) -> FilmScan:
        """The film's shots and movement."""
        return self._scan_and_codes[0]

    @property
    def codes_TZ(self) -> np.ndarray:
        """The codes of all frames of the film."""
        return self._scan_and_codes[1]

    @functools.cached_property
    def gaussian(self) -> gaussian.Gaussian:
        """The Gaussian fitted to the film's codes.

        Raises TooShortError if the film has only one frame.
        """
        if len(self.codes_TZ) < 2:
            raise TooShortError(
                f"{self.film.name} has only one frame: give a film of two or more frames."
            )
        return gaussian.fit(self.codes_TZ)

    @functools.cached_property
    def film_codes(self) -> film_codes.FilmCodes:
        """The film's codes, to mix and to go along."""
        return film_codes.FilmCodes.of(self.codes_TZ)

    def number(self, seconds: float) -> int:
        """The number of the frame at a preset's time; raises InputError if the film lacks it."""
        return self.film.number(seconds, flag="")

    def code_at(self, seconds: float) -> np.ndarray:
        """The code of the frame at a time of the film's clock, ``[Z]``.

        Raises InputError if the time lies outside the film.
        """
        return self.model.encode(self.film.at([self.number(seconds)])).mean[0]
