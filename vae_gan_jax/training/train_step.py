"""One step of Algorithm 1: a forward pass, three objectives, one pull-back each, three updates."""

from functools import partial
from typing import Any, NamedTuple

import chex
import jax
import jax.numpy as jnp
import optax

from vae_gan_jax.model import autoencoder, networks, objectives
from vae_gan_jax.training import train_state
from vae_gan_jax.training.distributed import mesh


class NetworkUpdates(NamedTuple):
    """What a mini-batch makes of the state; the first three are keyed by the network's name."""

    updates: dict[str, Any]  # to be added to the parameters: three separate optax updates
    opt_state: dict[str, Any]
    batch_stats: dict[str, Any]
    metrics: dict[str, jax.Array]  # float32 scalars


def _gradients(params, collections, x_BHWC, epsilon_BZ, sampled_z_BZ, config):
    """A forward pass, three objectives, one pull-back each, for a mini-batch or a share of it.

    Args:
      params, collections: parameters and the other collections, by the network's name.
      x_BHWC: frames in -1..1.
      epsilon_BZ, sampled_z_BZ: noise, and samples of the prior.
      config: a ``Config``.

    Returns:
      As ``mesh.data_parallel`` takes it: gradients by network and objectives by name, which are means
      over the frames given; new batch statistics; what is made of each frame.
    """
    modules = networks.create(config)

    def forward(name, params, inputs):
        variables = {"params": params} | collections[name]
        outputs, updated = modules[name].apply(
            variables, inputs, train=True, mutable=["batch_stats"]
        )
        return outputs, updated["batch_stats"]

    def encode(params):
        (mean_BZ, log_variance_BZ), batch_stats = forward("encoder", params, x_BHWC)
        z_BZ = autoencoder.reparameterise(mean_BZ, log_variance_BZ, epsilon_BZ)
        kl = objectives.kl_divergence(mean_BZ, log_variance_BZ)
        return (z_BZ, kl), (mean_BZ, batch_stats)

    decode = partial(forward, "decoder")
    discriminate = partial(forward, "discriminator")

    def discriminate_real(params):
        (logit_B, activations), _ = discriminate(params, x_BHWC)
        return logit_B, activations

    def discriminate_sampled(params, sampled_BHWC):
        (logit_B, _), _ = discriminate(params, sampled_BHWC)
        return logit_B

    # One forward pass of each network over each of its inputs.
    batch_stats = {}
    (z_BZ, kl), encoder_pullback, (mean_BZ, batch_stats["encoder"]) = jax.vjp(
        encode, params["encoder"], has_aux=True
    )
    reconstructed_BHWC, decoder_pullback, batch_stats["decoder"] = jax.vjp(
        decode, params["decoder"], z_BZ, has_aux=True
    )
    sampled_BHWC, sampling_pullback, _ = jax.vjp(
        lambda decoder: decode(decoder, sampled_z_BZ), params["decoder"], has_aux=True
    )
    real_logit_B, real_pullback, real_activations = jax.vjp(
        discriminate_real, params["discriminator"], has_aux=True
    )
    (reconstructed_logit_B, activations), discriminator_pullback, batch_stats["discriminator"] = (
        jax.vjp(discriminate, params["discriminator"], reconstructed_BHWC, has_aux=True)
    )
    sampled_logit_B, sampled_pullback = jax.vjp(
        discriminate_sampled, params["discriminator"], sampled_BHWC
    )

    def compare(activations, reconstructed_BHWC):
        learned = objectives.learned_similarity(real_activations, activations)
        if not config.pixel_share:
            return learned
        pixels = objectives.pixel_error(x_BHWC, reconstructed_BHWC, config.luma_pool)
        return (1 - config.pixel_share) * learned + config.pixel_share * pixels

    similarity, similarity_pullback = jax.vjp(compare, activations, reconstructed_BHWC)
    adversarial, adversarial_pullback = jax.vjp(
        partial(objectives.adversarial, weight=config.adversarial_weight),
        real_logit_B,
        reconstructed_logit_B,
        sampled_logit_B,
    )
    values = {"kl": kl, "similarity": similarity, "adversarial": adversarial}
    weights = objectives.loss_weights(config.gamma, config.kl_weight)

    # Pull-backs, from the objectives down to the parameters. Of each, XLA drops what is not used.
    one = jnp.ones(())
    similarity_activations, pixels_BHWC = similarity_pullback(one)
    real_cotangent_B, reconstructed_cotangent_B, sampled_cotangent_B = adversarial_pullback(one)

    # Discriminator, eq. 4.12.
    (real_gradient,) = real_pullback(real_cotangent_B)
    reconstructed_gradient, adversarial_BHWC = discriminator_pullback(
        (reconstructed_cotangent_B, jax.tree.map(jnp.zeros_like, activations))
    )
    sampled_gradient, adversarial_sampled_BHWC = sampled_pullback(sampled_cotangent_B)
    discriminator_gradient = jax.tree.map(
        lambda *terms: weights["discriminator"]["adversarial"] * sum(terms),
        real_gradient,
        reconstructed_gradient,
        sampled_gradient,
    )

    # Decoder, eq. 4.14: both objectives through the reconstruction, the adversarial one through the
    # samples. The encoder must be reached by the similarity alone, so that goes down a second time.
    _, similarity_BHWC = discriminator_pullback(
        (jnp.zeros_like(reconstructed_logit_B), similarity_activations)
    )
    if config.pixel_share:
        similarity_BHWC += pixels_BHWC
    decoder_weights = weights["decoder"]
    reconstruction_gradient, _ = decoder_pullback(
        decoder_weights["similarity"] * similarity_BHWC
        + decoder_weights["adversarial"] * adversarial_BHWC
    )
    (sampling_gradient,) = sampling_pullback(
        decoder_weights["adversarial"] * adversarial_sampled_BHWC
    )
    decoder_gradient = jax.tree.map(jnp.add, reconstruction_gradient, sampling_gradient)

    # Encoder, eq. 4.13.
    _, similarity_BZ = decoder_pullback(similarity_BHWC)
    encoder_weights = weights["encoder"]
    (encoder_gradient,) = encoder_pullback(
        (encoder_weights["similarity"] * similarity_BZ, encoder_weights["kl"] * one)
    )

    gradients = {
        "encoder": encoder_gradient,
        "decoder": decoder_gradient,
        "discriminator": discriminator_gradient,
    }
    logits_B = real_logit_B, reconstructed_logit_B, sampled_logit_B
    return (gradients, values), batch_stats, (mean_BZ, reconstructed_BHWC, logits_B)


