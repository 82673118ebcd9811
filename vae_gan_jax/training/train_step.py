"""One step of Algorithm 1: gradients, the clipping rule (6.2), three updates."""

from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from vae_gan_jax.model import autoencoder, networks, objectives
from vae_gan_jax.training import train_state
from vae_gan_jax.training.distributed import mesh
from vae_gan_jax.training.gradients import gradients

MIN_VARIANCE = 1e-4  # of pixels in -1..1; makes the spread of equal frames 1 instead of 0/0


class NetworkUpdates(NamedTuple):
    """The results of one mini-batch; the first three have the networks' names as keys."""

    updates: dict[str, Any]  # to add to the parameters: three separate optax updates
    opt_state: dict[str, Any]
    batch_stats: dict[str, Any]
    metrics: dict[str, jax.Array]  # float32 scalars


def network_updates(state, frames_BHWC, key, noise_std, config) -> NetworkUpdates:
    """Computes the updates of encoder, decoder and discriminator for one mini-batch (4.4).

    If an objective or the norm of a gradient is not finite (6.2), all updates are 0, statistics and
    moments stay unchanged and the metric "skipped" is 1.

    Args:
      state: a ``TrainState``.
      frames_BHWC: uint8 frames, ``[B, height, width, 3]``.
      key: the run's key; this function folds in the step.
      noise_std: standard deviation of the noise epsilon, a traced scalar (4.5.1).
      config: a ``Config`` or ``StepConfig``.

    Returns:
      The updates, the new moments and statistics, and the metrics.
    """
    chex.assert_shape(frames_BHWC, (None, config.height, config.width, 3))
    chex.assert_type(frames_BHWC, jnp.uint8)
    noise_key, prior_key = jax.random.split(jax.random.fold_in(key, state.step))
    x_BHWC = autoencoder.from_frames(frames_BHWC)
    shape = x_BHWC.shape[0], config.z_dim
    epsilon_BZ = autoencoder.noise(noise_key, shape, noise_std)
    sampled_z_BZ = autoencoder.sample_prior(config.prior, prior_key, shape)
    (by_network, values), batch_stats, (mean_BZ, reconstructed_BHWC, logits_B) = mesh.data_parallel(
        partial(gradients, config=config),
        (state.params, state.collections),
        (x_BHWC, epsilon_BZ, sampled_z_BZ),
        networks.compute_dtype(config),
    )
    by_network, metrics = _clip(by_network, values, config)
    measured = [
        value
        for name, value in metrics.items()
        if name.startswith(("objective/", "gradient_norm/"))
    ]
    finite = jnp.isfinite(jnp.stack(measured)).all()
    updates, opt_state = {}, {}
    for name, gradient in by_network.items():
        updates[name], opt_state[name] = train_state.optimiser(config).update(
            gradient, state.opt_state[name], state.params[name]
        )
    decay = train_state.decay(config, state.step, state.total_steps)
    updates = jax.tree.map(lambda update: jnp.where(finite, decay * update, 0), updates)
    opt_state, batch_stats = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (opt_state, batch_stats),
        (state.opt_state, state.batch_stats),
    )
    metrics["skipped"] = 1.0 - finite
    for name, logit_B in zip(("real", "reconstructed", "sampled"), logits_B, strict=True):
        metrics[f"discriminator/{name}"] = jax.nn.sigmoid(logit_B).mean()
    metrics["latent/mean_magnitude"] = jnp.abs(mean_BZ).mean()
    metrics["reconstruction/spread"] = _spread(reconstructed_BHWC, x_BHWC)
    return NetworkUpdates(updates, opt_state, batch_stats, metrics)


