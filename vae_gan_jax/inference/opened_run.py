"""What a command reads from a run: prepared frames, source films, the trained model."""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import source_films
from vae_gan_jax.film.read import reader
from vae_gan_jax.film.shots import Shot
from vae_gan_jax.film.store import frame_store
from vae_gan_jax.film.store.run_frames import framing_of, open_store
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import made_from
from vae_gan_jax.run import atomic_io, film_names, run_folder
from vae_gan_jax.run.settings import recorded_settings
from vae_gan_jax.training import checkpoint


def training_frames(config: Config) -> TrainingFrames:
    """The frames that the run learnt, even if this command names another film."""
    recorded = Config(**recorded_settings(Path(config.run_dir)))
    return open_store(dataclasses.replace(recorded, run_dir=config.run_dir)).training_frames


@dataclasses.dataclass(frozen=True)
class LearntFilm(reader.FilmReader):
    """A learnt film; ``entry`` is what the run knows of it."""

    entry: dict[str, Any] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def shots(self) -> list[Shot]:
        """The shots, as ``(first, stop)``."""
        return [Shot(*pair) for pair in itertools.pairwise([*self.entry["shots"], self.count])]


class AbsentFilm(LearntFilm):
    """A learnt film that is not at its path."""

    @property
    def rate(self) -> Fraction:
        """Frames a second."""
        return Fraction(self.entry["rate"])

    @property
    def start(self) -> float:
        """When frame 0 is shown, seconds of the film's clock."""
        return self.entry["first_time"]

    @property
    def count(self) -> int:
        """The number of frames."""
        return self.entry["count"]

    def frames(self, first: int = 0) -> Iterator[np.ndarray]:
        """Raises InputError."""
        raise film_names.absent(self.path)


def open_sources(config: Config) -> list[reader.FilmReader]:
    """Opens the films that figures and explorations show.

    Raises InputError if the run has no checkpoint, a learnt film was replaced, a film cannot be
    read, or a time of ``--at`` lies outside a film.
    """
    checkpoint.newest_step(config.run_dir)
    for source in film_names.sources(config):
        made_from.source_frames(config, source)  # refuses a learnt film that was replaced
    films = open_films(config)
    for film in films:
        film.start  # raises if the film cannot be read  # noqa: B018
        for seconds in config.at:
            film.number(seconds)
    return films


def open_films(config: Config) -> list[reader.FilmReader]:
    """Readers of the films that the command reconstructs.

    A learnt film that is not at its path has no frames, but everything else.
    """
    framing, sources = framing_of(config), film_names.sources(config)
    entries = None if config.source else film_names.learnt_entries(config.run_dir)
    if entries is None or len(entries) != len(sources):
        entries = [None] * len(sources)
    films = []
    for source, entry in zip(sources, entries, strict=True):
        arguments = source, source_films.name(config, source), framing, config.strict
        if entry is None:
            films.append(reader.FilmReader(*arguments))
        else:
            absent = film_names.absent_entry(config, source)
            films.append((AbsentFilm if absent else LearntFilm)(*arguments, entry))
    return films


def results_folder(config: Config, name: str) -> Path:
    """Opens the run and returns its folder ``name`` for results; InputError: it is not writable."""
    run_folder.open_run(config)
    folder = Path(config.run_dir) / name
    folder.mkdir(exist_ok=True)
    if not atomic_io.is_writable(folder):
        raise InputError(f"{folder} is not writable: change the permissions of the folder.")
    return folder


def open_model(config: Config, step: int | None = None, *, read_only: bool = False):
    """The run as a ``trained_model.Model``; arguments and errors as for ``trained_model.load``."""
    from vae_gan_jax.inference import trained_model

    return trained_model.load(config, lambda: training_frames(config), step, read_only)


def steps_per_epoch(config: Config) -> int:
    """Mini-batches in an epoch of the run; needs the film records only, not the frames."""
    films = film_names.learnt_entries(Path(config.run_dir))
    if films is None:
        raise InputError(
            f"{config.run_dir} has no record of its films: train it with --mode=train."
        )
    exclude, hold_out = config.exclude, config.hold_out
    learnt = [frame_store.learnt_and_held_out(film, exclude, hold_out)[0] for film in films]
    return config.steps_per_epoch(sum(map(np.count_nonzero, learnt)))


def learnt_and_held_out(config: Config, checksum: str) -> dict[str, np.ndarray]:
    """Which frames of a learnt film are ``learnt`` and ``held_out``: booleans ``[T]``.

    Empty if the film has no held-out frames, and for ``--source``. ``checksum`` is that of the
    film's content. Raises InputError if the run's record of its films is missing or damaged.
    """
    if config.source or not config.hold_out:
        return {}
    films = film_names.learnt_entries(config.run_dir) or ()
    film = next((film for film in films if film["sha256"] == checksum), None)
    if film is None:
        raise InputError(
            f"{Path(config.run_dir) / film_names.LEARNT} does not say which frames were held out: "
            "delete it, then --mode=train writes it again."
        )
    learnt_T, held_out_T = frame_store.learnt_and_held_out(film, config.exclude, config.hold_out)
    return {"learnt": learnt_T, "held_out": held_out_T} if held_out_T.any() else {}


def model_caption(config: Config, step: int) -> str:
    """Names the model at a step in a caption, such as "the model of blade after 3 epochs ..."."""
    learnt = film_names.learnt_names(config)
    others = f" and {len(learnt) - 1} more" if len(learnt) > 1 else ""
    epochs = f"{step / steps_per_epoch(config):.3g}"
    unit = "epoch" if epochs == "1" else "epochs"
    return f"the model of {learnt[0]}{others} after {epochs} {unit} (step {step})"
