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
    ema: dict[str, Any] = struct.field(default_factory=dict)  # of weights, where it is kept

    @property
    def shown(self) -> dict[str, Any]:
        """The parameters that films pass through: averaged ones in place of those that have any."""
        return self.params | self.ema


def optimiser(config) -> optax.GradientTransformation:
    """Adam (4.5); each network has one of its own."""
    return optax.adam(config.scaled_learning_rate, b1=config.adam_b1, b2=ADAM_B2)


def averaged(config, average: dict, params: dict, step) -> dict:
    """The average of encoder and decoder over the last part of the training, after one more step.

    Weights of the step t count in proportion to t^(1/part - 1), so that the average always spans
    the same part of a training of any length, and the first weights are soon forgotten (Karras et
    al. 2024, Analyzing and Improving the Training Dynamics of Diffusion Models, section 3.1).

    Args:
      config: of whose ``average`` it is; 0: none is kept.
      average: before; empty for none.
      params: after this step, of all networks, by name.
      step: how many steps are done, this one included.
    """
    if not config.ema_span:
        return average
    kept = (1 - 1 / step) ** (1 / config.ema_span)
    new = {name: params[name] for name in average}
    return jax.tree.map(lambda old, new: new + kept * (old - new), average, new)


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
    average = {name: params[name] for name in ("encoder", "decoder")} if config.ema_span else {}
    return TrainState(zero, zero, params, batch_stats, opt_state, average)
