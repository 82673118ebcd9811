"""The gradients of one mini-batch (Algorithm 1): forward passes, objectives, pull-backs.

Each network is applied once to each of its inputs. The pull-backs (``jax.vjp``) of these passes
then carry the derivatives of the objectives to the parameters; one function states each of the
equations 4.12 to 4.14. A pull-back returns the cotangents of all its inputs, and XLA removes the
computation of those that nothing uses.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from vae_gan_jax.model import autoencoder, networks, objectives


class _Passes(NamedTuple):
    """Results of the forward passes, and the pull-back of each pass by name."""

    kl: jax.Array
    mean_BZ: jax.Array
    reconstructed_BHWC: jax.Array
    logits_B: tuple  # of the real, reconstructed and sampled frames
    activations: tuple  # of the real and reconstructed frames
    batch_stats: dict[str, Any]
    pullbacks: dict[str, Callable]


class _Cotangents(NamedTuple):
    """Derivatives of the objectives with respect to the results of the forward passes."""

    similarity_activations: list
    similarity_BHWC: jax.Array  # by the reconstructed pixels; 0 without --pixel_share
    adversarial_logits_B: tuple


def gradients(params, collections, x_BHWC, epsilon_BZ, sampled_z_BZ, config) -> tuple:
    """Gradients of the three networks for a mini-batch or one device's shard of it.

    Args:
      params, collections: parameters and the other collections, by network.
      x_BHWC: frames in -1..1.
      epsilon_BZ, sampled_z_BZ: noise, and samples of the prior.
      config: a ``StepConfig``.

    Returns:
      The three trees that ``mesh.data_parallel`` expects: (gradients by network, objectives by
      name), which are means over the given frames; the new batch statistics; (mean_BZ,
      reconstructed_BHWC, logits_B), which have an entry for each frame.
    """
    passes = _forward(params, collections, x_BHWC, epsilon_BZ, sampled_z_BZ, config)
    values, cotangents = _objectives(passes, x_BHWC, config)
    weights = objectives.loss_weights(config.gamma, config.kl_weight)
    discriminator, adversarial = _discriminator(passes, cotangents, weights["discriminator"])
    decoder, similarity_BHWC = _decoder(passes, cotangents, adversarial, weights["decoder"])
    encoder = _encoder(passes, similarity_BHWC, weights["encoder"])
    by_network = {"encoder": encoder, "decoder": decoder, "discriminator": discriminator}
    items = passes.mean_BZ, passes.reconstructed_BHWC, passes.logits_B
    return (by_network, values), passes.batch_stats, items


def _forward(params, collections, x_BHWC, epsilon_BZ, sampled_z_BZ, config) -> _Passes:
    """x -> z -> reconstruction, z_p -> sample, and all three pictures -> discriminator.

    x, reconstructions and samples pass through the discriminator separately, and z and z_p through
    the decoder. So batch norm normalises each with its own statistics; statistics of a merged batch
    would reveal to the discriminator which frames are real. The running statistics come from the
    reconstruction pass.
    """
    modules = networks.create(config)

    def apply(name, params, inputs):
        variables = {"params": params} | collections[name]
        outputs, updated = modules[name].apply(
            variables, inputs, train=True, mutable=["batch_stats"]
        )
        return outputs, updated.get("batch_stats", {})

    def encode(params):
        (mean_BZ, log_variance_BZ), batch_stats = apply("encoder", params, x_BHWC)
        z_BZ = autoencoder.reparameterise(mean_BZ, log_variance_BZ, epsilon_BZ)
        kl = objectives.kl_divergence(mean_BZ, log_variance_BZ)
        return (z_BZ, kl), (mean_BZ, batch_stats)

    decode = partial(apply, "decoder")
    discriminate = partial(apply, "discriminator")

    def discriminate_real(params):
        (logit_B, activations), _ = discriminate(params, x_BHWC)
        return logit_B, activations

    def discriminate_sampled(params, sampled_BHWC):
        (logit_B, _), _ = discriminate(params, sampled_BHWC)
        return logit_B

    pullbacks, batch_stats = {}, {}
    (z_BZ, kl), pullbacks["encoder"], (mean_BZ, batch_stats["encoder"]) = jax.vjp(
        encode, params["encoder"], has_aux=True
    )
    reconstructed_BHWC, pullbacks["decoder"], batch_stats["decoder"] = jax.vjp(
        decode, params["decoder"], z_BZ, has_aux=True
    )
    sampled_BHWC, pullbacks["decoder_sampled"], _ = jax.vjp(
        lambda decoder: decode(decoder, sampled_z_BZ), params["decoder"], has_aux=True
    )
    real_B, pullbacks["real"], real_activations = jax.vjp(
        discriminate_real, params["discriminator"], has_aux=True
    )
    (reconstructed_B, activations), pullbacks["reconstructed"], batch_stats["discriminator"] = (
        jax.vjp(discriminate, params["discriminator"], reconstructed_BHWC, has_aux=True)
    )
    sampled_B, pullbacks["sampled"] = jax.vjp(
        discriminate_sampled, params["discriminator"], sampled_BHWC
    )
    logits_B, both = (real_B, reconstructed_B, sampled_B), (real_activations, activations)
    return _Passes(kl, mean_BZ, reconstructed_BHWC, logits_B, both, batch_stats, pullbacks)


def _objectives(passes: _Passes, x_BHWC, config) -> tuple[dict[str, jax.Array], _Cotangents]:
    """L_KL (eq. 4.8), L_like (eq. 4.11, mixed with pixels) and L_GAN (eq. 4.9)."""
    real_activations, activations = passes.activations

    def compare(activations, reconstructed_BHWC):
        learned = objectives.learned_similarity(real_activations, activations)
        if not config.pixel_share:
            return learned
        pixels = objectives.squared_error(x_BHWC, reconstructed_BHWC)
        return (1 - config.pixel_share) * learned + config.pixel_share * pixels

    similarity, similarity_pullback = jax.vjp(compare, activations, passes.reconstructed_BHWC)
    adversarial, adversarial_pullback = jax.vjp(
        partial(objectives.adversarial, weight=config.adversarial_weight), *passes.logits_B
    )
    values = {"kl": passes.kl, "similarity": similarity, "adversarial": adversarial}
    one = jnp.ones(())
    return values, _Cotangents(*similarity_pullback(one), adversarial_pullback(one))


def _discriminator(passes: _Passes, cotangents: _Cotangents, weights: dict[str, float]) -> tuple:
    """Eq. 4.12: L_GAN. Also returns its derivatives by the reconstructed and by the sampled x."""
    real_B, reconstructed_B, sampled_B = cotangents.adversarial_logits_B
    (real_gradient,) = passes.pullbacks["real"](real_B)
    reconstructed_gradient, reconstructed_BHWC = passes.pullbacks["reconstructed"](
        (reconstructed_B, jax.tree.map(jnp.zeros_like, passes.activations[1]))
    )
    sampled_gradient, sampled_BHWC = passes.pullbacks["sampled"](sampled_B)
    gradient = jax.tree.map(
        lambda *terms: weights["adversarial"] * sum(terms),
        real_gradient,
        reconstructed_gradient,
        sampled_gradient,
    )
    return gradient, (reconstructed_BHWC, sampled_BHWC)


def _decoder(
    passes: _Passes, cotangents: _Cotangents, adversarial: tuple, weights: dict[str, float]
) -> tuple:
    """Eq. 4.14: gamma L_like - L_GAN. Also returns L_like's derivative by the reconstructed x.

    ``adversarial``: the derivatives of L_GAN by the reconstructed and by the sampled x.
    """
    adversarial_BHWC, adversarial_sampled_BHWC = adversarial
    _, similarity_BHWC = passes.pullbacks["reconstructed"](
        (jnp.zeros_like(passes.logits_B[1]), cotangents.similarity_activations)
    )
    similarity_BHWC += cotangents.similarity_BHWC
    reconstruction_gradient, _ = passes.pullbacks["decoder"](
        weights["similarity"] * similarity_BHWC + weights["adversarial"] * adversarial_BHWC
    )
    (sampling_gradient,) = passes.pullbacks["decoder_sampled"](
        weights["adversarial"] * adversarial_sampled_BHWC
    )
    return jax.tree.map(jnp.add, reconstruction_gradient, sampling_gradient), similarity_BHWC


def _encoder(passes: _Passes, similarity_BHWC, weights: dict[str, float]):
    """Eq. 4.13: L_KL + L_like. A second pull-back through the decoder keeps L_GAN out."""
    _, similarity_BZ = passes.pullbacks["decoder"](similarity_BHWC)
    (gradient,) = passes.pullbacks["encoder"](
        (weights["similarity"] * similarity_BZ, weights["kl"] * jnp.ones(()))
    )
    return gradient
