"""A trained run, opened: its networks, ready to see frames and to paint latents."""

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


@dataclasses.dataclass(frozen=True)
class Trained:
    """The networks of a run at one step, with the statistics that films pass through them with.

    Attributes:
      config: the settings of the run and of this command.
      variables: Flax collections of the three networks, by name. Encoder and decoder have the
        batch-norm statistics of the training film, the discriminator the moving averages.
      step: how many mini-batches were learnt.
    """

    config: Config
    variables: dict[str, Any]
    step: int


def newest_step(run_dir: str | Path) -> int:
    """The step of a run's newest checkpoint; whether it is sound is not said.

    Raises:
      InputError: the run has none.
    """
    steps = checkpoint.steps(run_dir)
    if not steps:
        raise InputError(f"{run_dir} has no checkpoint: train it first, with --mode=all or train.")
    return max(steps)


def load(
    config: Config,
    read_frames: Callable[[], TrainingFrames],
    step: int | None = None,
) -> Trained:
    """Opens a run's newest sound checkpoint, or the one of ``step``.

    Args:
      config: the settings of the run.
      read_frames: called for the frames that the run was trained on, where the run folder does not
        hold the statistics of this step yet.
      step: which checkpoint, if not the newest that is sound.

    Raises:
      InputError: there is no such checkpoint, or none that is sound.
    """
    newest_step(config.run_dir)
    with checkpoint.Checkpoints(config.run_dir) as checkpoints:
        empty = train_state.create(config, jax.random.key(config.seed))
        state = checkpoints.restore(empty, step)
    statistics = batch_norm_statistics.stored(config, state, read_frames)
    variables = autoencoder.with_batch_stats(state.inference_variables, statistics)
    return Trained(config, variables, int(state.step))


def prior_draws(config: Config, count: int) -> np.ndarray:
    """Draws of the run's prior ``[count, Z]``, the same ones for the same seed."""
    random = np.random.default_rng([config.seed, config.z_dim])
    shape = (count, config.z_dim)
    return random.uniform(-1, 1, shape) if config.prior == "uniform" else random.normal(size=shape)


def normalised_by(trained: Trained, z_TZ: np.ndarray) -> Trained:
    """The same networks, the decoder with the statistics of latents of one kind.

    As in training, where samples of the prior are normalised by themselves: with the statistics of
    a film's codes, which fill far less than the prior, they come out glaring.

    Args:
      trained: the networks.
      z_TZ: latents, a mini-batch or more; some hundreds of draws of their distribution.
    """
    decoder = batch_norm_statistics.of_latents(trained.config, trained.variables, z_TZ)
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
    """The codes of frames: the means of their latent distributions, with the running statistics.

    Args:
      trained: the networks.
      frames: uint8 ``[H, W, 3]``, in order.

    Yields:
      ``mean_BZ`` of the next frames, float32 in -1..1, B the batch size, at the end fewer.
    """
    with contextlib.closing(batches.prefetch(_batches(trained.config, frames))) as ahead:
        yield from _through(_encode, trained, ahead)


def decode(trained: Trained, z: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames that latents stand for, with the running statistics.

    Args:
      trained: the networks.
      z: latents ``[Z]``, in order.

    Yields:
      ``frames_BHWC`` of the next latents, uint8, B the batch size, at the end fewer.
    """
    as_floats = (np.asarray(z_Z, np.float32) for z_Z in z)
    yield from _through(_decode, trained, _batches(trained.config, as_floats))


def _batches(config: Config, items: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    return batches.sequential(items, config.batch_size)


def _through(function, trained: Trained, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """Batches through a compiled function of fixed batch size, one ahead of what is fetched."""
    waiting = None
    for batch in inputs:
        # A short batch is filled up, so that the function is compiled once.
        missing = trained.config.batch_size - len(batch)
        filled = np.concatenate([batch, np.repeat(batch[-1:], missing, axis=0)])
        result = len(batch), function(trained.config.step, trained.variables, filled)
        if waiting is not None:
            yield np.asarray(waiting[1])[: waiting[0]]
        waiting = result
    if waiting is not None:
        yield np.asarray(waiting[1])[: waiting[0]]
