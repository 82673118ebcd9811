"""Where the codes of a film without a source come from: ``codes`` of a preset."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.explore import latent_paths, presets
from vae_gan_jax.explore.film_context import FilmContext, TooShortError
from vae_gan_jax.film.read.reader import time_code, time_in_name
from vae_gan_jax.inference.codes import Codes, latents
from vae_gan_jax.inference.trained_model import STATISTICS_BATCHES, Model, prior_draws

SAMPLE_SECONDS = 0.5  # how long a sample is shown, unless the preset says


@dataclasses.dataclass(frozen=True)
class SourceCodes:
    """Codes ``[T, Z]``, the model that decodes them, and where they come from.

    ``suffix`` is appended to file names.
    """

    codes_TZ: np.ndarray
    model: Model
    caption: str
    suffix: str = ""


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes the codes of ``frames`` frames at ``rate``."""

    config: Config
    film: FilmContext
    frames: int
    rate: Fraction

    def walk(self, source: str) -> SourceCodes:
        parts = max(1, round(self.frames / float(self.rate) / latent_paths.SECONDS_PER_WALK_PART))
        draws_TZ, caption = self._draws(source)
        if source == "film":
            stops_NZ = draws_TZ[[*range(parts + 1), 0]]
            position_T = np.arange(self.frames) * (len(stops_NZ) - 1) / self.frames
            path_TZ = self._path(stops_NZ, position_T, "film")
        else:
            path_TZ = latent_paths.loop(self.config.seed, self.frames, self.config.z_dim, parts)
            if self.config.prior == "uniform":
                path_TZ = latent_paths.to_uniform(path_TZ)
        model = self.film.model.with_latent_statistics(draws_TZ)
        return SourceCodes(path_TZ, model, f"A closed walk through {caption}")

    def samples(self, source: str, every: float = SAMPLE_SECONDS) -> SourceCodes:
        draws_TZ, caption = self._draws(source)
        chosen_T = (np.arange(self.frames) / float(self.rate) / every + 1e-6).astype(int)
        model = self.film.model.with_latent_statistics(draws_TZ)
        return SourceCodes(draws_TZ[chosen_T], model, f"Independent samples of {caption}")

    def _draws(self, source: str) -> tuple[np.ndarray, str]:
        """Independent codes, enough for a film and for batch-norm statistics."""
        config, film = self.config, self.film
        count = max(STATISTICS_BATCHES * config.batch_size, self.frames)
        if source == "prior":
            name = "N(0, I)" if config.prior == "normal" else "uniform(-1, 1)"
            return prior_draws(config, count), f"the prior, {name}"
        random = np.random.default_rng([config.seed, 1])
        return film.film_codes.mixtures(random, count), (
            f"mixtures of neighbouring codes of {film.film.name}"
        )

    def path(self, times: Sequence[float]) -> SourceCodes:
        named_by = "path of the preset" if times else "--at"
        number = self.film.number if times else self.film.film.number  # names --at in errors
        numbers = [number(seconds) for seconds in times or self.config.at]
        if len(numbers) < 2:
            raise InputError(
                f"{named_by} names fewer than two times: give two or more to interpolate."
            )
        reader, kind = self.film.film, self.config.interpolation
        stops_NZ = self.film.model.encode(reader.at(numbers)).mean
        position_T = latent_paths.eased_positions(len(numbers), self.frames)
        first, last = (time_in_name(reader.seconds(number)) for number in (numbers[0], numbers[-1]))
        legs = f"_{len(numbers) - 1}_legs" if len(numbers) > 2 else ""
        return SourceCodes(
            self._path(stops_NZ, position_T, kind),
            self.film.model,
            f"Between frames of {reader.name}, interpolation {kind}",
            f"_{first}_to_{last}{legs}",
        )

    def _path(self, stops_NZ: np.ndarray, position_T: np.ndarray, kind: str) -> np.ndarray:
        interpolate = latent_paths.INTERPOLATIONS.get(kind) or self.film.film_codes.shortest_path
        return latent_paths.path_through(stops_NZ, position_T, interpolate)

    def time(self, seconds: float | None) -> SourceCodes:
        number, reader = self._start(seconds), self.film.film
        codes_TZ = np.repeat(self.film.codes_TZ[[number]], self.frames, axis=0)
        time = reader.seconds(number)
        caption = f"From the code of the frame at {time_code(time)} of {reader.name}"
        return SourceCodes(codes_TZ, self.film.model, caption, f"_{time_in_name(time)}")

    def slow(self, factor: float) -> SourceCodes:
        start, reader = self._start(None), self.film.film
        if not self.config.at:
            start = self.film.scan.shot_at(start).first
        codes_TZ = self.film.codes_TZ[start:]
        time = reader.seconds(start)
        if len(codes_TZ) < 2:
            raise TooShortError(
                f"{reader.name} has no frame after {time_code(time)}: give --at an earlier time "
                "for slow motion."
            )
        position_T = np.arange(self.frames) / factor
        position_T = position_T[position_T <= len(codes_TZ) - 1]
        caption = f"{reader.name} from {time_code(time)}, {factor:g} times slower"
        path_TZ = self._path(codes_TZ, position_T, "linear")
        return SourceCodes(path_TZ, self.film.model, caption, f"_{time_in_name(time)}")

    def file(self, path: str) -> SourceCodes:
        codes = Codes.load(path)
        mean_TZ = latents(codes.mean, f"mean of {path}", self.config.z_dim)
        codes_TZ = mean_TZ[codes.film_frames(self.rate)]
        return SourceCodes(codes_TZ, self.film.model, f"The codes of {path}")

    def _start(self, seconds: float | None) -> int:
        """A frame: at a time, else at the first ``--at``, else in the middle of a long shot."""
        film, at = self.film, self.config.at
        if seconds is not None or at:
            number = film.film.number(at[0]) if seconds is None else film.number(seconds)
            return min(number, len(film.codes_TZ) - 1)
        longest = max(film.scan.shots, key=lambda shot: shot.stop - shot.first)
        shot = film.scan.static_shot() or longest
        return (shot.first + shot.stop - 1) // 2


def make(
    codes: dict[str, Any], config: Config, film: FilmContext, frames: int, rate: Fraction
) -> SourceCodes:
    """The codes of a film of ``frames`` frames at ``rate``.

    Args:
      codes: of a preset.
      config: the settings of the command: its seed, its times and how it interpolates.
      film: the film of the codes.

    Raises:
      InputError: the film is too short, or has no such time, or a file of codes cannot be read.
    """
    kind = next(kind for kind in presets.CODES if kind in codes)
    more = {name: value for name, value in codes.items() if name != kind}
    return getattr(_Maker(config, film, frames, rate), kind)(codes[kind], **more)
