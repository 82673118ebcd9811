"""The prepared frames of a run."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from vae_gan_jax.config import Config
from vae_gan_jax.film.read.framing import Framing, section
from vae_gan_jax.film.read.probe import Probe
from vae_gan_jax.film.store import frame_store
from vae_gan_jax.run import film_names, remote_run, storage


def framing_of(config: Config) -> Framing:
    """Which part of a film becomes frames."""
    names = {field.name for field in dataclasses.fields(Framing)}
    return Framing(**{name: getattr(config, name) for name in names})


def open_store(config: Config) -> frame_store.FrameStore:
    """Opens the run's prepared frames; downloads files that this machine lacks from a bucket."""
    folder = store_folder(config)
    if storage.is_remote(config.frames_dir):
        remote_run.download(storage.address(folder))
    return frame_store.open_store(folder, config.exclude, config.hold_out)


def store_folder(config: Config) -> Path:
    """The local folder of the run's frames: in the run, or in ``--frames_dir``."""
    if not config.frames_dir:
        return Path(config.run_dir) / film_names.FRAMES
    entries, framing = film_names.learnt_entries(config.run_dir), framing_of(config)
    films = [entry["path"] for entry in entries or ()] or film_names.learnt_films(config)
    return Path(storage.local(config.frames_dir)) / frame_store.name_for(films, framing)


def expected_store(config: Config, probes: Sequence[Probe]) -> frame_store.FrameStore:
    """The frame store of films before they are decoded: without frames and shots.

    Without shots, ``--hold_out=shots/5`` holds out nothing. Raises InputError if a film has no
    frame within the trims.
    """
    parts = [(film, section(film, framing_of(config))) for film in probes]
    films = [
        {"count": part.count, "first_time": part.start, "rate": film.rate, "shots": [0]}
        for film, part in parts
    ]
    of_shots = config.hold_out and config.hold_out.unit == "shots"
    hold_out = None if of_shots else config.hold_out
    return frame_store.FrameStore("", {"films": films}, config.exclude, hold_out)
