"""All devices of all processes as one mesh: what each holds of the state and of a mini-batch.

A mini-batch is shared out over the axis ``data``; each device has the whole state, but for Adam's
moments under ``--shard_optimizer``. The step is written for one batch on one device. Its gradients
each device computes by itself (``data_parallel``), of batch norms over the whole mini-batch, and all
are summed at once; around that XLA adds what the devices must tell each other.
"""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from vae_gan_jax.config import Config, InputError

DATA = "data"


@functools.cache
def device_mesh() -> Mesh:
    """The mesh of all devices, along which data are shared out."""
    return jax.make_mesh((jax.device_count(),), (DATA,), axis_types=(AxisType.Auto,))


def whole_batch(config: Config) -> Config:
    """The settings with the mini-batch of all devices in place of one device's share."""
    batch_size = config.per_device_batch_size * jax.device_count()
    return dataclasses.replace(config, batch_size=batch_size, per_device_batch_size=None)


def check_batch(config: Config) -> None:
    """Raises ``InputError`` where the devices cannot have equal shares of a mini-batch."""
    devices = jax.device_count()
    if config.batch_size % devices:
        whole = config.batch_size // devices * devices or devices
        raise InputError(
            f"--batch_size={config.batch_size} cannot be shared by {devices} devices: give a "
            f"multiple of {devices}, such as {whole}."
        )


def to_mesh(value: np.ndarray | jax.Array, *axes: str | None) -> jax.Array:
    """A host's array over the mesh, the same in every process.

    Of it a process reads and sends no more than its devices hold.

    Args:
      value: what can be sliced.
      axes: of the mesh, which each axis of the array is shared out over; default: none, so that
        each device has all of it.
    """
    if jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(to_mesh(jax.random.key_data(value)))
    return _place(value, NamedSharding(device_mesh(), PartitionSpec(*axes)))


def _place(value, sharding: NamedSharding) -> jax.Array:
    def share(index):
        return np.asarray(value[index])

    return jax.make_array_from_callback(value.shape, sharding, share)


def place_state(config: Config, state) -> Any:
    """A ``TrainState``, the same in every process, over the mesh."""
    specs, mesh = state_specs(config, state, jax.device_count()), device_mesh()
    return jax.tree.map(
        lambda leaf, spec: _place(np.asarray(leaf), NamedSharding(mesh, spec)), state, specs
    )


def state_specs(config: Config, state, devices: int) -> Any:
    """How each array of a ``TrainState`` is shared out: a tree of ``PartitionSpec``."""
    specs = jax.tree.map(lambda _: PartitionSpec(), state)
    if not config.shard_optimizer:
        return specs
    return specs.replace(
        opt_state=jax.tree.map(lambda leaf: _shares(leaf, devices), state.opt_state)
    )


def _shares(leaf, devices: int) -> PartitionSpec:
    """Along the longest axis of which all devices can have equal shares; else whole."""
    sides = [side if side % devices == 0 else 0 for side in leaf.shape]
    if not any(sides):
        return PartitionSpec()
    return PartitionSpec(*[DATA if i == int(np.argmax(sides)) else None for i in range(leaf.ndim)])


def constrain_state(config: Config, state):
    """Within a compiled function: a ``TrainState`` that lies as ``place_state`` lays it.

    On one device, and outside ``jax.set_mesh``, as it is.
    """
    devices = max(1, jax.sharding.get_abstract_mesh().size)  # 0 outside of a mesh
    return _constrain(state, state_specs(config, state, devices))


def data_parallel(function, whole: tuple, batch: tuple) -> tuple:
    """Within a compiled function: ``function(*whole, *batch)``, of each device for its share alone.

    On one device, and outside ``jax.set_mesh``, of the whole mini-batch at once. Shared out by XLA,
    which sums over the devices at each use of the weights, a gradient would be exchanged as often
    as its network is passed; here its terms are added up before, and told the others together.

    Args:
      function: must be told by itself what of its results is over the whole mini-batch.
      whole: trees of arrays that every device has all of.
      batch: trees of arrays with an item for each of the mini-batch.

    Returns:
      What ``function`` gives, three trees: means over the mini-batch, here over all shares; what is
      the same of each share already; arrays with an item for each of the mini-batch.
    """
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return function(*whole, *batch)

    def of_share(whole, batch):
        means, alike, items = function(*whole, *batch)
        return jax.lax.pmean(means, DATA), alike, items

    every, share = PartitionSpec(), PartitionSpec(DATA)
    return jax.shard_map(
        of_share,
        in_specs=(every, share),
        out_specs=(every, every, share),
        check_vma=False,  # linear_transpose, of which convolutions are made, loses what is checked
    )(whole, batch)


def replicate(tree: Any) -> Any:
    """Within a compiled function: arrays that every device has all of; otherwise as ``constrain_state``."""
    return _constrain(tree, jax.tree.map(lambda _: PartitionSpec(), tree))


def _constrain(tree, specs):
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return tree
    return jax.tree.map(jax.lax.with_sharding_constraint, tree, specs)


def on_one_device(tree: Any) -> Any:
    """What every device has, as arrays of this process's first device alone."""
    return jax.tree.map(lambda leaf: leaf.addressable_data(0), tree)


class MaxOverProcesses:
    """Numbers of which all processes go by the largest, told without waiting for the devices.

    That of the call before this one, which the devices have computed by then and all processes read
    alike; where there is one process, of this call.
    """

    def __init__(self):
        self._largest: jax.Array | None = None

    def __call__(self, *numbers: int) -> tuple[int, ...]:
        if jax.process_count() == 1:
            return numbers
        before = self._largest
        sharding = NamedSharding(device_mesh(), PartitionSpec(DATA))
        mine = np.tile(np.int32(numbers), (jax.local_device_count(), 1))
        self._largest = _largest(jax.make_array_from_process_local_data(sharding, mine))
        return tuple(map(int, np.asarray(before))) if before is not None else (0,) * len(numbers)


@jax.jit
def _largest(numbers):
    return jax.lax.with_sharding_constraint(
        numbers.max(axis=0), NamedSharding(device_mesh(), PartitionSpec())
    )
