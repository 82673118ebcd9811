"""The convolutions' fast forms against the plain ones, in float64: values and all gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.model import convolutions

SIZES = [(8, 6), (7, 5), (1, 2), (3, 16), (9, 1)]
FEW, MANY = 3, convolutions.FEW + 1  # features on both sides of the choice of form


@pytest.fixture(params=[(size, features) for size in SIZES for features in (FEW, MANY)], ids=str)
def arrays(request):
    """A larger picture, a smaller one, a kernel: float64."""
    with jax.enable_x64(True):
        random = np.random.default_rng(1)
        size, features = request.param
        half = tuple(-(-side // 2) for side in size)
        x_BHWF = random.normal(size=(2, *size, features))
        y_BHWG = random.normal(size=(2, *half, 4))
        yield jnp.asarray(x_BHWF), jnp.asarray(y_BHWG), random.normal(size=(5, 5, features, 4))


def test_strided_convolution_and_its_gradients(arrays):
    x_BHWF, y_BHWG, kernel = arrays
    ours, pullback = jax.vjp(jax.jit(convolutions.strided_convolution), x_BHWF, kernel)
    theirs, expected = jax.vjp(convolutions.plain_strided, x_BHWF, kernel)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-12)
    chex.assert_trees_all_close(pullback(y_BHWG), expected(y_BHWG), rtol=1e-9, atol=1e-12)


def test_transposed_convolution_and_its_gradients(arrays):
    x_BHWF, y_BHWG, kernel = arrays
    size = x_BHWF.shape[1:3]
    ours, pullback = jax.vjp(
        lambda *a: convolutions.transposed_convolution(*a, size), y_BHWG, kernel
    )
    theirs, expected = jax.vjp(lambda *a: convolutions.plain_transposed(*a, size), y_BHWG, kernel)
    chex.assert_trees_all_close(ours, theirs, rtol=1e-9, atol=1e-12)
    chex.assert_trees_all_close(pullback(x_BHWF), expected(x_BHWF), rtol=1e-9, atol=1e-12)


def test_the_transpose_is_the_transpose(arrays):
    """<x, T(y, k)> = <conv(x, k), y>, of either form."""
    x_BHWF, y_BHWG, kernel = arrays
    expected = np.vdot(convolutions.strided_convolution(x_BHWF, kernel), y_BHWG)
    for form in (
        convolutions.transposed_convolution,
        convolutions.transposed_by_phases,
        convolutions.plain_transposed,
    ):
        np.testing.assert_allclose(
            np.vdot(x_BHWF, form(y_BHWG, kernel, x_BHWF.shape[1:3])), expected
        )
