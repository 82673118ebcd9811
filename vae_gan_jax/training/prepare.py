"""Makes the frames of a run's films, before anything is learnt."""

import logging
from pathlib import Path

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import demo_film
from vae_gan_jax.film.read import stills
from vae_gan_jax.film.read.framing import Framing, chosen_rectangle
from vae_gan_jax.film.read.probe import probe
from vae_gan_jax.film.store import frames_file, preparation
from vae_gan_jax.film.store.run_frames import (
    expected_store,
    framing_of,
    open_store,
    store_folder,
)
from vae_gan_jax.run import film_names, remote_run, run_folder, settings, storage
from vae_gan_jax.training.distributed import processes

logger = logging.getLogger(__name__)


def prepare(config: Config) -> None:
    """Decodes the films into the run's frame store, unless the store is complete.

    Processes that see the same folder divide the films among them. The settings are recorded last,
    after every check has passed. Raises InputError if the run cannot learn the films.
    """
    films, framing = film_names.learnt_films(config), framing_of(config)
    if not films:
        raise InputError("--film is missing: give the film to learn.")
    processes.run_on_first(_check_films, config, films, framing)
    folder = store_folder(config)

    def exchange(upload: bool) -> None:
        if storage.is_remote(config.frames_dir):
            (remote_run.upload if upload else remote_run.download)(storage.address(folder))

    exchange(False)
    preparation.prepare(
        films, folder, framing, strict=config.strict, team=processes.team(), exchange=exchange
    )
    config.steps_per_epoch(len(open_store(config).training_T))
    processes.run_on_first(settings.record_settings, Path(config.run_dir), config)


def _check_films(config: Config, films: list[str], framing: Framing) -> None:
    """Checks that the run can learn the films, then opens its folder."""
    if config.init_from:
        from vae_gan_jax.training import pretrained

        pretrained.check(config)
    demo_film.require(config)
    for film in films:
        film_names.require(config, film)
    if config.fps is not None and not any(map(stills.are_stills, films)):
        raise InputError("--fps is for stills, and films have their own rate: leave it out.")
    probes = [probe(film, framing.video_stream, framing.fps) for film in films]
    for film in probes:
        chosen_rectangle(film, framing)  # refuses a crop outside the picture
    expected = expected_store(config, probes)
    expected.require_frames()
    expected.warn_of_empty_exclusions()
    config.steps_per_epoch(len(expected.training_T))
    learnt = film_names.learnt_entries(config.run_dir)
    if learnt is not None and not frames_file.same_films(learnt, probes):
        raise film_names.film_changed(config.run_dir)
    run_folder.open_run(config)
