"""A trained run in memory: its networks encode frames and decode latents."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.store import batches
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import batch_norm_statistics
from vae_gan_jax.model import autoencoder
from vae_gan_jax.training import checkpoint, train_state

STATISTICS_BATCHES = 50  # of latents, over which ``with_latent_statistics`` should estimate


@dataclasses.dataclass(frozen=True)
class Trained:
    """The networks of a run at one step.

    Attributes:
      config: the settings of the run and of this command.
      variables: Flax collections of the three networks, by name. Encoder and decoder have the
        batch-norm statistics of the training film, the discriminator its moving averages.
      step: training steps that the networks have learnt for.
    """

    config: Config
    variables: dict[str, Any]
    step: int


def newest_step(run_dir: str | Path) -> int:
    """The step of a run's newest checkpoint, which may be damaged.

    Raises:
      InputError: the run has no checkpoint.
    """
    steps = checkpoint.steps(run_dir)
    if not steps:
        raise InputError(f"{run_dir} has no checkpoint: train it first, with --mode=all or train.")
    return max(steps)


def load(
    config: Config, read_frames: Callable[[], TrainingFrames], step: int | None = None
) -> Trained:
    """Loads a run's checkpoint.

    Args:
      config: the settings of the run.
      read_frames: returns the frames that the run was trained on; called if the run folder does
        not hold the batch-norm statistics of this checkpoint yet.
      step: of the checkpoint; by default the newest undamaged one.

    Raises:
      InputError: there is no such checkpoint, or all are damaged.
    """
    newest_step(config.run_dir)
    with checkpoint.Checkpoints(config.run_dir) as checkpoints:
        empty = train_state.create(config, jax.random.key(config.seed))
        state = checkpoints.restore(empty, step)
    statistics = batch_norm_statistics.load_or_estimate(config, state, read_frames)
    variables = autoencoder.with_batch_stats(state.inference_variables, statistics)
    return Trained(config, variables, int(state.step))


def prior_draws(config: Config, count: int) -> np.ndarray:
    """Draws of the run's prior ``[count, Z]``, which depend on the seed alone."""
    random = np.random.default_rng([config.seed, config.z_dim])
    shape = (count, config.z_dim)
    return random.uniform(-1, 1, shape) if config.prior == "uniform" else random.normal(size=shape)


def with_latent_statistics(trained: Trained, z_TZ: np.ndarray) -> Trained:
    """The same networks; the decoder normalises with the statistics of these latents.

    Training normalises samples of the prior by their own statistics. With the statistics of a
    film's codes, which fill far less than the prior, samples look glaring.

    Args:
      trained: the networks.
      z_TZ: latents, at least one mini-batch; better some hundreds of draws of one distribution.
    """
    if not trained.variables["decoder"]["batch_stats"]:
        return trained
    decoder = batch_norm_statistics.estimate_from_latents(trained.config, trained.variables, z_TZ)
    variables = autoencoder.with_batch_stats(trained.variables, {"decoder": decoder})
    return dataclasses.replace(trained, variables=variables)


@partial(jax.jit, static_argnames="config")
def _encode(config, variables, frames_BHWC):
    (mean_BZ, _), _ = autoencoder.encode(config, variables, frames_BHWC, train=False)
    return mean_BZ


@partial(jax.jit, static_argnames="config")
def _decode(config, variables, z_BZ):
    x_BHWC, _ = autoencoder.decode(config, variables, z_BZ, train=False)
    return autoencoder.to_frames(x_BHWC)


def encode(trained: Trained, frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Encodes frames as latent codes: the means of the encoder's distributions.

    Args:
      trained: the networks.
      frames: uint8 ``[H, W, 3]``, in order.

    Yields:
      ``mean_BZ`` of the next frames, float32; the last batch may be shorter.
    """
    size = trained.config.batch_size
    with contextlib.closing(batches.prefetch(batches.sequential(frames, size))) as prefetched:
        yield from _map_batches(_encode, trained, prefetched)


def decode(trained: Trained, z: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Decodes latents to frames.

    Args:
      trained: the networks.
      z: latents ``[Z]``, in order.

    Yields:
      ``frames_BHWC`` of the next latents, uint8; the last batch may be shorter.
    """
    as_floats = (np.asarray(z_Z, np.float32) for z_Z in z)
    latents = batches.sequential(as_floats, trained.config.batch_size)
    yield from _map_batches(_decode, trained, latents)


def _map_batches(function, trained: Trained, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Applies a compiled function; the device computes a batch while the last one is fetched."""
    pending = None
    for batch in inputs:
        missing = trained.config.batch_size - len(batch)  # padded, so that one compilation suffices
        padded = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        result = len(batch), function(trained.config.step, trained.variables, padded)
        if pending is not None:
            yield np.asarray(pending[1])[: pending[0]]
        pending = result
    if pending is not None:
        yield np.asarray(pending[1])[: pending[0]]
