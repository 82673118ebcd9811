"""Frames to latent codes and back (4.6): pure functions of (variables, arrays), and batches.

A reconstruction is ``decode_batch`` of ``encode_batch``, two compiled functions. So codes that were
written to a file and decode later give the same frames, bit for bit.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import jax
import numpy as np

from vae_gan_jax.config import InputError, field
from vae_gan_jax.film.store import batches
from vae_gan_jax.model import autoencoder, bending, fuse_batch_norm, networks
from vae_gan_jax.training import train_state
from vae_gan_jax.training.distributed import mesh


@partial(jax.jit, static_argnames=("config", "train"))
def encode_batch(config, variables, frames_BHWC, train: bool = False, bends=()):
    """Encodes uint8 frames as ``(mean_BZ, log_variance_BZ)``, float32.

    Args:
      config: a ``StepConfig``.
      variables: collections by network, such as ``Model.fused``.
      frames_BHWC: uint8 frames.
      train: normalise with the batch's own statistics. Otherwise a frame's code does not depend on
        the other frames of its batch.
      bends: ``bending.Bend`` of both networks; each function applies those of its own.
    """
    codes, _ = bending.encode(config, variables, frames_BHWC, train, bends)
    return codes


@partial(jax.jit, static_argnames=("config", "train"))
def decode_batch(config, variables, z_BZ, train: bool = False, bends=()):
    """Decodes latents to uint8 frames ``[B, H, W, 3]``; arguments as for ``encode_batch``."""
    x_BHWC, _ = bending.decode(config, variables, z_BZ, train, bends)
    return autoencoder.to_frames(x_BHWC)


@jax.jit
def with_noise(mean_BZ, log_variance_BZ, key, noise_std):
    """Draws codes around their means: the standard deviation is multiplied by ``noise_std``."""
    epsilon_BZ = autoencoder.noise(key, mean_BZ.shape, noise_std)
    return autoencoder.reparameterise(mean_BZ, log_variance_BZ, epsilon_BZ)


def reconstruct_batch(config, variables, frames_BHWC, key, noise_std, train: bool):
    """Reconstructs uint8 frames ``[B, H, W, 3]`` as uint8 frames.

    Args:
      config, variables, frames_BHWC, train: as for ``encode_batch``.
      key: for the noise.
      noise_std: standard deviation of the noise; ``None``: the decoder gets the mean.
    """
    z_BZ, log_variance_BZ = encode_batch(config, variables, frames_BHWC, train)
    if noise_std is not None:
        z_BZ = with_noise(z_BZ, log_variance_BZ, key, noise_std)
    return decode_batch(config, variables, z_BZ, train)


def lower(config) -> tuple[jax.stages.Lowered, jax.stages.Lowered]:
    """Lowers ``encode_batch`` and ``decode_batch`` as ``Model`` calls them, for ``device_mesh()``.

    Each device computes the whole batch: the ambient mesh should have one.
    """
    train = config.batch_norm == "batch"

    variables = train_state.shapes(config).inference_variables
    if not train:
        fuse = partial(fuse_batch_norm.fuse, dtype=networks.compute_dtype(config))
        variables = jax.eval_shape(fuse, variables)
    with jax.set_mesh(mesh.device_mesh()):
        shapes = jax.tree.map(mesh.shape_on_mesh, variables)
        frame = config.height, config.width, 3
        frames_BHWC = jax.ShapeDtypeStruct((config.batch_size, *frame), np.uint8)
        z_BZ = jax.ShapeDtypeStruct((config.batch_size, config.z_dim), np.float32)
        frames_BHWC, z_BZ = map(mesh.shape_on_mesh, (frames_BHWC, z_BZ))
        return (
            encode_batch.lower(config.step, shapes, frames_BHWC, train),
            decode_batch.lower(config.step, shapes, z_BZ, train),
        )


def batch_arguments(model) -> tuple[dict[str, Any], np.float32 | None, bool]:
    """The arguments ``variables``, ``noise_std`` and ``train`` of ``reconstruct_batch``."""
    config, train = model.config, model.config.batch_norm == "batch"
    noise_std = np.float32(config.reconstruct_noise) if config.reconstruct_noise else None
    return model.variables if train else model.fused, noise_std, train


def reconstruct_frames(
    model,
    frames: Iterable[np.ndarray],
    first_batch: int = 0,
    batch_function: Callable = reconstruct_batch,
) -> Iterator[tuple[np.ndarray, Any]]:
    """Yields batches of source frames with their reconstructions, every frame once and in order.

    Args:
      model: the networks, and the settings of the command: a ``trained_model.Model``.
      frames: uint8 frames ``[H, W, 3]`` in order.
      first_batch: number of the first batch; it seeds the noise.
      batch_function: takes the arguments of ``reconstruct_batch`` and returns a tree of arrays
        whose first axis is B.

    Yields:
      ``(source_BHWC, result)``; B is the batch size, and may be smaller in the last batch.
    """
    config, key = model.config, jax.random.key(model.config.seed)
    variables, noise_std, train = batch_arguments(model)

    def reconstruct(index: int, source_BHWC: np.ndarray, _):
        batch_key = jax.random.fold_in(key, index)
        return batch_function(config.step, variables, source_BHWC, batch_key, noise_std, train)

    yield from map_batches(reconstruct, frames, config.batch_size, first_batch, not train)


def checked_frames(frames: Iterable[np.ndarray], config) -> Iterator[np.ndarray]:
    """Yields frames as uint8 ``[H, W, 3]``; raises InputError if one has another size or type."""
    shape = config.height, config.width, 3
    remedy = f"give an array [T, {shape[0]}, {shape[1]}, 3] of uint8"
    try:
        frames = iter(frames)
    except TypeError:
        raise InputError(f"frames are {field.shown(frames)}, not an array: {remedy}.") from None
    for number, frame in enumerate(frames):
        try:
            frame_HWC = np.asarray(frame)
        except ValueError:  # lists of unequal lengths
            frame_HWC = np.empty((), object)
        if frame_HWC.dtype != np.uint8 or frame_HWC.shape != shape:
            found = f"{frame_HWC.dtype} {list(frame_HWC.shape)}"
            raise InputError(f"frame {number} is {found}, not a frame of this run: {remedy}.")
        yield frame_HWC


def map_batches(
    function: Callable[[int, np.ndarray, int], Any],
    items: Iterable[np.ndarray],
    batch_size: int,
    first_batch: int = 0,
    pad_first: bool = True,
) -> Iterator[tuple[np.ndarray, Any]]:
    """Applies a compiled function to batches of items; yields each batch and its result.

    The device computes a batch while the result of the previous one is fetched. A short last batch
    is padded at its front to the batch size, so that the function compiles once: with the items
    before it, or, if it is the only batch, with copies of its first item. Without ``pad_first`` an
    only batch stays short, so that padding does not change its own statistics.

    Args:
      function: takes the number of the batch, counted from ``first_batch``, the batch, and how many
        of its first rows are padding.
      items: arrays of one shape, read by a thread.
      batch_size: items in a batch.
      first_batch: number of the first batch.
      pad_first: whether a short only batch is padded.
    """
    previous = pending = None
    prefetched = batches.prefetch(batches.sequential(items, batch_size))
    with contextlib.closing(prefetched) as source:
        for index, batch in enumerate(source, first_batch):
            padded = batch
            if previous is not None and len(batch) < batch_size:
                padded = np.concatenate([previous, batch])[-batch_size:]
            elif pad_first and len(batch) < batch_size:
                first = np.repeat(batch[:1], batch_size - len(batch), axis=0)
                padded = np.concatenate([first, batch])
            previous = batch
            result = function(index, padded, len(padded) - len(batch))
            if pending is not None:
                yield _fetch(*pending)
            pending = batch, result
    if pending is not None:
        yield _fetch(*pending)


def _fetch(batch: np.ndarray, result) -> tuple[np.ndarray, Any]:
    """A batch and its result on the host, without the padding."""
    return batch, jax.tree.map(lambda array: np.asarray(array)[-len(batch) :], result)
