"""Creates run folders with untrained networks; reads the films that they write."""

import dataclasses
from pathlib import Path

import jax
import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import batch_norm_statistics
from vae_gan_jax.run.settings import record_settings
from vae_gan_jax.training import train_state
from vae_gan_jax.training.checkpoint import Checkpoints


def make(run_dir: Path, small: Config, film, frames_THWC, seed: int = 0, **settings) -> Config:
    """Creates a run of ``film`` with a checkpoint at step 6 and its batch-norm statistics."""
    config = dataclasses.replace(small, run_dir=str(run_dir), film=str(film), **settings)
    record_settings(run_dir, config)
    add_checkpoint(config, frames_THWC, seed, 6)
    return config


def add_checkpoint(config: Config, frames_THWC, seed: int, step: int) -> None:
    """Adds a checkpoint of networks that are initialised from ``seed``."""
    state = train_state.create(config, jax.random.key(seed))
    state = with_random_skip(state, seed)
    state = state.replace(step=state.step + step)
    with Checkpoints(config.run_dir) as checkpoints:
        checkpoints.save(state)
    batch_norm_statistics.load_or_estimate(config, state, lambda: TrainingFrames(frames_THWC))


def with_random_skip(state, seed: int = 0):
    """Draws the linear skip of residual networks, which is 0 until a film's components are set."""
    random = np.random.default_rng(seed)

    def draw(leaf):
        return np.float32(random.normal(size=leaf.shape) / np.sqrt(leaf.shape[0]))

    return state.replace(constants=jax.tree.map(draw, state.constants))


def frames_of(path, width: int = 20, height: int = 18) -> np.ndarray:
    """The frames of a film that was written in this size, uint8 ``[T, H, W, 3]``."""
    framing = video.Framing(width=width, height=height, crop="none")
    return np.stack(list(video.decode(path, framing)))
