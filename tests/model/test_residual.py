"""The residual networks: sizes, parameters, the linear skip, independence of the mini-batch."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.config import Config
from vae_gan_jax.model import networks, residual
from vae_gan_jax.training import train_state

SMALL = Config(networks="residual", width=40, height=36, filters=2, z_dim=5)


def apply(config, variables, name, inputs):
    network = networks.create(config)[name]
    return jax.jit(partial(network.apply, train=False))(variables[name], inputs)


def variables_of(config, seed=0):
    return train_state.create(config, jax.random.key(seed)).inference_variables


@pytest.mark.parametrize(
    ("height", "width", "halvings"),
    [(16, 16, 2), (17, 31, 2), (36, 64, 3), (72, 128, 4), (144, 256, 5), (135, 240, 5)],
)
def test_any_size_is_restored(height, width, halvings):
    assert residual.halvings(height, width) == halvings
    config = Config(networks="residual", width=width, height=height, filters=2, z_dim=3)

    def autoencode(key):
        modules = networks.create(config)
        x_BHWC = jnp.zeros((2, height, width, 3))
        (mean_BZ, log_variance_BZ), _ = modules["encoder"].init_with_output(key, x_BHWC, True)
        return (mean_BZ, log_variance_BZ), modules["decoder"].init_with_output(key, mean_BZ, True)

    codes, (x_BHWC, _) = jax.eval_shape(autoencode, jax.random.key(0))
    chex.assert_shape(codes, (2, 3))
    chex.assert_shape(x_BHWC, (2, height, width, 3))


def test_at_the_thesis_size_the_networks_have_under_20_million_parameters():
    config = Config(networks="residual", z_dim=1200)
    state = jax.eval_shape(lambda key: train_state.create(config, key), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(state.params)) < 20e6


@pytest.mark.parametrize(
    ("height", "width", "size"),
    [
        (16, 20, (16, 20)),
        (36, 64, (22, 38)),
        (54, 96, (32, 58)),
        (256, 144, (128, 72)),
        (576, 1024, (72, 128)),
    ],
)
def test_the_skip_has_three_fifths_of_the_frames_size_within_limits(height, width, size):
    assert residual.skip_size(height, width) == size


def test_frames_survive_the_skip_s_size():
    """A bilinear filter blurs a film's frames far more: 8 dB less here."""
    random_BHWC = np.random.default_rng(0).normal(size=(4, 18, 32, 3)).astype(np.float32)
    frames_BHWC = residual.resize(random_BHWC, (36, 64))  # without the finest details
    again_BHWC = residual.resize(residual.resize(frames_BHWC, (22, 38)), (36, 64))
    error = float(jnp.mean(jnp.square(again_BHWC - frames_BHWC)) / jnp.var(frames_BHWC))
    assert error < 0.05


def test_pixel_shuffle_puts_four_features_into_a_square():
    x_BHWF = np.arange(2 * 3 * 8).reshape(1, 2, 3, 8)
    y_BHWF = np.asarray(residual.pixel_shuffle(jnp.asarray(x_BHWF)))
    assert y_BHWF.shape == (1, 4, 6, 2)
    np.testing.assert_array_equal(y_BHWF[0, 2:, 4:].reshape(-1), x_BHWF[0, 1, 2])


def test_without_gain_the_networks_are_the_linear_skip():
    """Codes are a linear map of the small frame, and the small picture one of the codes."""
    variables = variables_of(SMALL)
    for name in ("encoder", "decoder"):
        variables[name]["params"]["gain"] = jnp.zeros(())
    random = np.random.default_rng(3)
    centre_HWC = np.float32(random.normal(size=(22, 24, 3)) / 9)
    kernel_PZ, kernel_ZP = np.float32(random.normal(size=(2, 1584, 5)) / 9)
    layer = {"kernel": kernel_ZP.T, "bias": centre_HWC.ravel()}
    variables["encoder"]["pca"] = {"centre": centre_HWC, "linear": {"kernel": kernel_PZ}}
    variables["decoder"]["pca"] = {"linear": layer}
    colour_BC, z_BZ = random.uniform(-1, 1, (2, 3)), np.float32(random.normal(size=(2, 5)))
    plain_BHWC = np.broadcast_to(np.float32(colour_BC)[:, None, None], (2, 36, 40, 3))
    mean_BZ, _ = apply(SMALL, variables, "encoder", plain_BHWC)
    difference_BP = np.tile(colour_BC, 528) - centre_HWC.reshape(1, -1)
    chex.assert_trees_all_close(mean_BZ, np.float32(difference_BP @ kernel_PZ), rtol=1e-4)
    small_BHWC = (z_BZ @ layer["kernel"] + layer["bias"][None]).reshape(2, 22, 24, 3)
    x_BHWC = apply(SMALL, variables, "decoder", z_BZ)
    linear_BHWC = residual.resize(small_BHWC, (36, 40))
    chex.assert_trees_all_close(x_BHWC, linear_BHWC, rtol=1e-4, atol=1e-5)


def test_the_convolutions_add_to_the_linear_skip():
    variables = variables_of(SMALL)
    x_BHWC = jax.random.uniform(jax.random.key(1), (2, 36, 40, 3), minval=-1)
    codes, pictures = {}, {}
    for gain in (0.0, 1.0, 2.0):
        for name in ("encoder", "decoder"):
            variables[name]["params"]["gain"] = jnp.float32(gain)
        codes[gain], _ = apply(SMALL, variables, "encoder", x_BHWC)
        pictures[gain] = apply(SMALL, variables, "decoder", jnp.ones((2, 5)))
    for outputs in (codes, pictures):
        added = outputs[1.0] - outputs[0.0]
        assert float(jnp.abs(added).max()) > 1e-3
        chex.assert_trees_all_close(outputs[2.0] - outputs[0.0], 2 * added, rtol=1e-3, atol=1e-5)


def test_a_frame_does_not_depend_on_its_mini_batch():
    variables = variables_of(SMALL)
    x_BHWC = jax.random.uniform(jax.random.key(1), (3, 36, 40, 3), minval=-1)
    together, _ = apply(SMALL, variables, "encoder", x_BHWC)
    alone, _ = apply(SMALL, variables, "encoder", x_BHWC[1:2])
    chex.assert_trees_all_close(together[1:2], alone, rtol=1e-4, atol=1e-6)


def test_log_variances_are_bounded():
    variables = variables_of(SMALL)
    variables["encoder"]["params"]["log_variance"]["kernel"] *= 1e3
    x_BHWC = jax.random.uniform(jax.random.key(1), (2, 36, 40, 3), minval=-1)
    _, log_variance_BZ = apply(SMALL, variables, "encoder", x_BHWC)
    assert 0.49 < float(jnp.abs(log_variance_BZ).max()) <= 0.5
