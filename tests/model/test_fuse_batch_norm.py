"""Folded networks against batch norm with running statistics, in float64."""

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config import Config
from vae_gan_jax.model import autoencoder, fuse_batch_norm, winograd
from vae_gan_jax.training import train_state


@pytest.mark.parametrize(
    ("first_batch_norm", "linear_skip", "enough"), [(False, True, 1000), (True, False, 2)]
)
def test_folded_networks_are_the_networks(first_batch_norm, linear_skip, enough, monkeypatch):
    """At an odd size, with scales, biases and statistics far from where they start.

    With kernels for minimal filtering and without.
    """
    monkeypatch.setattr(winograd, "ENOUGH", enough)
    jax.clear_caches()  # the number is no argument of what is compiled
    config = Config(
        width=19,
        height=17,
        filters=2,
        z_dim=3,
        first_batch_norm=first_batch_norm,
        linear_skip=linear_skip,
        leak=0.1,
    )
    monkeypatch.setattr(autoencoder, "from_frames", lambda frames: frames / 127.5 - 1)
    random = np.random.default_rng(0)
    frames_BHWC = random.integers(0, 256, (2, 17, 19, 3), dtype=np.uint8)
    with jax.enable_x64(True):
        state = jax.eval_shape(lambda key: train_state.create(config, key), jax.random.key(0))
        params, batch_stats = jax.tree.map(
            lambda leaf: random.uniform(0.3, 1.5, leaf.shape), (state.params, state.batch_stats)
        )
        params = jax.tree.map(lambda leaf: leaf - 0.9 if leaf.ndim > 1 else leaf, params)

        def run(params, batch_stats):
            return autoencoder.autoencode(
                config, params, batch_stats, frames_BHWC, jax.random.key(1), 0.1, train=False
            )

        expected, _ = run(params, batch_stats)
        folded = fuse_batch_norm.fuse(params, batch_stats)
        kernel = folded[0]["decoder"]["convolution_1"]["kernel"]
        assert isinstance(kernel, list) is (enough == 2)
        for network in ("encoder", "decoder"):
            assert "batch_norm" not in str(jax.tree.structure(folded[0][network]))
        assert folded[0]["discriminator"].keys() == params["discriminator"].keys()
        result, statistics = run(*folded)
        assert result.dtype == np.float64
        assert expected.std() > 0.1
        chex.assert_trees_all_close(result, expected, rtol=1e-9, atol=1e-11)
        assert {name: statistics[name] for name in ("encoder", "decoder")} == {
            "encoder": {},
            "decoder": {},
        }


def test_a_bias_takes_the_place_of_each_norm():
    config = Config(width=16, height=16, filters=2, z_dim=3)
    state = jax.eval_shape(lambda key: train_state.create(config, key), jax.random.key(0))
    params, _ = jax.eval_shape(fuse_batch_norm.fuse, state.params, state.batch_stats)
    for network in (params["encoder"]["stack"], params["decoder"]):
        assert all("bias" in network[f"convolution_{layer}"] for layer in range(1, 5))
