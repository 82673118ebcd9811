"""The compiled functions of training, lowered from the settings alone, without a state or frames.

They are lowered for the ambient mesh (``jax.set_mesh``), whose devices this machine may lack, or
for the mesh of all devices.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.model import target
from vae_gan_jax.training import train_state, train_step
from vae_gan_jax.training.distributed import mesh


def training_steps(config: Config, steps: int = 1, film_frames: int = 0) -> jax.stages.Lowered:
    """Lowers a dispatch of ``steps`` training steps; a single step is no loop.

    ``film_frames`` is the number of frames of a film that stays on the devices; 0: the dispatch
    gets mini-batches.
    """
    step, frame = config.step, (config.height, config.width, 3)
    with jax.set_mesh(mesh.device_mesh()):
        key = mesh.shape_on_mesh(jax.eval_shape(lambda: jax.random.key(0)))
        state = mesh.state_shapes(step, train_state.shapes(config))
        noise_std = _shape((), np.float32)
        if steps == 1:
            frames_BHWC = _shape((config.batch_size, *frame), np.uint8, mesh.DATA)
            return train_step.jitted_step.lower(state, frames_BHWC, key, noise_std, step)
        batches, index_SB = (steps, config.batch_size), None
        frames = _shape((*batches, *frame), np.uint8, None, mesh.DATA)
        if film_frames:
            frames = _shape((film_frames, *frame), np.uint8)
            index_SB = _shape(batches, np.int32, None, mesh.DATA)
        count = _shape((), np.int32)
        arguments = state, frames, index_SB, count, key, noise_std, step
        return train_step.jitted_steps.lower(*arguments)


def _shape(shape: tuple[int, ...], dtype, *axes: str | None) -> jax.ShapeDtypeStruct:
    return mesh.shape_on_mesh(jax.ShapeDtypeStruct(shape, dtype), *axes)


def gflop_per_frame(lower: Callable[[Config], Any], config: Config) -> float | None:
    """The arithmetic per frame, GFLOP, of the functions that ``lower(config)`` lowers.

    Backends of accelerators do not count it, so they are lowered for one CPU. For an accelerator
    this happens in bfloat16, which has no Winograd forms, as on the accelerator. None if
    ``JAX_PLATFORMS`` excludes CPUs.
    """
    if not target.on_cpu():
        config = dataclasses.replace(config, precision="bfloat16")
    try:
        one_cpu = mesh.of_devices(jax.local_devices(backend="cpu")[:1])
    except RuntimeError:
        return None
    with jax.set_mesh(one_cpu):
        costs = [lowered.cost_analysis() for lowered in jax.tree.leaves(lower(config))]
    return sum(cost["flops"] for cost in costs) / config.batch_size / 1e9
