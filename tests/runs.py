"""Run folders with networks that never learnt, to be measured."""

import dataclasses
import logging
from pathlib import Path

import jax

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import batch_norm_statistics
from vae_gan_jax.run import run_folder
from vae_gan_jax.run.settings import record_settings
from vae_gan_jax.training import train_state
from vae_gan_jax.training.checkpoint import Checkpoints


def make(run_dir: Path, small: Config, film, frames_THWC, seed: int = 0, **settings) -> Config:
    """A run folder of ``film`` with a checkpoint at step 6 and its statistics."""
    config = dataclasses.replace(small, run_dir=str(run_dir), film=str(film), **settings)
    record_settings(run_dir, config)
    add_checkpoint(config, frames_THWC, seed, 6)
    return config


def add_checkpoint(config: Config, frames_THWC, seed: int, step: int) -> None:
    """Another checkpoint, of networks of another seed."""
    state = train_state.create(config, jax.random.key(seed))
    state = state.replace(step=state.step + step)
    with Checkpoints(config.run_dir) as checkpoints:
        checkpoints.save(state)
    batch_norm_statistics.load_or_estimate(config, state, lambda: TrainingFrames(frames_THWC))


def leave() -> None:
    """Closes the log of the run that was open last."""
    package = logging.getLogger("vae_gan_jax")
    for handler in package.handlers[:]:
        if isinstance(handler, run_folder.LogFile):
            package.removeHandler(handler)
            handler.close()
