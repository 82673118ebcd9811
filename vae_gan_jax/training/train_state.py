"""TrainState: everything that a training step reads and writes."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from vae_gan_jax.model import networks

# Adam's β₁ and β₂ by networks; the thesis has DCGAN's (4.5).
ADAM_BETAS = {"thesis": (0.5, 0.999), "residual": (0.9, 0.99)}
WARM_UP = 0.05  # fraction of the training in which the learning rate of residual networks rises


class TrainState(struct.PyTreeNode):
    """The state after ``step`` mini-batches; all dicts have the networks' names as keys.

    The state, the seed and the frames determine the rest of the run: shuffling, noise and prior
    samples are functions of (seed, noise_stream, step).
    """

    step: jax.Array  # int32 scalar
    total_steps: jax.Array  # int32 scalar: of the whole training, for ``decay``; 0: unknown
    noise_stream: jax.Array  # int32 scalar; each roll-back chooses another stream of noise
    params: dict[str, Any]
    batch_stats: dict[str, Any]
    opt_state: dict[str, Any]
    constants: dict[str, Any] = struct.field(default_factory=dict)  # the pca collections

    @property
    def collections(self) -> dict[str, Any]:
        """Flax's collections besides ``params``, by network."""
        return {
            name: {"batch_stats": statistics} | self.constants.get(name, {})
            for name, statistics in self.batch_stats.items()
        }

    @property
    def inference_variables(self) -> dict[str, Any]:
        """All collections by network."""
        return {
            name: {"params": self.params[name]} | rest for name, rest in self.collections.items()
        }


def flat(tree: Any) -> dict[str, Any]:
    """The leaves of a tree by their path, such as ``encoder/params/mean/kernel``."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def optimiser(config) -> optax.GradientTransformation:
    """Adam (4.5), one instance per network. A step multiplies the updates by ``decay``."""
    b1, b2 = ADAM_BETAS[config.networks]
    return optax.adam(config.scaled_learning_rate, b1=b1, b2=b2)


def decay(config, step, total_steps):
    """The factor on the learning rate at a step: a linear rise, then half a cosine down to 0.

    It is taken in the middle of the step, so that no step has the rate 0. It is 1 for the thesis's
    networks, and while ``total_steps`` is unknown.
    """
    if config.networks == "thesis":
        return 1.0
    progress = (step + 0.5) / jnp.maximum(total_steps, 1)
    cosine = 0.5 + 0.5 * jnp.cos(jnp.pi * (progress - WARM_UP) / (1 - WARM_UP))
    factor = jnp.where(progress < WARM_UP, progress / WARM_UP, cosine)
    return jnp.where(total_steps > 0, factor, 1.0)


def create(config, key) -> TrainState:
    """Creates a fresh state: random weights, moments 0, running statistics (0, 1)."""
    return _create(config.step, key)


def shapes(config) -> TrainState:
    """The state that ``create`` returns as shapes, without arrays."""
    return jax.eval_shape(lambda: create(config, jax.random.key(0)))


@partial(jax.jit, static_argnames="config")
def _create(config, key) -> TrainState:
    x_BHWC = jnp.zeros((1, config.height, config.width, 3))
    z_BZ = jnp.zeros((1, config.z_dim))
    inputs = {"encoder": x_BHWC, "decoder": z_BZ, "discriminator": x_BHWC}
    params, batch_stats, opt_state, constants = {}, {}, {}, {}
    for index, (name, network) in enumerate(networks.create(config).items()):
        variables = network.init(jax.random.fold_in(key, index), inputs[name], train=True)
        params[name], batch_stats[name] = variables.pop("params"), variables.pop("batch_stats", {})
        opt_state[name] = optimiser(config).init(params[name])
        if variables:
            constants[name] = variables
    zero = jnp.zeros((), jnp.int32)
    return TrainState(zero, zero, zero, params, batch_stats, opt_state, constants)
