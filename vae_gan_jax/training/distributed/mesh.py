"""All devices of all processes as one mesh, and how arrays are sharded over it.

The mesh has one axis, ``data``. A mini-batch is sharded over it; the state is replicated, except
for Adam's moments under ``--shard_optimizer``. ``data_parallel`` exchanges the gradients in one
all-reduce, and XLA inserts the other collectives.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vae_gan_jax.config import Config, InputError, StepConfig

DATA = "data"  # the axis of the mesh
REPLICATED = PartitionSpec()


def device_mesh() -> Mesh:
    """The ambient mesh (``jax.set_mesh``); without one, the mesh of all devices."""
    ambient = jax.sharding.get_mesh()
    return _mesh_of_all() if ambient.empty else ambient


@functools.cache
def _mesh_of_all() -> Mesh:
    return of_devices(jax.devices())


def of_devices(devices: Sequence[jax.Device]) -> Mesh:
    """A mesh of these devices, which this machine may lack (``jax.experimental.topologies``)."""
    return jax.make_mesh((len(devices),), (DATA,), axis_types=(AxisType.Auto,), devices=devices)


def whole_batch(config: Config) -> Config:
    """Replaces the batch size per device by that of all devices together."""
    batch_size = config.per_device_batch_size * device_mesh().size
    return dataclasses.replace(config, batch_size=batch_size, per_device_batch_size=None)


def check_batch(config: Config | StepConfig) -> None:
    """Raises ``InputError`` if the mini-batch cannot be divided equally among the devices."""
    devices = device_mesh().size
    if config.batch_size % devices:
        multiple = config.batch_size // devices * devices or devices
        raise InputError(
            f"--batch_size={config.batch_size} cannot be divided equally among {devices} devices: "
            f"give a multiple of {devices}, for example {multiple}."
        )


def to_mesh(value: np.ndarray | jax.Array, *axes: str | None) -> jax.Array:
    """Moves a host array, equal in all processes, to the mesh.

    Each process reads only the slices that its devices need, so ``value`` may be anything with a
    shape, a dtype and slices. ``axes`` are the mesh axes over which the array's axes are sharded;
    by default the array is replicated.
    """
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(to_mesh(jax.random.key_data(value)))
    sharding = NamedSharding(device_mesh(), PartitionSpec(*axes))
    return jax.make_array_from_callback(value.shape, sharding, lambda i: np.asarray(value[i]))


def place_state(config: StepConfig, state) -> Any:
    """Moves a ``TrainState``, equal in all processes, to the mesh."""
    specs = _state_specs(config, state, device_mesh().size)
    return jax.tree.map(lambda leaf, spec: to_mesh(np.asarray(leaf), *spec), state, specs)


def shape_on_mesh(value, *axes: str | None) -> jax.ShapeDtypeStruct:
    """The shape of what ``to_mesh`` returns, for lowering a function without arrays."""
    sharding = NamedSharding(device_mesh(), PartitionSpec(*axes))
    return jax.ShapeDtypeStruct(value.shape, value.dtype, sharding=sharding)


def state_shapes(config: StepConfig, state) -> Any:
    """The shapes of what ``place_state`` returns."""
    specs = _state_specs(config, state, device_mesh().size)
    return jax.tree.map(lambda leaf, spec: shape_on_mesh(leaf, *spec), state, specs)


def _state_specs(config: StepConfig, state, devices: int) -> Any:
    """How each array of a ``TrainState`` is sharded."""

    def longest_axis(leaf) -> PartitionSpec:
        """Shards the longest axis that can be divided equally."""
        sides = [side if side % devices == 0 else 0 for side in leaf.shape]
        if not any(sides):
            return REPLICATED
        return PartitionSpec(*[None] * int(np.argmax(sides)), DATA)

    specs = jax.tree.map(lambda _: REPLICATED, state)
    if config.shard_optimizer:
        specs = specs.replace(opt_state=jax.tree.map(longest_axis, state.opt_state))
    return specs


def constrain_state(config: StepConfig, state):
    """Inside a compiled function: shards a ``TrainState`` as ``place_state`` does.

    It does nothing on one device, or outside ``jax.set_mesh``.
    """
    devices = max(1, jax.sharding.get_abstract_mesh().size)  # 0 outside a mesh
    return _constrain(state, _state_specs(config, state, devices))


def replicate(tree: Any) -> Any:
    """Inside a compiled function: replicates all arrays; otherwise like ``constrain_state``."""
    return _constrain(tree, jax.tree.map(lambda _: REPLICATED, tree))


def _constrain(tree, specs):
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return tree
    return jax.tree.map(jax.lax.with_sharding_constraint, tree, specs)


def data_parallel(function, replicated: tuple, batch: tuple, dtype=None) -> tuple:
    """Inside a compiled function: calls ``function(*replicated, *batch)`` on each device's shard.

    If XLA sharded the function by itself, it would all-reduce a gradient once for each pass through
    the network. Here each device adds up its gradient first, and one all-reduce follows. On one
    device, or outside ``jax.set_mesh``, the function gets the whole mini-batch.

    Args:
      function: returns three trees: means over its items; values that are equal on all devices,
        after its own collectives over ``DATA``; arrays with one entry for each item.
      replicated, batch: trees of replicated arrays, and of arrays sharded over their first axis.
      dtype: of the sums of matrices and kernels over the devices; None: that of each.

    Returns the function's three trees, for the whole mini-batch.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return function(*replicated, *batch)

    def mean(leaves):
        small = jax.tree.map(
            lambda leaf: leaf if dtype is None or leaf.ndim < 2 else leaf.astype(dtype), leaves
        )
        return jax.tree.map(
            lambda total, leaf: total.astype(leaf.dtype) / mesh.size,
            jax.lax.psum(small, DATA),
            leaves,
        )

    def of_shard(replicated, batch):
        means, equal, items = function(*replicated, *batch)
        return mean(means), equal, items

    sharded = PartitionSpec(DATA)
    return jax.shard_map(
        of_shard,
        in_specs=(REPLICATED, sharded),
        out_specs=(REPLICATED, REPLICATED, sharded),
        check_vma=False,  # the convolutions use linear_transpose, which the check does not support
    )(replicated, batch)


def on_one_device(tree: Any) -> Any:
    """Replicated arrays as arrays on this process's first device."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


class MaxOverProcesses:
    """The maximum of integers over all processes, without waiting for the devices.

    With several processes, a call returns the maxima of the call before it, which the devices have
    computed by then; the first call returns zeros. One process gets its own integers back.
    """

    def __init__(self):
        self._maxima: jax.Array | None = None

    def __call__(self, *numbers: int) -> tuple[int, ...]:
        if jax.process_count() == 1:
            return numbers
        previous = self._maxima
        sharding = NamedSharding(device_mesh(), PartitionSpec(DATA))
        local = np.tile(np.int32(numbers), (len(device_mesh().local_devices), 1))
        self._maxima = _max(sharding.mesh)(jax.make_array_from_process_local_data(sharding, local))
        return (0,) * len(numbers) if previous is None else tuple(map(int, np.asarray(previous)))


@functools.cache
def _max(mesh: Mesh):
    replicated = NamedSharding(mesh, REPLICATED)
    return jax.jit(lambda numbers: numbers.max(axis=0), out_shardings=replicated)
