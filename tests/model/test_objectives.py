"""The objectives equal numerical integrals and plain numpy; the clipping rule."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.model import objectives


def test_kl_divergence_equals_its_integral():
    """KL(N(m, v) || N(0, 1)) = integral of p log(p/q), averaged over dimensions and batch."""
    random = np.random.default_rng(0)
    mean_BZ, log_variance_BZ = random.uniform(-1, 1, (3, 4)), random.uniform(-0.5, 0.5, (3, 4))
    points = np.linspace(-15, 15, 20001)

    def log_density(mean, variance):
        return -0.5 * (np.log(2 * np.pi * variance) + (points - mean) ** 2 / variance)

    integrals = []
    for mean, log_variance in zip(mean_BZ.ravel(), log_variance_BZ.ravel(), strict=True):
        log_p, log_q = log_density(mean, np.exp(log_variance)), log_density(0, 1)
        integrals.append(np.trapezoid(np.exp(log_p) * (log_p - log_q), points))
    np.testing.assert_allclose(
        objectives.kl_divergence(jnp.asarray(mean_BZ), jnp.asarray(log_variance_BZ)),
        np.mean(integrals),
        rtol=1e-5,
    )


def test_learned_similarity_averages_the_mean_squared_errors_of_layers():
    random = np.random.default_rng(1)
    shapes = [(2, 4, 4, 3), (2, 2, 2, 6), (2, 1, 1, 12), (2, 1, 1, 24)]
    real, reconstructed = ([random.normal(size=shape) for shape in shapes] for _ in range(2))
    expected = sum(((a - b) ** 2).mean() for a, b in zip(real, reconstructed, strict=True)) / len(
        shapes
    )
    as_jax = [[jnp.asarray(layer) for layer in side] for side in (real, reconstructed)]
    np.testing.assert_allclose(objectives.learned_similarity(*as_jax), expected, rtol=1e-6)


def test_adversarial_is_the_sum_of_three_floored_cross_entropies():
    random = np.random.default_rng(2)
    real, reconstructed, sampled = random.normal(size=(3, 5)) * 15

    def log_clipped(probability):
        return np.log(np.clip(probability, 1e-8, 1))

    def sigmoid(logit):
        return 1 / (1 + np.exp(-logit))

    expected = -(
        log_clipped(sigmoid(real)).mean()
        + log_clipped(1 - sigmoid(reconstructed)).mean()
        + log_clipped(1 - sigmoid(sampled)).mean()
    )
    logits = [jnp.asarray(logit, jnp.float32) for logit in (real, reconstructed, sampled)]
    np.testing.assert_allclose(
        objectives.adversarial(*logits, weight=1 / 72), expected / 72, rtol=1e-5
    )


def test_the_logarithm_is_floored():
    """A confident wrong answer costs at most -log 1e-8, but still has a gradient."""
    logit_B = jnp.asarray([-1e4, -1e4])
    value, gradient = jax.value_and_grad(objectives.cross_entropy)(logit_B, real=True)
    np.testing.assert_allclose(value, -np.log(1e-8), rtol=1e-6)
    np.testing.assert_allclose(gradient, [-0.5, -0.5])


def test_the_floor_does_not_change_gradients():
    logit_B = jnp.asarray([-30.0, -1.0, 2.0])
    gradient = jax.grad(objectives.cross_entropy)(logit_B, real=True)
    np.testing.assert_allclose(gradient, (jax.nn.sigmoid(logit_B) - 1) / 3, rtol=1e-6)


@pytest.mark.parametrize(
    ("network", "loss", "clipped_to"),
    [
        ("encoder", -3.0, 1e-8),
        ("encoder", 3.0, 3.0),
        ("encoder", 300.0, 100.0),
        ("discriminator", -3.0, 1e-8),
        ("discriminator", 300.0, 100.0),
        ("decoder", -3.0, -3.0),  # the decoder alone accepts a negative loss
        ("decoder", -300.0, -100.0),
        ("decoder", 300.0, 100.0),
    ],
)
def test_clipping_ranges(network, loss, clipped_to):
    value, clipped = objectives.clip_loss(network, jnp.asarray(loss))
    np.testing.assert_allclose(value, clipped_to)
    assert bool(clipped) is (loss != clipped_to)


def test_nan_counts_as_clipped():
    assert bool(objectives.clip_loss("decoder", jnp.asarray(jnp.nan))[1])
