"""Bending changes the chosen features of one layer, and nothing else."""

import dataclasses
import math
from functools import partial

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.config import Config
from vae_gan_jax.model import bending, fuse_batch_norm, winograd
from vae_gan_jax.model.bend_operations import OPERATIONS
from vae_gan_jax.training import train_state

SHAPE = 2, 6, 10, 5  # [B, H, W, F]
RESIDUAL = Config(width=20, height=18, filters=2, z_dim=3, networks="residual")


@pytest.fixture(scope="module")
def x_BHWF():
    return np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


def a_bend(operation, features=SHAPE[-1], layer="", batch=2, amount=1.0, share=1.0, **parameters):
    given = {name: each.default for name, each in OPERATIONS[operation].parameters.items()}
    given |= dict(amount=amount, share=share) | parameters
    values = {name: jnp.full(batch, value, jnp.float32) for name, value in given.items()}
    return bending.Bend(layer, operation, bending.ranks(features), values)


apply = jax.jit(bending.bend)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_operation_changes_the_chosen_features_of_the_frames_alone(operation, x_BHWF):
    bend = a_bend(operation, share=0.4)
    bend.parameters["amount"] = jnp.array([0.0, 1.0])
    bent_BHWF = np.asarray(apply(x_BHWF, bend))
    np.testing.assert_array_equal(bent_BHWF[0], x_BHWF[0])  # amount 0
    changed_F = (bent_BHWF[1] != x_BHWF[1]).any(axis=(0, 1))
    np.testing.assert_array_equal(changed_F, bend.rank_F < 0.4)
    assert changed_F.sum() == 2


@pytest.mark.parametrize("operation", [name for name in OPERATIONS if OPERATIONS[name].parameters])
def test_an_operation_with_neutral_parameters_changes_nothing(operation, x_BHWF):
    parameters = OPERATIONS[operation].parameters
    neutral = {name: each.neutral for name, each in parameters.items()}
    bent_BHWF = apply(x_BHWF, a_bend(operation, **neutral))
    np.testing.assert_allclose(bent_BHWF, x_BHWF, atol=1e-6)
    for each in parameters.values():
        assert each.low <= each.default <= each.high
        assert each.low <= each.neutral <= each.high


@pytest.mark.parametrize("operation", ["invert", "flip"])
def test_twice_restores(operation, x_BHWF):
    once = apply(x_BHWF, a_bend(operation))
    np.testing.assert_array_equal(apply(once, a_bend(operation)), x_BHWF)


@pytest.mark.parametrize(
    ("operation", "parameters"),
    [
        ("rotate", {"degrees": 360.0}),
        ("rotate", {"degrees": -720.0}),
        ("translate", {"x": 1.0}),
        ("translate", {"x": -2.0, "y": 3.0}),
    ],
)
def test_whole_turns_and_widths_restore(operation, parameters, x_BHWF):
    bent_BHWF = apply(x_BHWF, a_bend(operation, **parameters))
    np.testing.assert_array_equal(bent_BHWF, x_BHWF)


def test_operations_move_features_to_where_they_say():
    x_BHWF = np.zeros((1, 9, 9, 1), np.float32)
    x_BHWF[0, 2, 6] = 1.0

    def at(operation, **parameters):
        bent_HW = apply(x_BHWF, a_bend(operation, 1, batch=1, **parameters))[0, :, :, 0]
        return [tuple(map(int, pixel)) for pixel in zip(*np.nonzero(bent_HW > 0.99), strict=True)]

    assert at("translate", x=1 / 9, y=2 / 9) == [(4, 7)]
    assert at("rotate", degrees=90.0) == [(2, 2)]
    assert at("flip") == [(2, 2)]
    assert at("flip", horizontal=0.0, vertical=1.0) == [(6, 6)]
    assert at("zoom", factor=2.0) == [(0, 8)]
    assert len(at("dilate")) == 9
    assert len(at("dilate", radius=3.0)) == 6 * 6  # cut off at the edges
    assert at("erode") == []
    blurred = apply(x_BHWF, a_bend("blur", 1, batch=1, radius=0.2))
    assert 0 < blurred.max() < 0.5
    assert blurred.sum() == pytest.approx(1.0, rel=0.2)


