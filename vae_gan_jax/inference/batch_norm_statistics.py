"""Batch-norm statistics for reconstructing: of the training film, without noise."""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict

from vae_gan_jax.config import Config
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder, networks
from vae_gan_jax.run import atomic_io, provenance
from vae_gan_jax.training import checkpoint
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.train_state import TrainState

FOLDER = "batch_norm_statistics"
BATCHES = 100


@partial(jax.jit, static_argnames="config")
def _batch_statistics(config, variables, frames_BHWC):
    """Means and variances of one batch in every batch norm of encoder and decoder, noise 0."""
    zeroed = _with_zeros(variables)
    _, moved = autoencoder.autoencode(
        config, zeroed, frames_BHWC, jax.random.key(0), None, train=True
    )
    return _undamped(moved)


@partial(jax.jit, static_argnames="config")
def _latent_statistics(config, variables, z_BZ):
    """Means and variances of one batch of latents in every batch norm of the decoder."""
    _, moved = autoencoder.decode(config, _with_zeros(variables), z_BZ, train=True)
    return _undamped(moved)


def _with_zeros(variables):
    """The same networks with all batch-norm statistics 0."""
    return {
        name: network | {"batch_stats": jax.tree.map(jnp.zeros_like, network["batch_stats"])}
        for name, network in variables.items()
    }


def _undamped(moved):
    """A moving average that starts from 0 holds the batch's statistics times its share."""
    return jax.tree.map(lambda average: average / (1 - networks.BATCH_NORM_MOMENTUM), moved)


def estimate(
    config: Config,
    state: TrainState,
    film: TrainingFrames,
):
    """Statistics of the training film for encoder and decoder, estimated anew with noise 0.

    The moving averages of training lag behind the weights and hold the noise of the schedule; these
    do neither. Mini-batches are drawn as in training, 100 of them or as many as the film has.

    Args:
      config: the settings of the run.
      state: the trained state.
      film: the frames that it was trained on.

    Returns:
      ``batch_stats`` by network: mean and variance over all frames of those mini-batches.
    """
    shuffled = film.mini_batches(config.seed, config.epochs, config.batch_size)
    return _pooled(
        _batch_statistics(config.step, state.inference_variables, frames_BHWC)
        for frames_BHWC in islice(shuffled, BATCHES)
    )


def of_latents(config: Config, variables, z_TZ: np.ndarray):
    """The decoder's statistics over latents of one kind, such as draws of the prior.

    In training samples of the prior are normalised by themselves, not as the film's codes are.

    Args:
      config: the settings of the run.
      variables: collections by network.
      z_TZ: latents, a mini-batch or more.
    """
    whole = len(z_TZ) - len(z_TZ) % config.batch_size
    mini_batches = np.float32(z_TZ[:whole]).reshape(-1, config.batch_size, config.z_dim)
    return _pooled(_latent_statistics(config.step, variables, z_BZ) for z_BZ in mini_batches)


def _pooled(statistics: Iterable) -> dict:
    """Mean and variance over all mini-batches, from those of each: dicts of arrays by path."""
    collected = [flatten_dict(jax.device_get(batch)) for batch in statistics]
    stacked = {path: np.stack([batch[path] for batch in collected]) for path in collected[0]}
    pooled = {path: values.mean(axis=0) for path, values in stacked.items()}
    for *layer, name in stacked:
        if name == "var":  # law of total variance: within the batches, and between them
            pooled[*layer, "var"] += stacked[*layer, "mean"].var(axis=0)
    return unflatten_dict(pooled)


def stored(config: Config, state: TrainState, read_frames: Callable[[], TrainingFrames]) -> dict:
    """``estimate`` of a checkpoint, stored in the run's folder: later the frames are not needed.

    Process 0 estimates and writes them; the others read the file.

    Args:
      config: the settings of the run.
      state: of the run's checkpoint.
      read_frames: returns the frames that the run was trained on; called if there is no file that
        was made from this checkpoint, or if it is damaged.
    """
    run_dir, step = config.run_dir, int(state.step)
    path = Path(run_dir) / FOLDER / f"{step}.msgpack"
    if processes.index() == 0:
        made_from = {"checkpoint": checkpoint.content_checksum(run_dir, step), "batches": BATCHES}
        record = f"{FOLDER}/{step}", made_from, [path]
        if not provenance.is_current(run_dir, *record):
            statistics = estimate(config, state, read_frames())
            atomic_io.write(path, serialization.to_bytes(statistics))
            provenance.record(run_dir, *record)
    processes.barrier("batch-norm statistics")
    template = {name: state.batch_stats[name] for name in ("encoder", "decoder")}
    return serialization.from_bytes(template, path.read_bytes())
