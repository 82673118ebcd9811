"""A training step in bfloat16 against the same step in float32."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.model import networks, target
from vae_gan_jax.training import devices, train_state, train_step


@pytest.fixture(scope="module")
def step(small, frames_THWC):
    """The updates and metrics of one mini-batch with some settings changed."""

    def run(**changes):
        config = dataclasses.replace(small, **changes)
        state = train_state.create(small, jax.random.key(1))
        function = jax.jit(train_step.network_updates, static_argnames="config")
        return function(state, frames_THWC[:4], jax.random.key(2), 0.1, config)

    return run


@pytest.fixture(scope="module")
def plain(step):
    return step()


def test_bfloat16_differs_from_float32_only_by_rounding(step, plain):
    """Updates, statistics and metrics stay float32."""
    bfloat16 = step(precision="bfloat16")
    for tree in (bfloat16.updates, bfloat16.batch_stats, bfloat16.metrics):
        assert {leaf.dtype for leaf in jax.tree.leaves(tree)} == {jnp.dtype(np.float32)}
    for name, value in plain.metrics.items():
        np.testing.assert_allclose(bfloat16.metrics[name], value, rtol=0.1, atol=1e-3, err_msg=name)
    assert bfloat16.metrics["objective/similarity"] != plain.metrics["objective/similarity"]
    chex.assert_trees_all_close(bfloat16.batch_stats, plain.batch_stats, rtol=0.1, atol=5e-3)


@pytest.mark.parametrize(
    ("backend", "precision", "expected"),
    [
        ("cpu", "auto", None),
        ("gpu", "auto", jnp.bfloat16),
        ("tpu", "auto", jnp.bfloat16),
        ("cpu", "bfloat16", jnp.bfloat16),
        ("gpu", "float32", None),
    ],
)
def test_the_type_depends_on_backend_and_precision(
    small, monkeypatch, backend, precision, expected
):
    monkeypatch.setattr(target, "on_cpu", lambda: backend == "cpu")
    config = dataclasses.replace(small, precision=precision)
    assert networks.compute_dtype(config) == expected


@pytest.mark.parametrize(
    ("backend", "precision", "warns"),
    [("cpu", "bfloat16", True), ("cpu", "auto", False), ("gpu", "bfloat16", False)],
)
def test_bfloat16_on_a_cpu_warns(small, monkeypatch, caplog, backend, precision, warns):
    monkeypatch.setattr(target, "on_cpu", lambda: backend == "cpu")
    devices.warn_if_slow_precision(dataclasses.replace(small, precision=precision))
    assert ("slower than float32" in caplog.text) is warns
