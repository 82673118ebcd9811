"""Films that a preset makes of a source, or of codes; they resume as a reconstruction does."""

import dataclasses
import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.explore import play, presets
from vae_gan_jax.explore.film_context import FilmContext
from vae_gan_jax.explore.preset_values import errors_at
from vae_gan_jax.film import sound, source_films
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.inference import made_from
from vae_gan_jax.inference.codes_film import CodesFilm
from vae_gan_jax.inference.film_outputs import film_paths
from vae_gan_jax.inference.reconstruct_film import Reconstruction
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import film_names, provenance, remote_run
from vae_gan_jax.run.team import ALONE, Team
from vae_gan_jax.training import checkpoint


@dataclasses.dataclass(frozen=True)
class PlayedFilm(Reconstruction):
    """The film that ``--preset`` makes of a source; it resumes as a reconstruction does.

    A preset with state, such as feedback, plays the frames before the interruption again.
    """

    preset: presets.Preset = presets.Preset()
    player: play.Player | None = None
    job = "playing"

    @classmethod
    def of(cls, config: Config, source: str, step: int, team: Team = ALONE) -> "PlayedFilm":
        """The film of a source by the run's checkpoint of ``step``.

        Raises InputError if the preset cannot be read, or as for ``Reconstruction.of``.
        """
        preset = presets.load(config.preset)
        plain = Reconstruction.of(config, source, step, team)
        paths = film_paths(config, name_of(config, source_films.name(config, source)))
        origin = plain.made_from | origin_of(config, preset)
        return cls(config, source, plain.framing, paths, origin, team, preset=preset)

    def write(self, model: Model) -> int | None:
        """Like ``Reconstruction.write``; InputError also if the preset does not fit the run."""
        name = source_films.name(self.config, self.source)
        reader = FilmReader(self.source, name, self.framing, self.config.strict)
        film = FilmContext(model, None if self.config.source else reader)
        played = dataclasses.replace(self, player=play.Player(model, self.preset, film))
        return Reconstruction.write(played, model)

    def _own_range(self) -> range:
        """One process plays a preset with state alone."""
        return range(0) if play.is_sequential(self.preset) else super()._own_range()

    def _pairs(self, model: Model, first_batch: int, own: range | None) -> Iterator:
        levels = None
        if self.preset.uses_sound:
            file = self.config.sound_file
            levels = sound.features(
                file or self.source, float(self._rate), None if file else self.framing
            )
        rate = float(self._rate)
        return _played(self.player, lambda n: self._decode(n, own), rate, levels, first_batch)


@dataclasses.dataclass(frozen=True)
class PlayedCodes(CodesFilm):
    """The film that a preset makes of codes; its curves run ``speed`` times as fast."""

    player: play.Player | None = None
    speed: float = 1.0
    job = "playing"

    def values(self, number_T: np.ndarray) -> dict[int, dict[str, np.ndarray]]:
        """The parameters of each control at frames, as ``Player.values`` returns them."""
        return self.player.values(number_T / self._curve_rate, self._levels)

    @property
    def _curve_rate(self) -> float:
        """Frames in a second of the curves."""
        return float(self._rate) / self.speed

    @property
    def _levels(self) -> sound.SoundFeatures | None:
        if not self.player.preset.uses_sound:
            return None
        levels = sound.features(self.config.sound_file, float(self._rate))
        return dataclasses.replace(levels, rate=levels.rate / self.speed)

    def _pairs(self, model: Model, first_batch: int, own: range | None) -> Iterator:
        rate, codes_TZ = self._curve_rate, self._latents_TZ
        return _played(self.player, lambda n: codes_TZ[n:], rate, self._levels, first_batch)


def _played(
    player: play.Player,
    items_from: Callable[[int], Iterable],
    rate: float,
    levels,
    first_batch: int,
) -> Iterator:
    """The batches from number ``first_batch`` on; a preset with state plays those before too."""
    start = 0 if play.is_sequential(player.preset) else first_batch
    items = items_from(start * player.model.config.batch_size)
    return itertools.islice(
        play.play(player, items, rate, levels, start), first_batch - start, None
    )


def name_of(config: Config, film: str) -> str:
    """The name of what ``--preset`` makes of a film of this name."""
    return film_names.fitting_name(f"{film}_{film_names.name_of(config.preset)}")


def origin_of(
    config: Config, preset: presets.Preset, codes_TZ: np.ndarray | None = None
) -> dict[str, Any]:
    """What the pictures of a preset depend on, besides film and model, as JSON."""
    text = presets.dump(dataclasses.replace(preset, about=""))
    origin = {"preset": hashlib.sha256(text.encode()).hexdigest()}
    if codes_TZ is not None:
        origin["codes"] = hashlib.sha256(codes_TZ.tobytes()).hexdigest()
    if preset.uses_sound and config.sound_file:
        origin["driven_by"] = provenance.checksum([config.sound_file])
    for use in preset.controls:
        if use.name == "mix_run":
            with errors_at(use.place):
                run_dir = remote_run.open_run(dict(use.options)["run"])
                step = checkpoint.newest_step(run_dir)
            origin.setdefault("mixed_with", []).append(made_from.networks(run_dir, step))
    return origin
