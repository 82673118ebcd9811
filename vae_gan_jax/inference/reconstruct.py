"""Frames through the trained networks, one output frame per source frame (4.6)."""

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from vae_gan_jax.film.store import batches
from vae_gan_jax.inference.trained import Trained
from vae_gan_jax.model import autoencoder, fuse_batch_norm


@partial(jax.jit, static_argnames=("config", "train"))
def reconstruct_batch(config, variables, frames_BHWC, key, noise_std, train: bool):
    """Reconstructs uint8 frames ``[B, H, W, 3]`` as uint8 frames.

    Args:
      config: a ``StepConfig``.
      variables: collections by network.
      frames_BHWC: uint8 frames.
      key: for the noise.
      noise_std: standard deviation of the noise; ``None``: the decoder gets the mean.
      train: normalise with the batch's own statistics. Otherwise a frame's reconstruction does not
        depend on the other frames of its batch.
    """
    x_BHWC, _ = autoencoder.autoencode(config, variables, frames_BHWC, key, noise_std, train)
    return autoencoder.to_frames(x_BHWC)


def reconstruct_frames(
    model: Trained,
    frames: Iterable[np.ndarray],
    first_batch: int = 0,
    batch_function: Callable = reconstruct_batch,
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields batches of source frames with their reconstructions, every frame once and in order.

    Args:
      model: the networks, and the settings of the command.
      frames: uint8 frames ``[H, W, 3]`` in order.
      first_batch: number of the first batch; it seeds the noise.
      batch_function: takes the arguments of ``reconstruct_batch`` and returns a tree of arrays
        whose first axis is B.

    Yields:
      ``(source_BHWC, result)``; B is the batch size, and may be smaller in the last batch.
    """
    config, key = model.config, jax.random.key(model.config.seed)
    train = config.batch_norm == "batch"
    variables = model.variables if train else fuse_batch_norm.fuse(model.variables)
    noise_std = np.float32(config.reconstruct_noise) if config.reconstruct_noise else None
    last_BHWC = pending = None
    source = batches.prefetch(batches.sequential(frames, config.batch_size))
    for index, source_BHWC in enumerate(source, first_batch):
        padded_BHWC = source_BHWC
        if last_BHWC is not None and len(source_BHWC) < config.batch_size:
            # The frames before it pad a short last batch, so that one compilation suffices and the
            # batch's own statistics come from as many frames as in other batches.
            padded_BHWC = np.concatenate([last_BHWC, source_BHWC])[-config.batch_size :]
        last_BHWC = source_BHWC
        batch_key = jax.random.fold_in(key, index)
        result = batch_function(config.step, variables, padded_BHWC, batch_key, noise_std, train)
        if pending is not None:  # fetched while the device computes the next batch
            yield _fetch(*pending)
        pending = source_BHWC, result
    if pending is not None:
        yield _fetch(*pending)


def _fetch(source_BHWC: np.ndarray, result) -> tuple[np.ndarray, Any]:
    """A batch and its result on the host, without the padding."""
    return source_BHWC, jax.tree.map(lambda array: np.asarray(array)[-len(source_BHWC) :], result)
