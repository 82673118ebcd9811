"""A run whose networks reconstruct its film without training: its principal components."""

from pathlib import Path

import jax
import numpy as np
import pytest

from vae_gan_jax.config import Config
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.run.settings import record_settings
from vae_gan_jax.training import pca_init, train_state
from vae_gan_jax.training.checkpoint import Checkpoints


def save_principal_components(config: Config) -> None:
    """Saves a checkpoint of residual networks at their start."""
    framing = video.Framing(width=config.width, height=config.height, crop=config.crop)
    frames_THWC = np.concatenate(list(video.decode_blocks(config.film, framing)))
    state = train_state.create(config, jax.random.key(0))
    with pytest.MonkeyPatch.context() as patch:
        # Decomposes the few frames instead of all pixels, which takes seconds on busy cores.
        patch.setattr(pca_init, "components", _components)
        state = pca_init.begin(config, state, TrainingFrames(frames_THWC))
    record_settings(Path(config.run_dir), config)
    with Checkpoints(config.run_dir) as checkpoints:
        checkpoints.save(state)


def _components(small_NP, z_dim: int) -> tuple[np.ndarray, ...]:
    """Mean, encoding and decoding of the principal components, as ``pca_init`` computes them."""
    centre_P = small_NP.mean(0)
    _, std_N, direction_NP = np.linalg.svd(small_NP - centre_P, full_matrices=False)
    direction_ZP, std_Z1 = direction_NP[:z_dim], std_N[:z_dim, None] / len(small_NP) ** 0.5
    return centre_P, (direction_ZP / std_Z1).T, direction_ZP * std_Z1