def test_noise_has_the_strength_and_the_pattern_asked_for():
    x_BHWF = np.full((2, 32, 32, 8), 3.0, np.float32)

    def noise(**parameters):
        return apply(x_BHWF, a_bend("noise", 8, **parameters)) - x_BHWF

    first = noise(strength=0.5, position=7.0)
    assert first.std() == pytest.approx(1.5, rel=0.02)
    assert noise(strength=0.5, position=7.5).std() == pytest.approx(1.5, rel=0.03)
    np.testing.assert_array_equal(first, noise(strength=0.5, position=7.0))
    assert abs(np.corrcoef(first.ravel(), noise(position=8.0).ravel())[0, 1]) < 0.02


def test_threshold_keeps_what_is_strong(x_BHWF):
    kept_BHWF = np.asarray(apply(x_BHWF, a_bend("threshold", level=1.0)))
    rms = math.sqrt((x_BHWF[0] ** 2).mean())
    np.testing.assert_array_equal(kept_BHWF[0], np.where(np.abs(x_BHWF[0]) < rms, 0, x_BHWF[0]))


def test_a_share_of_a_cluster_has_features_of_the_cluster_alone():
    chosen_F = np.arange(20) % 2 == 0
    rank_F = bending.ranks(20, 3, chosen_F)
    assert (rank_F < 0.3).sum() == 3
    assert not (rank_F < 1.0)[~chosen_F].any()
    assert (rank_F < 1.0).sum() == 10
    assert (bending.ranks(20, 4) != bending.ranks(20, 5)).any()


@pytest.fixture(scope="module")
def networks(small):
    """Settings and random variables of thesis and residual networks, fused where that is done."""

    def random_variables(config):
        state = jax.eval_shape(lambda key: train_state.create(config, key), jax.random.key(0))
        random = np.random.default_rng(1)

        def draw(leaf):
            numbers = 0.2 * random.normal(size=leaf.shape) if leaf.ndim > 1 else 0.5
            return jnp.full(leaf.shape, numbers, jnp.float32)

        return jax.tree.map(draw, state.inference_variables)

    thesis = random_variables(small)
    return {
        "thesis": (small, thesis),
        "fused": (small, fuse_batch_norm.fuse(thesis, winograd_form=False)),
        "residual": (RESIDUAL, random_variables(RESIDUAL)),
    }


@partial(jax.jit, static_argnums=0)
def run(config, variables, bends=()):
    """The codes of two frames and their pictures."""
    frames_BHWC = np.random.default_rng(2).integers(0, 256, (2, 18, 20, 3), dtype=np.uint8)
    (mean_BZ, _), _ = bending.encode(config.step, variables, frames_BHWC, False, bends)
    x_BHWC, _ = bending.decode(config.step, variables, mean_BZ, False, bends)
    return mean_BZ, x_BHWC


@pytest.mark.parametrize("kind", ["fused", "residual"])
def test_every_layer_is_bent_where_it_says(kind, networks):
    """A bend of the encoder changes the codes; one of the decoder changes pictures alone."""
    config, variables = networks[kind]
    plain = run(config, variables)
    for layer, shape in bending.layers(config).items():
        for amount in (0.0, 1.0):
            bend = a_bend("scale", shape[-1], layer, amount=amount, factor=3.0)
            mean_BZ, x_BHWC = run(config, variables, (bend,))
            changes_code = bool((mean_BZ != plain[0]).any())
            assert changes_code == (amount > 0 and layer.startswith("encoder")), layer
            assert bool((x_BHWC != plain[1]).any()) == (amount > 0), layer


