"""Batch-norm statistics for reconstruction: estimated from the training film, without noise."""

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
from vae_gan_jax.model import autoencoder, layers
from vae_gan_jax.run import atomic_io, provenance
from vae_gan_jax.training import checkpoint
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.train_state import TrainState

FOLDER = "batch_norm_statistics"
MAX_BATCHES = 100  # mini-batches of an estimate


@partial(jax.jit, static_argnames="config")
def _frame_statistics(config, variables, frames_BHWC):
    """Means and variances of one mini-batch in encoder and decoder, without noise."""
    _, averages = autoencoder.autoencode(
        config, _with_zeros(variables), frames_BHWC, jax.random.key(0), None, train=True
    )
    return _without_momentum(averages)


@partial(jax.jit, static_argnames="config")
def _latent_statistics(config, variables, z_BZ):
    """Means and variances of one mini-batch of latents in the decoder."""
    _, averages = autoencoder.decode(config, _with_zeros(variables), z_BZ, train=True)
    return _without_momentum(averages)


def _with_zeros(variables):
    """The same networks with all batch-norm statistics 0."""
    return {
        name: network | {"batch_stats": jax.tree.map(jnp.zeros_like, network["batch_stats"])}
        for name, network in variables.items()
    }


def _without_momentum(averages):
    """The batch's statistics, from moving averages that one update moved away from 0."""
    return jax.tree.map(lambda average: average / (1 - layers.BATCH_NORM_MOMENTUM), averages)


def estimate(config: Config, state: TrainState, film: TrainingFrames) -> dict:
    """Estimates the statistics of encoder and decoder over the training film, without noise.

    The moving averages of training lag behind the weights and include the noise of the schedule;
    these do neither. Mini-batches are shuffled as in training: 100, or one epoch if that is fewer.
    Returns ``batch_stats`` by network: mean and variance over all frames of those mini-batches.
    """
    shuffled = film.mini_batches(config.seed, config.epochs, config.batch_size)
    batches = islice(shuffled, MAX_BATCHES)
    return estimate_from_frames(config, state.inference_variables, batches)


def estimate_from_frames(config: Config, variables, mini_batches: Iterable[np.ndarray]) -> dict:
    """Estimates the statistics of both networks over mini-batches of uint8 frames."""
    return _pooled(
        _frame_statistics(config.step, variables, frames_BHWC) for frames_BHWC in mini_batches
    )


def estimate_from_latents(config: Config, variables, z_TZ: np.ndarray) -> dict:
    """Estimates the decoder's statistics over latents of one distribution, such as the prior.

    ``z_TZ`` are at least one mini-batch; an incomplete last mini-batch is left out.
    """
    whole = len(z_TZ) - len(z_TZ) % config.batch_size
    mini_batches = np.float32(z_TZ[:whole]).reshape(-1, config.batch_size, config.z_dim)
    return _pooled(_latent_statistics(config.step, variables, z_BZ) for z_BZ in mini_batches)


def _pooled(statistics: Iterable) -> dict:
    """Mean and variance over all mini-batches, from those of each mini-batch."""
    collected = [flatten_dict(jax.device_get(batch)) for batch in statistics]
    stacked = {path: np.stack([batch[path] for batch in collected]) for path in collected[0]}
    pooled = {path: values.mean(axis=0) for path, values in stacked.items()}
    for *layer, name in stacked:
        if name == "var":  # law of total variance: within the batches, and between them
            pooled[*layer, "var"] += stacked[*layer, "mean"].var(axis=0)
    return unflatten_dict(pooled)


def load_or_estimate(
    config: Config,
    state: TrainState,
    read_frames: Callable[[], TrainingFrames],
    read_only: bool = False,
) -> dict:
    """``estimate``, cached in the run's folder, so that later commands need no frames.

    Process 0 estimates and writes the file; the other processes read it. With ``read_only``, or if
    the run's folder is read-only, every process estimates and none writes. ``read_frames`` returns
    the frames that the run was trained on; it is called if the cached file is missing, damaged, or
    of another checkpoint.
    """
    run_dir, step = config.run_dir, int(state.step)
    template = {name: state.batch_stats[name] for name in ("encoder", "decoder")}
    if not jax.tree.leaves(template):  # networks without batch norm
        return template
    path = Path(run_dir) / FOLDER / f"{step}.msgpack"
    read_only = read_only or not atomic_io.is_writable(run_dir)
    if processes.index() == 0 or read_only:
        content = checkpoint.content_checksum(run_dir, step)
        made_from = {"checkpoint": content, "batches": MAX_BATCHES}
        record = f"{FOLDER}/{step}", made_from, [path]
        if not provenance.is_current(run_dir, *record):
            statistics = estimate(config, state, read_frames())
            if read_only:
                return statistics
            atomic_io.write(path, serialization.to_bytes(statistics))
            provenance.record(run_dir, *record)
    processes.barrier("batch-norm statistics")
    return serialization.from_bytes(template, path.read_bytes())
