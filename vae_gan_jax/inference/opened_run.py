"""What a command finds in a run: prepared frames, the films it names, the trained model."""

import dataclasses
import os
from pathlib import Path

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.read import reader, video
from vae_gan_jax.film.store import frame_store, frame_weights, remote_store
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.run import film_names, run_folder, storage
from vae_gan_jax.run.settings import recorded_settings


def framing_of(config: Config) -> video.Framing:
    """What of a film becomes frames."""
    names = {field.name for field in dataclasses.fields(video.Framing)}
    return video.Framing(**{name: getattr(config, name) for name in names})


def open_store(config: Config) -> frame_store.FrameStore:
    """The run's prepared frames; of those in a bucket what this machine lacks is brought."""
    folder = store_folder(config)
    if storage.is_remote(config.frames_dir):
        remote_store.stage(folder)
    return frame_store.open_store(folder, config.exclude)


def store_folder(config: Config) -> Path:
    """Where the run's frames lie on this machine: in its folder, or among those that runs share."""
    if not config.frames_dir:
        return Path(config.run_dir) / film_names.FRAMES
    films, framing = film_names.learnt_films(config), framing_of(config)
    return Path(storage.local(config.frames_dir)) / frame_store.name_for(films, framing)


def training_frames(config: Config) -> TrainingFrames:
    """The film that the run learnt, whatever film this command names, and what of it was learnt."""
    recorded = Config(**recorded_settings(Path(config.run_dir)))
    store = open_store(dataclasses.replace(recorded, run_dir=config.run_dir))
    return frame_weights.training_frames(store, recorded.frame_reweighting)


def films_shown(config: Config) -> list[reader.FilmReader]:
    """The films that figures and explorations are made of.

    Raises:
      InputError: the run has no checkpoint, there is no film, or a time lies outside one.
    """
    from vae_gan_jax.inference import made_from, trained

    trained.newest_step(config.run_dir)
    made_from.check_learnt_films(config)
    framing = framing_of(config)
    films = [
        reader.FilmReader(source, film_names.name_of(source), framing, config.strict)
        for source in film_names.sources(config)
    ]
    for film in films:
        film.start  # there is such a film  # noqa: B018
        for seconds in config.at:
            film.number(seconds)
    return films


def results_folder(config: Config, name: str) -> Path:
    """A folder of the run for results, seen to be writable before they are made."""
    run_folder.open_run(config, record=False)
    folder = Path(config.run_dir) / name
    folder.mkdir(exist_ok=True)
    if not os.access(folder, os.W_OK):
        raise InputError(f"{folder} may not be written: give its owner's permission.")
    return folder


def open_model(config: Config, step: int | None = None):
    """The run's networks, ``trained.Trained``: of the newest sound checkpoint, or of a step."""
    from vae_gan_jax.inference import trained

    return trained.load(config, lambda: training_frames(config), step)


def steps_per_epoch(config: Config) -> int:
    """Mini-batches in an epoch of the run, whose frames need not be there."""
    films = film_names.learnt_entries(Path(config.run_dir))
    manifest = {"films": films, "shape": [sum(film["count"] for film in films)]}
    learnt = frame_store.FrameStore("", manifest, config.exclude)
    return config.steps_per_epoch(len(learnt.training_T))


def described(config: Config, step: int) -> str:
    """The model at a step, in words for captions."""
    learnt = [film_names.name_of(film) for film in film_names.learnt_films(config)]
    others = f" and {len(learnt) - 1} more" if len(learnt) > 1 else ""
    epochs = f"{step / steps_per_epoch(config):.3g}"
    unit = "epoch" if epochs == "1" else "epochs"
    return f"the model of {learnt[0]}{others} after {epochs} {unit} (step {step})"