def network_updates(state, frames_BHWC, key, noise_std, config) -> NetworkUpdates:
    """The updates of encoder, decoder and discriminator for one mini-batch (4.4, Algorithm 1).

    Each of x, its reconstruction and the prior samples passes the discriminator by itself, and z
    and z_p the decoder, so that each is normalised by its own statistics; a merged batch would tell
    the discriminator which is which. The running statistics are those of the reconstruction pass.

    Where an objective or the norm of a gradient is not finite (6.2) nothing changes: the updates
    are 0, the rest is as it was, and the metric "skipped" is 1.

    Args:
      state: a ``TrainState``.
      frames_BHWC: uint8 frames, ``[B, height, width, 3]``.
      key: of the whole run; the step is folded in here.
      noise_std: standard deviation of the noise epsilon, a traced scalar (4.5.1).
      config: a ``Config``.

    Returns:
      ``NetworkUpdates``.
    """
    chex.assert_shape(frames_BHWC, (None, config.height, config.width, 3))
    chex.assert_type(frames_BHWC, jnp.uint8)
    noise_key, prior_key = jax.random.split(jax.random.fold_in(key, state.step))
    x_BHWC = autoencoder.from_frames(frames_BHWC)
    shape = x_BHWC.shape[0], config.z_dim
    epsilon_BZ = autoencoder.noise(noise_key, shape, noise_std)
    sampled_z_BZ = autoencoder.sample_prior(config.prior, prior_key, shape)
    (gradients, values), batch_stats, (mean_BZ, reconstructed_BHWC, logits_B) = mesh.data_parallel(
        partial(_gradients, config=config),
        (state.params, state.collections),
        (x_BHWC, epsilon_BZ, sampled_z_BZ),
    )
    weights = objectives.loss_weights(config.gamma, config.kl_weight)
    metrics = {f"objective/{name}": value for name, value in values.items()}
    for name, gradient in gradients.items():
        loss = sum(weight * values[objective] for objective, weight in weights[name].items())
        metrics[f"loss/{name}"], clipped = objectives.clip_objective(name, loss)
        metrics[f"clipped/{name}"] = clipped.astype(jnp.float32)
        metrics[f"gradient_norm/{name}"] = optax.tree.norm(gradient)
        # Section 6.2: clipping the objective before differentiation leaves no gradient outside.
        gradients[name] = jax.tree.map(
            lambda g, clipped=clipped: jnp.where(clipped, 0, g), gradient
        )
    watched = [v for k, v in metrics.items() if k.startswith(("objective/", "gradient_norm/"))]
    finite = jnp.isfinite(jnp.stack(watched)).all()
    updates, opt_state = {}, {}
    for name, gradient in gradients.items():
        updates[name], opt_state[name] = train_state.optimiser(config).update(
            gradient, state.opt_state[name], state.params[name]
        )
    updates = jax.tree.map(lambda update: jnp.where(finite, update, 0), updates)
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


