"""All figures of the films that a command shows, drawn unless they are current."""

import functools
import logging
from typing import Any

from vae_gan_jax.config import Config
from vae_gan_jax.figures import thesis_figures
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.inference import made_from, opened_run
from vae_gan_jax.run import provenance
from vae_gan_jax.training import checkpoint

logger = logging.getLogger(__name__)


def draw(config: Config, again: bool) -> None:
    """Draws the figures of the learnt films, or of ``config.source``, into the run's folder.

    ``again`` also draws figures that are current. Raises InputError if the run has no checkpoint or
    a film cannot be read.
    """
    run_dir, model = config.run_dir, None
    films = opened_run.open_sources(config)
    folder = opened_run.results_folder(config, thesis_figures.FOLDER)
    newest = checkpoint.newest_step(run_dir)
    for index, film in enumerate(films):
        epochs = {} if config.source or index else _epochs(config)
        group = f"{thesis_figures.FOLDER}/{film.name}"
        origin = _made_from(config, film, newest, epochs)
        if not again and provenance.is_current(run_dir, group, origin):
            logger.info("figures of %s are up to date: %s", film.name, folder)
            continue
        model = model or opened_run.open_model(config)
        caption = opened_run.model_caption(config, model.step)
        paths = thesis_figures.make(model, film, folder, caption)
        if not config.source and index == 0:
            load = functools.partial(opened_run.open_model, config)
            paths += thesis_figures.by_epoch(config, film, epochs, load, folder)
        origin = _made_from(config, film, model.step, epochs)  # the newest may be damaged
        provenance.record(run_dir, group, origin, paths)


def _made_from(
    config: Config, film: FilmReader, step: int, epochs: dict[int, int]
) -> dict[str, Any]:
    checksums = {
        str(epoch): made_from.networks(config.run_dir, step) for epoch, step in epochs.items()
    }
    origin = made_from.pictures(config, film.path, step, ("every", "at"))
    return origin | {"epochs": checksums}


def _epochs(config: Config) -> dict[int, int]:
    """The steps of the checkpoints after whole epochs, by epoch."""
    per_epoch, steps = opened_run.steps_per_epoch(config), checkpoint.steps(config.run_dir)
    return {step // per_epoch: step for step in steps if step % per_epoch == 0 < step}
