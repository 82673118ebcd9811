"""The three objectives (4.3), which network they train (4.4), and the clipping rule (6.2)."""

import jax
import jax.numpy as jnp

from vae_gan_jax.model.layers import at_least_float32

LOG_FLOOR = -18.420680743952367  # log 1e-8: footnote 3 of chapter 6

# Section 6.2: a loss outside its network's range gives no gradient. The decoder's loss is a
# difference, so it can be negative; in a range of positive values the decoder would stop learning.
CLIPPING_RANGE = {
    "encoder": (1e-8, 100.0),
    "decoder": (-100.0, 100.0),
    "discriminator": (1e-8, 100.0),
}


def kl_divergence(mean_BZ, log_variance_BZ):
    """L_KL, eq. 4.8: the divergence of N(mean, variance) from N(0, I), averaged.

    As printed, eq. 4.8 lacks the minus sign and sums over the dimensions. This is a mean, like the
    similarity, which a sum over 200 dimensions would outweigh.
    """
    return -0.5 * jnp.mean(1 + log_variance_BZ - jnp.square(mean_BZ) - jnp.exp(log_variance_BZ))


def squared_error(real_BHWF, reconstructed_BHWF):
    """The mean squared error over all elements, computed in float32 or better."""
    difference_BHWF = at_least_float32(real_BHWF) - at_least_float32(reconstructed_BHWF)
    return jnp.mean(jnp.square(difference_BHWF))


def learned_similarity(real_activations, reconstructed_activations):
    """L_like, eq. 4.11: mean squared error of each discriminator layer, averaged over layers.

    Args:
      real_activations: the activations of each layer for the frames, ``[B, H_l, W_l, F_l]``.
      reconstructed_activations: the same for the reconstructions.
    """
    errors = [
        squared_error(real_BHWF, reconstructed_BHWF)
        for real_BHWF, reconstructed_BHWF in zip(
            real_activations, reconstructed_activations, strict=True
        )
    ]
    return sum(errors) / len(errors)


def cross_entropy(logit_B, real: bool):
    """Mean of -log(probability of the correct answer), with the logarithm floored at log 1e-8.

    The gradient ignores the floor. Otherwise a discriminator that is confidently wrong about every
    frame would get no gradient and never recover.
    """
    log_probability_B = jax.nn.log_sigmoid(logit_B if real else -logit_B)
    floored_B = jnp.maximum(log_probability_B, LOG_FLOOR)
    zero_with_gradient_B = log_probability_B - jax.lax.stop_gradient(log_probability_B)
    return -jnp.mean(jax.lax.stop_gradient(floored_B) + zero_with_gradient_B)


def adversarial(real_logit_B, reconstructed_logit_B, sampled_logit_B, weight: float):
    """L_GAN, eq. 4.9, as the discriminator's loss: ``weight`` times three cross-entropies.

    The discriminator minimises it and the decoder maximises it (Larsen et al., Algorithm 1).
    """
    return weight * (
        cross_entropy(real_logit_B, real=True)
        + cross_entropy(reconstructed_logit_B, real=False)
        + cross_entropy(sampled_logit_B, real=False)
    )


def loss_weights(gamma: float, kl_weight: float) -> dict[str, dict[str, float]]:
    """The weights of the objectives in each network's loss: eqs. 4.13, 4.14 and 4.12."""
    return {
        "encoder": {"kl": kl_weight, "similarity": 1.0},
        "decoder": {"similarity": gamma, "adversarial": -1.0},
        "discriminator": {"adversarial": 1.0},
    }


def clip_loss(network: str, loss):
    """Clips a loss to its network's range; also returns whether it was outside, or NaN."""
    low, high = CLIPPING_RANGE[network]
    clipped = ~((loss >= low) & (loss <= high))
    return jnp.clip(loss, low, high), clipped
