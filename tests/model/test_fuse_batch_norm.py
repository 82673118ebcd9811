"""Fused networks equal batch norm with running statistics, in float64."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.config import Config
from vae_gan_jax.model import autoencoder, fuse_batch_norm, winograd
from vae_gan_jax.training import train_state


@pytest.mark.parametrize(
    ("first_batch_norm", "min_features", "filters"),
    [(False, 1000, 3), pytest.param(True, 2, 2, marks=pytest.mark.slow)],
)
def test_fused_networks_equal_the_networks(first_batch_norm, min_features, filters, monkeypatch):
    """At an odd size, with random parameters and statistics, with and without Winograd kernels.

    Compiled functions depend on MIN_FEATURES without an argument, so each case has its own shapes.
    """
    monkeypatch.setattr(winograd, "MIN_FEATURES", min_features)
    config = Config(
        width=19,
        height=17,
        filters=filters,
        z_dim=3,
        first_batch_norm=first_batch_norm,
        leak=0.1,
    )
    monkeypatch.setattr(autoencoder, "from_frames", lambda frames: frames / 127.5 - 1)
    random = np.random.default_rng(0)
    frames_BHWC = random.integers(0, 256, (2, 17, 19, 3), dtype=np.uint8)
    with jax.enable_x64(True):
        state = jax.eval_shape(lambda key: train_state.create(config, key), jax.random.key(0))
        variables = jax.tree.map(
            lambda leaf: random.uniform(0.3, 1.5, leaf.shape), state.inference_variables
        )
        for network in variables.values():
            network["params"] = jax.tree.map(
                lambda leaf: leaf - 0.9 if leaf.ndim > 1 else leaf, network["params"]
            )

        def run(variables):
            return autoencoder.autoencode(
                config.step, variables, frames_BHWC, jax.random.key(1), 0.1, train=False
            )

        expected, _ = run(variables)
        fused = fuse_batch_norm.fuse(variables)
        kernel = fused["decoder"]["params"]["convolution_1"]["kernel"]
        assert isinstance(kernel, list) is (min_features == 2)
        for network in ("encoder", "decoder"):
            assert "batch_" not in str(jax.tree.structure(fused[network]))
        assert fused["discriminator"].keys() == variables["discriminator"].keys()
        result, statistics = run(fused)
        assert result.dtype == np.float64
        assert expected.std() > 0.1
        chex.assert_trees_all_close(result, expected, rtol=1e-9, atol=1e-11)
        assert statistics == {"encoder": {}, "decoder": {}}


def test_a_bias_replaces_each_batch_norm():
    config = Config(width=16, height=16, filters=2, z_dim=3)
    state = jax.eval_shape(lambda key: train_state.create(config, key), jax.random.key(0))
    fused = jax.eval_shape(fuse_batch_norm.fuse, state.inference_variables)
    for network in (fused["encoder"]["params"]["stack"], fused["decoder"]["params"]):
        assert all("bias" in network[f"convolution_{layer}"] for layer in range(1, 5))


def test_residual_networks_give_the_same_bits_with_kernels_in_bfloat16():
    config = Config(
        width=20, height=18, filters=2, z_dim=3, networks="residual", precision="bfloat16"
    )
    variables = train_state.create(config, jax.random.key(0)).inference_variables
    fused = fuse_batch_norm.fuse(variables, jnp.bfloat16)
    kernels = {
        jax.tree_util.keystr(path): leaf.dtype
        for path, leaf in jax.tree_util.tree_leaves_with_path((fused["encoder"], fused["decoder"]))
        if "kernel" in str(path[-1])
    }
    float32 = [name for name, dtype in kernels.items() if dtype == jnp.float32]
    assert len(kernels) > 10
    assert all("linear" in name for name in float32)

    @jax.jit
    def run(variables):
        frames_BHWC = jnp.arange(2 * 18 * 20 * 3, dtype=jnp.uint8).reshape(2, 18, 20, 3)
        key = jax.random.key(1)
        return autoencoder.autoencode(config.step, variables, frames_BHWC, key, 0.1, False)[0]

    chex.assert_trees_all_equal(run(fused), run(variables))