def _clip(by_network: dict, values: dict, config) -> tuple[dict, dict[str, jax.Array]]:
    """Section 6.2: zeroes the gradient of a network whose loss is out of range; adds metrics."""
    weights = objectives.loss_weights(config.gamma, config.kl_weight)
    metrics = {f"objective/{name}": value for name, value in values.items()}
    clipped_gradients = {}
    for name, gradient in by_network.items():
        loss = sum(weight * values[objective] for objective, weight in weights[name].items())
        metrics[f"loss/{name}"], clipped = objectives.clip_loss(name, loss)
        metrics[f"clipped/{name}"] = clipped.astype(jnp.float32)
        metrics[f"gradient_norm/{name}"] = optax.tree.norm(gradient)
        clipped_gradients[name] = jax.tree.map(
            lambda leaf, clipped=clipped: jnp.where(clipped, 0, leaf), gradient
        )
    return clipped_gradients, metrics


def _spread(reconstructed_BHWC, x_BHWC):
    """Standard deviation of the reconstructions over the batch, relative to that of the frames."""
    return jnp.sqrt(
        (reconstructed_BHWC.var(axis=0).mean() + MIN_VARIANCE)
        / (x_BHWC.var(axis=0).mean() + MIN_VARIANCE)
    )


def train_step(state, frames_uint8, key, noise_std, config):
    """Takes one training step: adds the updates of ``network_updates`` to the parameters.

    The arguments are those of ``network_updates``, but ``config`` is a ``Config``. Returns the new
    state, which reuses the memory of ``state``, and the metrics.
    """
    return jitted_step(state, frames_uint8, key, noise_std, config.step)


def train_steps(state, frames, index_SB, count, key, noise_std, config):
    """Takes ``count`` training steps in one dispatch.

    ``count`` is traced, so one compiled function serves any number of steps.

    Args:
      state, key, noise_std, config: as in ``train_step``.
      frames: uint8 frames, ``[S, B, H, W, 3]``, or ``[T, H, W, 3]`` with an index.
      index_SB: int32, the frames of each step; ``None``: ``frames`` holds mini-batches.
      count: int32 scalar up to S: how many steps to run.

    Returns:
      The state after these steps, and the metrics, ``[S]`` each; entries from ``count`` on are 0.
    """
    return jitted_steps(state, frames, index_SB, count, key, noise_std, config.step)


def _step(state, frames_uint8, key, noise_std, config):
    new = network_updates(state, frames_uint8, key, noise_std, config)
    state = state.replace(
        step=state.step + 1,
        params=optax.apply_updates(state.params, new.updates),
        batch_stats=new.batch_stats,
        opt_state=new.opt_state,
    )
    return mesh.constrain_state(config, state), mesh.replicate(new.metrics)


@partial(jax.jit, static_argnames="config", donate_argnames="state")
def jitted_step(state, frames_uint8, key, noise_std, config):
    """``train_step`` for a ``StepConfig``; public for ``.lower``."""
    return _step(state, frames_uint8, key, noise_std, config)


@partial(jax.jit, static_argnames="config", donate_argnames="state")
def jitted_steps(state, frames, index_SB, count, key, noise_std, config):
    """``train_steps`` for a ``StepConfig``; public for ``.lower``."""

    def mini_batch(index):
        return frames[index] if index_SB is None else frames[index_SB[index]]

    def step(index, carry):
        state, metrics = carry
        # The barrier stops XLA from fusing the gather into the step, so that results do not depend
        # on where the frames live.
        frames_BHWC = jax.lax.optimization_barrier(mini_batch(index))
        state, new = _step(state, frames_BHWC, key, noise_std, config)
        return state, jax.tree.map(lambda all_S, one: all_S.at[index].set(one), metrics, new)

    _, shapes = jax.eval_shape(partial(_step, config=config), state, mini_batch(0), key, noise_std)
    length = len(frames if index_SB is None else index_SB)
    metrics = jax.tree.map(lambda one: jnp.zeros(length, one.dtype), shapes)
    state, metrics = jax.lax.fori_loop(
        0, count, step, (mesh.constrain_state(config, state), metrics)
    )
    return mesh.constrain_state(config, state), mesh.replicate(metrics)
