"""The three objectives (4.3), which network they train (4.4), and the clipping rule (6.2)."""

import jax
import jax.numpy as jnp

LOG_FLOOR = -18.420680743952367  # log 1e-8: footnote 3 of chapter 6

# Section 6.2: an objective outside its network's range gives no gradient. The decoder's is signed:
# its objective is a difference, and stops learning where only positive values may pass.
CLIPPING_RANGE = {
    "encoder": (1e-8, 100.0),
    "decoder": (-100.0, 100.0),
    "discriminator": (1e-8, 100.0),
}


def kl_divergence(mean_BZ, log_variance_BZ):
    """L_KL of N(mean, variance) from N(0, I), eq. 4.8, averaged over dimensions and batch.

    Eq. 4.8 prints no minus and a sum; a sum over 200 dimensions drowns the similarity, a mean.
    """
    return -0.5 * jnp.mean(1 + log_variance_BZ - jnp.square(mean_BZ) - jnp.exp(log_variance_BZ))


def _at_least_float32(array):
    return array.astype(jnp.promote_types(array.dtype, jnp.float32))


def squared_error(real_BHWF, reconstructed_BHWF):
    """The mean over all elements, in float32 at least."""
    difference_BHWF = _at_least_float32(real_BHWF) - _at_least_float32(reconstructed_BHWF)
    return jnp.mean(jnp.square(difference_BHWF))


def pixel_error(x_BHWC, reconstructed_BHWC, square: int):
    """The squared error of pixels, but of brightness as means over squares of so many a side.

    Brightness is the mean of the three channels, colour what each has beside it. So what brightness
    does within a square, the detail, is left to the other objectives, and colour is not. With
    squares of 1 this is the mean squared error of the channels. Where a last square reaches over
    the frame's edge, the last row or column counts for what is missing.
    """
    difference_BHWC = x_BHWC - reconstructed_BHWC
    brightness_BHW1 = difference_BHWC.mean(-1, keepdims=True)
    colour_error = jnp.mean(jnp.square(difference_BHWC - brightness_BHW1))
    batch, height, width, _ = x_BHWC.shape
    rows, columns = -(-height // square), -(-width // square)
    missing = ((0, 0), (0, rows * square - height), (0, columns * square - width), (0, 0))
    squares = jnp.pad(brightness_BHW1, missing, mode="edge").reshape(
        batch, rows, square, columns, square
    )
    return jnp.mean(jnp.square(squares.mean((2, 4)))) + colour_error


def learned_similarity(real_activations, reconstructed_activations):
    """L_like of eq. 4.11: squared error of the discriminator's activations, the layers' mean.

    Args:
      real_activations: the discriminator's layers for x, arrays ``[B, H_l, W_l, F_l]``.
      reconstructed_activations: the same for the reconstruction.
    """
    errors = [
        squared_error(real_BHWF, reconstructed_BHWF)
        for real_BHWF, reconstructed_BHWF in zip(
            real_activations, reconstructed_activations, strict=True
        )
    ]
    return sum(errors) / len(errors)


def cross_entropy(logit_B, real: bool):
    """Mean of -log(probability of the right answer), the logarithm floored at log 1e-8.

    The gradient is that of the logarithm without its floor: were there none below, a discriminator
    that is surer than that of a wrong answer for every frame would never learn again.
    """
    log_probability_B = jax.nn.log_sigmoid(logit_B if real else -logit_B)
    floored_B = jnp.maximum(log_probability_B, LOG_FLOOR)
    gradient_alone_B = log_probability_B - jax.lax.stop_gradient(log_probability_B)
    return -jnp.mean(jax.lax.stop_gradient(floored_B) + gradient_alone_B)


def adversarial(real_logit_B, reconstructed_logit_B, sampled_logit_B, weight: float):
    """L_GAN of eq. 4.9 as the discriminator's loss: ``weight`` times three cross-entropies.

    Larsen et al., Algorithm 1: the discriminator minimises it, the decoder maximises it.
    """
    return weight * (
        cross_entropy(real_logit_B, real=True)
        + cross_entropy(reconstructed_logit_B, real=False)
        + cross_entropy(sampled_logit_B, real=False)
    )


def loss_weights(gamma: float, kl_weight: float) -> dict[str, dict[str, float]]:
    """Which objectives train which network, and their weights: eqs. 4.13, 4.14 and 4.12.

    What a network minimises is the weighted sum of its row; no other objective reaches it.
    """
    return {
        "encoder": {"kl": kl_weight, "similarity": 1.0},
        "decoder": {"similarity": gamma, "adversarial": -1.0},
        "discriminator": {"adversarial": 1.0},
    }


def clip_objective(network: str, objective):
    """The objective clipped to its network's range, and whether it lay outside or was no number."""
    low, high = CLIPPING_RANGE[network]
    clipped = ~((objective >= low) & (objective <= high))
    return jnp.clip(objective, low, high), clipped
