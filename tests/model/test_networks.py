"""The networks have the shapes of Tables 1 to 3."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.config import Config
from vae_gan_jax.model import networks
from vae_gan_jax.training import train_state

# Tables 1 to 3 with misprints corrected: height, width, features of each layer.
CONVOLUTIONS = [(72, 128, 80), (36, 64, 160), (18, 32, 320), (9, 16, 640)]


def shapes_of(config, name, inputs):
    """Shapes of the network's outputs and of its layers, computed without arithmetic."""
    network = networks.create(config)[name]

    def run(key):
        outputs, variables = network.init_with_output(
            key, inputs, train=True, capture_intermediates=True, mutable=True
        )
        return outputs, variables["intermediates"]

    return jax.eval_shape(run, jax.random.key(0))


def frames_of(config, batch=12):
    return jnp.zeros((batch, config.height, config.width, 3))


def test_encoder_has_the_layers_of_table_1():
    config = Config()
    (mean_BZ, log_variance_BZ), layers = shapes_of(config, "encoder", frames_of(config))
    for layer, shape in enumerate(CONVOLUTIONS, start=1):
        chex.assert_shape(layers["stack"][f"convolution_{layer}"]["__call__"][0], (12, *shape))
    chex.assert_shape([mean_BZ, log_variance_BZ], (12, 200))


def test_decoder_has_the_layers_of_table_2():
    config = Config()
    x_BHWC, layers = shapes_of(config, "decoder", jnp.zeros((12, 200)))
    chex.assert_shape(layers["projection"]["__call__"][0], (12, 16 * 9 * 640))
    expected = [*reversed(CONVOLUTIONS[:-1]), (144, 256, 3)]
    for layer, shape in enumerate(expected, start=1):
        chex.assert_shape(layers[f"convolution_{layer}"]["__call__"][0], (12, *shape))
    chex.assert_shape(x_BHWC, (12, 144, 256, 3))


def test_discriminator_has_the_layers_of_table_3():
    config = Config()
    (logit_B, activations), _ = shapes_of(config, "discriminator", frames_of(config))
    assert [activation.shape[1:] for activation in activations] == CONVOLUTIONS
    chex.assert_shape(logit_B, (12,))


def test_parameter_counts():
    """5x5 kernels, two numbers per feature of a batch norm, biases elsewhere."""
    kernels = 25 * (3 * 80 + 80 * 160 + 160 * 320 + 320 * 640)
    norms = 2 * (160 + 320 + 640)
    flat = 16 * 9 * 640
    expected = {
        "encoder": kernels + 80 + norms + 2 * (flat * 200 + 200),
        "decoder": 200 * flat + flat + kernels + 2 * (640 + 320 + 160 + 80) + 3,
        "discriminator": kernels + 80 + norms + flat + 1,
    }
    state = jax.eval_shape(lambda key: train_state.create(Config(), key), jax.random.key(0))
    counts = {
        name: sum(leaf.size for leaf in jax.tree.leaves(state.params[name]))
        for name in state.params
    }
    assert counts == expected
    assert round(sum(counts.values()) / 1e6, 1) == 75.7


@pytest.mark.parametrize(("height", "width"), [(16, 16), (17, 31), (72, 128), (135, 240)])
def test_any_size_is_restored(height, width):
    config = Config(width=width, height=height, filters=2, z_dim=3)
    x_BHWC, _ = shapes_of(config, "decoder", jnp.zeros((2, 3)))
    chex.assert_shape(x_BHWC, (2, height, width, 3))
    (mean_BZ, _), _ = shapes_of(config, "encoder", frames_of(config, 2))
    chex.assert_shape(mean_BZ, (2, 3))


@pytest.mark.parametrize("printed", [False, True])
def test_batch_norm_after_the_first_convolution_is_optional(printed):
    config = Config(width=16, height=16, filters=2, z_dim=3, first_batch_norm=printed)
    state = jax.eval_shape(lambda key: train_state.create(config, key), jax.random.key(0))
    for name in ("encoder", "discriminator"):
        assert ("batch_norm_1" in state.batch_stats[name]["stack"]) is printed
        assert "batch_norm_2" in state.batch_stats[name]["stack"]
    assert len(state.batch_stats["decoder"]) == 4


def test_encoder_outputs_are_bounded():
    """tanh bounds the mean to (-1, 1) and the log variance to (-1/2, 1/2)."""
    encoder = networks.create(Config(width=16, height=16, filters=2, z_dim=50))["encoder"]
    x_BHWC = jnp.asarray(np.random.default_rng(2).normal(size=(4, 16, 16, 3)), jnp.float32)

    @jax.jit
    def encode(key):
        variables = encoder.init(key, x_BHWC, train=True)
        variables["params"]["mean"]["kernel"] *= 1e3
        variables["params"]["log_variance"]["kernel"] *= 1e3
        return encoder.apply(variables, x_BHWC, train=True, mutable=["batch_stats"])[0]

    mean_BZ, log_variance_BZ = encode(jax.random.key(0))
    assert 0.99 < float(jnp.abs(mean_BZ).max()) <= 1
    assert 0.495 < float(jnp.abs(log_variance_BZ).max()) <= 0.5


@pytest.mark.parametrize(("max_fan_in", "scale"), [(None, 1), (64, 1 / 16), (10_000, 1)])
def test_a_maximal_fan_in_scales_the_logit(max_fan_in, scale):
    discriminator = networks.Discriminator(8, leak=0.01, first_batch_norm=False)
    scaled = dataclasses.replace(discriminator, max_fan_in=max_fan_in)
    x_BHWC = jax.random.uniform(jax.random.key(1), (2, 64, 64, 3), minval=-1)
    variables = discriminator.init(jax.random.key(0), x_BHWC, train=True)  # 4 * 4 * 64 features
    (logit_B, activations), (scaled_B, same) = (
        network.apply(variables, x_BHWC, train=False) for network in (discriminator, scaled)
    )
    assert float(jnp.abs(logit_B).min()) > 0
    chex.assert_trees_all_close(scaled_B, scale * logit_B, rtol=1e-6)
    chex.assert_trees_all_equal(same, activations)


def test_residual_networks_limit_the_fan_in_of_the_logit():
    limits = {
        kind: networks.create(Config(networks=kind))["discriminator"].max_fan_in
        for kind in ("thesis", "residual")
    }
    assert limits == {"thesis": None, "residual": networks.LOGIT_MAX_FAN_IN}
