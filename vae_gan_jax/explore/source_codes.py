"""Where the codes of a film without a source come from: ``codes`` of a preset."""

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from vae_gan_jax.config import FIELDS, Config, InputError
from vae_gan_jax.explore import latent_paths, presets
from vae_gan_jax.explore.film_context import FilmContext, TooShortError
from vae_gan_jax.explore.preset_values import errors_at
from vae_gan_jax.film.read.reader import time_code, time_in_name
from vae_gan_jax.inference.codes import Codes, latents
from vae_gan_jax.inference.trained_model import STATISTICS_BATCHES, Model, prior_draws

SAMPLE_SECONDS = 0.5  # how long a sample is shown, unless the preset says
# Flags, and the kinds of codes that depend on them.
FLAGS = {
    "seconds": ("walk", "samples", "path", "time", "slow"),
    "at": ("path", "time", "slow"),
    "interpolation": ("path",),
    "slowdown": ("slow",),
}


@dataclasses.dataclass(frozen=True)
class SourceCodes:
    """Codes of a film.

    Attributes:
      codes_TZ: the codes.
      rate: frames a second.
      model: decodes them.
      caption: where they come from.
      suffix: appended to the names of the files.
      label_T: what each frame shows; default: its time in the film that is written.
    """

    codes_TZ: np.ndarray
    rate: Fraction
    model: Model
    caption: str
    suffix: str = ""
    label_T: Sequence[str] | None = None

    def label(self, number: int) -> str:
        """What a frame shows."""
        return self.label_T[number] if self.label_T else f"{number / float(self.rate):.2f} s"


@dataclasses.dataclass(frozen=True)
class _Maker:
    """Makes the codes of ``frames`` frames at ``rate``; ``place`` is that of codes in a preset."""

    config: Config
    film: FilmContext
    frames: int
    rate: Fraction
    place: str

    def walk(self, source: str) -> SourceCodes:
        parts = max(1, round(self.frames / float(self.rate) / latent_paths.SECONDS_PER_WALK_PART))
        draws_TZ, caption = self._draws(source)
        if source == "film":
            shortest_path = self.film.film_codes.shortest_path
            path_TZ = latent_paths.closed(draws_TZ[: parts + 1], self.frames, shortest_path)
        else:
            path_TZ = latent_paths.prior_walk(self.config, self.frames, parts)
        model = self.film.model.with_latent_statistics(draws_TZ)
        return SourceCodes(path_TZ, self.rate, model, f"A closed walk through {caption}")

    def samples(self, source: str, every: float = SAMPLE_SECONDS) -> SourceCodes:
        draws_TZ, caption = self._draws(source)
        chosen_T = (np.arange(self.frames) / float(self.rate) / every + 1e-6).astype(int)
        model = self.film.model.with_latent_statistics(draws_TZ)
        label_T = [f"sample {number}" for number in chosen_T + 1]
        caption = f"Independent samples of {caption}"
        return SourceCodes(draws_TZ[chosen_T], self.rate, model, caption, label_T=label_T)

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
        numbers = self._numbers(times)
        if len(numbers) < 2:
            named_by = f"{self.place}path" if times and not self.config.at else "--at"
            raise InputError(
                f"{named_by} names fewer than two times: give two or more to interpolate."
            )
        reader, kind = self.film.film, self.config.interpolation
        stops_NZ = self.film.model.encode(reader.at(numbers)).mean
        position_T = latent_paths.eased_positions(len(numbers), self.frames)
        seconds = [reader.seconds(number) for number in numbers]
        legs = f"_{len(numbers) - 1}_legs" if len(numbers) > 2 else ""
        return SourceCodes(
            self._path(stops_NZ, position_T, kind),
            self.rate,
            self.film.model,
            f"Between frames of {reader.name}, interpolation {kind}",
            f"_{time_in_name(seconds[0])}_to_{time_in_name(seconds[-1])}{legs}",
            [f"{time_code(seconds[int(at)])} + {at % 1:.0%}" for at in position_T],
        )

    def _path(self, stops_NZ: np.ndarray, position_T: np.ndarray, kind: str) -> np.ndarray:
        interpolate = latent_paths.INTERPOLATIONS.get(kind) or self.film.film_codes.shortest_path
        return latent_paths.path_through(stops_NZ, position_T, interpolate)

    def time(self, seconds: float | None) -> SourceCodes:
        number, reader = self._start([] if seconds is None else [seconds]), self.film.film
        codes_TZ = np.repeat(self.film.codes_TZ[[number]], self.frames, axis=0)
        time = reader.seconds(number)
        caption = f"From the code of the frame at {time_code(time)} of {reader.name}"
        return SourceCodes(codes_TZ, self.rate, self.film.model, caption, f"_{time_in_name(time)}")

    def slow(self, factor: float) -> SourceCodes:
        start, reader = self._start([]), self.film.film
        factor = self.config.slowdown or factor
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
        return SourceCodes(
            self._path(codes_TZ, position_T, "linear"),
            self.rate,
            self.film.model,
            f"{reader.name} from {time_code(time)}, {factor:g} times slower",
            f"_{time_in_name(time)}",
            [f"frame {start + at:.2f}" for at in position_T],
        )

    def file(self, path: str) -> SourceCodes:
        with errors_at(self.place):
            codes = Codes.load(path)
            mean_TZ = latents(codes.mean, f"mean of {path}", self.config.z_dim)
        rate = self.config.rate or codes.rate or self.rate
        codes_TZ = mean_TZ[codes.film_frames(rate)]
        return SourceCodes(codes_TZ, rate, self.film.model, f"The codes of {path}")

    def _numbers(self, times: Sequence[float]) -> list[int]:
        """The frames at ``--at``, else at times of the preset."""
        if self.config.at:
            return [self.film.film.number(seconds) for seconds in self.config.at]
        with errors_at(self.place):
            return [self.film.number(seconds) for seconds in times]

    def _start(self, times: Sequence[float]) -> int:
        """The first frame of ``_numbers``, else one in the middle of a long shot."""
        if numbers := self._numbers(times):
            return min(numbers[0], len(self.film.codes_TZ) - 1)
        scan = self.film.scan
        longest = max(scan.shots, key=lambda shot: shot.stop - shot.first)
        shot = scan.static_shot() or longest
        return (shot.first + shot.stop - 1) // 2