def _spread(reconstructed_BHWC, x_BHWC):
    """How much the reconstructions of a batch differ from each other, of how much its frames do.

    The square root of a quotient of variances; 0 where all are the same picture.
    """
    floor = 1e-4  # of variances, in pixels of -1..1: a batch of equal frames has a spread of 1
    return jnp.sqrt(
        (reconstructed_BHWC.var(axis=0).mean() + floor) / (x_BHWC.var(axis=0).mean() + floor)
    )


def _step(state, frames_uint8, key, noise_std, config):
    new = network_updates(state, frames_uint8, key, noise_std, config)
    step, params = state.step + 1, optax.apply_updates(state.params, new.updates)
    state = state.replace(
        step=step,
        params=params,
        batch_stats=new.batch_stats,
        opt_state=new.opt_state,
        ema=train_state.update_ema(config, state.ema, params, step),
    )
    return mesh.constrain_state(config, state), mesh.replicate(new.metrics)


def train_step(state, frames_uint8, key, noise_std, config):
    """Applies ``network_updates``; the given state's memory is reused for the new one.

    Args and errors are those of ``network_updates``.

    Returns:
      The state after the step, and the metrics.
    """
    return jitted_step(state, frames_uint8, key, noise_std, config.step)


def train_steps(state, frames, index_SB, count, key, noise_std, config):
    """Several steps in one dispatch.

    How many is not compiled in, so that it is the same code for every number, and training in
    dispatches of any lengths gives the same state.

    Args:
      state, key, noise_std, config: as in ``network_updates``.
      frames: uint8 frames, ``[S, B, H, W, 3]``, or ``[T, H, W, 3]`` with an index.
      index_SB: int32; which of them each step takes; ``None``: its own.
      count: int32 scalar, up to S: the first so many steps are done.

    Returns:
      The state after these steps, and the metrics, ``[S]`` each, 0 from ``count`` on.
    """
    return jitted_steps(state, frames, index_SB, count, key, noise_std, config.step)


# The compiled functions, of a ``StepConfig``, for those who call ``.lower``.
@partial(jax.jit, static_argnames="config", donate_argnames="state")
def jitted_step(state, frames_uint8, key, noise_std, config):
    """``train_step`` of a ``StepConfig``."""
    return _step(state, frames_uint8, key, noise_std, config)


@partial(jax.jit, static_argnames="config", donate_argnames="state")
def jitted_steps(state, frames, index_SB, count, key, noise_std, config):
    """``train_steps`` of a ``StepConfig``."""

    def frames_of(index):
        return frames[index] if index_SB is None else frames[index_SB[index]]

    def step(index, carried):
        state, metrics = carried
        # The barrier keeps the step the same, wherever its frames come from.
        frames_BHWC = jax.lax.optimization_barrier(frames_of(index))
        state, new = _step(state, frames_BHWC, key, noise_std, config)
        return state, jax.tree.map(lambda all_S, one: all_S.at[index].set(one), metrics, new)

    _, shapes = jax.eval_shape(partial(_step, config=config), state, frames_of(0), key, noise_std)
    length = len(frames if index_SB is None else index_SB)
    metrics = jax.tree.map(lambda one: jnp.zeros(length, one.dtype), shapes)
    state, metrics = jax.lax.fori_loop(
        0, count, step, (mesh.constrain_state(config, state), metrics)
    )
    return mesh.constrain_state(config, state), mesh.replicate(metrics)
