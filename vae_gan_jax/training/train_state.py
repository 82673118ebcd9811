"""TrainState: everything that a training step reads and writes, and nothing else."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from vae_gan_jax.model import networks

ADAM_B2 = 0.999


class TrainState(struct.PyTreeNode):
    """State after ``step`` mini-batches; the three dicts are keyed by the network's name.

    With the seed and the frames it determines the rest of the run: the order of frames, the noise
    and the prior samples are functions of (seed, noise_stream, step).
    """

    step: jax.Array  # int32 scalar
    noise_stream: jax.Array  # int32 scalar: which noise; another one after each roll-back
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: dict[str, Any]


def optimiser(config) -> optax.GradientTransformation:
    """Adam (4.5); each network has one of its own."""
    return optax.adam(config.learning_rate, b1=config.adam_b1, b2=ADAM_B2)


@partial(jax.jit, static_argnames="config")
def create(config, key) -> TrainState:
    """A fresh state: weights from N(0, 0.02^2), Adam's moments 0, running statistics (0, 1).

    Args:
      config: a ``Config``.
      key: from ``jax.random.key``.
    """
    x_BHWC = jnp.zeros((1, config.height, config.width, 3))
    z_BZ = jnp.zeros((1, config.z_dim))
    inputs = {"encoder": x_BHWC, "decoder": z_BZ, "discriminator": x_BHWC}
    params, batch_stats, opt_state = {}, {}, {}
    for index, (name, network) in enumerate(networks.create(config).items()):
        variables = network.init(jax.random.fold_in(key, index), inputs[name], train=True)
        params[name] = variables["params"]
        batch_stats[name] = variables["batch_stats"]
        opt_state[name] = optimiser(config).init(variables["params"])
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, zero, params, batch_stats, opt_state)