def _chosen(preset: presets.Preset, config: Config) -> dict[str, Any]:
    """The codes of ``--codes``, or else of a preset."""
    return {"file": config.codes} if config.codes else preset.codes


def check(preset: presets.Preset, config: Config) -> None:
    """Raises InputError if there are no codes to start from, or a flag would change nothing."""
    codes = _chosen(preset, config)
    if not codes:
        raise InputError(
            f"{preset.name} has no codes to start from: add a walk or another source as codes, "
            "or give --mode=reconstruct."
        )
    refuse_unused_flags(config, {*codes}, f"if codes come from {next(iter(codes))}")


def refuse_unused_flags(config: Config, kinds: set[str], when: str) -> None:
    """Raises InputError if a flag was given that changes none of these kinds of codes."""
    for name, its_kinds in FLAGS.items():
        if getattr(config, name) != FIELDS[name].default and not kinds & {*its_kinds}:
            raise InputError(f"--{name} changes nothing {when}: leave it out.")


def make(
    preset: presets.Preset, config: Config, film: FilmContext, frames: int, rate: Fraction
) -> SourceCodes:
    """The codes of a film of ``frames`` frames at ``rate``.

    Args:
      preset: says which codes, unless ``--codes`` does.
      config: the settings of the command; its times, its slowdown and its rate come first.
      film: the film of the codes.

    Raises:
      InputError: the film is too short, or has no such time, or a file of codes cannot be read.
    """
    codes = dict(_chosen(preset, config))
    place = "" if config.codes else preset.codes_place
    kind = next(kind for kind in presets.CODES if kind in codes)
    return getattr(_Maker(config, film, frames, rate, place), kind)(codes.pop(kind), **codes)