def test_bends_of_thesis_networks_do_not_depend_on_fusion(networks):
    layers = bending.layers(networks["thesis"][0])
    bends = tuple(
        a_bend(operation, layers[layer][-1], layer)
        for operation, layer in (
            ("rotate", "encoder/convolution_2"),
            ("flip", "decoder/convolution_2"),
        )
    )
    expected, bent = run(*networks["thesis"], bends), run(*networks["fused"], bends)
    chex.assert_trees_all_close(bent, expected, rtol=1e-4, atol=1e-5)
    assert np.abs(expected[1] - run(*networks["thesis"])[1]).max() > 1e-3


@pytest.mark.parametrize(
    ("kind", "layer", "kernel"),
    [
        ("fused", "decoder/convolution_1", "convolution_1"),
        ("fused", "decoder/convolution_4", "convolution_4"),
        ("residual", "decoder/linear", "linear"),
    ],
)
def test_ablating_a_layer_equals_zeroed_kernels_and_biases(kind, layer, kernel, networks):
    config, variables = networks[kind]
    bend = a_bend("ablate", bending.layers(config)[layer][-1], layer)
    collection = "pca" if kernel == "linear" else "params"
    layers = variables["decoder"][collection]
    zeroed = layers | {kernel: jax.tree.map(jnp.zeros_like, layers[kernel])}
    decoder = variables["decoder"] | {collection: zeroed}
    expected = run(config, variables | {"decoder": decoder})
    bent = run(config, variables, (bend,))
    chex.assert_trees_all_equal(bent, expected)
    assert (bent[1] != run(config, variables)[1]).any()


def test_ablating_some_features_equals_zeroed_kernels(networks):
    config, variables = networks["fused"]
    layer = "decoder/convolution_2"
    bend = a_bend("ablate", bending.layers(config)[layer][-1], layer, share=0.5)
    params = variables["decoder"]["params"]
    kept_F = bend.rank_F >= 0.5
    convolution = params["convolution_2"]
    kernel = convolution["kernel"] * kept_F[None, None, :, None]
    zeroed = params | {"convolution_2": {"kernel": kernel, "bias": convolution["bias"] * kept_F}}
    decoder = variables["decoder"] | {"params": zeroed}
    expected = run(config, variables | {"decoder": decoder})
    chex.assert_trees_all_equal(run(config, variables, (bend,)), expected)


def test_parameters_features_and_seeds_compile_nothing(networks):
    config, variables = networks["residual"]
    features = bending.layers(config)["decoder/residual_1"][-1]
    bends = [
        a_bend(
            "rotate", features, "decoder/residual_1", degrees=degrees, amount=amount, share=share
        )
        for degrees, amount, share in ((0.0, 0.0, 0.0), (45.0, 0.5, 0.5), (90.0, 1.0, 1.0))
    ]
    run(config, variables, (bends[0],))
    compiled = run._cache_size()
    for bend in bends[1:]:
        run(config, variables, (bend.replace(rank_F=bending.ranks(features, 5)),))
    assert run._cache_size() == compiled


@pytest.mark.slow
def test_winograd_kernels_are_bent_alike(networks, monkeypatch):
    """Their activations pass the same sites; with plain kernels they differ by rounding."""
    config, variables = networks["thesis"]
    config = dataclasses.replace(config, gamma=2.6)  # compiled apart from the other tests
    monkeypatch.setattr(winograd, "MIN_FEATURES", 2)
    fused = fuse_batch_norm.fuse(variables)
    assert isinstance(fused["decoder"]["params"]["convolution_2"]["kernel"], list)
    layer = "decoder/convolution_1"
    bend = a_bend("translate", bending.layers(config)[layer][-1], layer)
    bent = run(config, fused, (bend,))
    chex.assert_trees_all_close(bent, run(*networks["thesis"], (bend,)), rtol=1e-3, atol=1e-4)
    assert np.abs(bent[1] - run(config, fused)[1]).max() > 1e-3
