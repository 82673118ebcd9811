"""The fast forms of the convolutions equal the plain ones in float64, as do all gradients."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.model import convolutions, plain_convolutions, winograd

SIZES = [(8, 6), (1, 2), (9, 1), (13, 19)]
MORE_SIZES = [(7, 5), (3, 16)]  # like the others: odd, and longer than a tile
FEW, MORE = 3, convolutions.FEW_FEATURES + 1  # features, below and above a threshold
MANY = winograd.MIN_FEATURES
FEATURES = [(FEW, 4), (MORE, 4), (MANY, MANY)]
CASES = [(size, count) for size in SIZES for count in FEATURES]
CASES += [
    pytest.param((size, count), marks=pytest.mark.slow) for size in MORE_SIZES for count in FEATURES
]


@pytest.fixture(params=CASES, ids=str)
def arrays(request):
    """An input, an array like the output, and a kernel, in float64."""
    with jax.enable_x64(True):
        random = np.random.default_rng(1)
        size, features = request.param
        half = tuple(-(-side // 2) for side in size)
        x_BHWF = random.normal(size=(2, *size, features[0]))
        y_BHWG = random.normal(size=(2, *half, features[1]))
        yield jnp.asarray(x_BHWF), jnp.asarray(y_BHWG), random.normal(size=(5, 5, *features))


def test_strided_convolution_and_its_gradients(arrays):
    x_BHWF, y_BHWG, kernel = arrays
    result, pullback = jax.vjp(jax.jit(convolutions.strided_convolution), x_BHWF, kernel)
    expected, expected_pullback = jax.vjp(plain_convolutions.strided_convolution, x_BHWF, kernel)
    chex.assert_trees_all_close(result, expected, rtol=1e-9, atol=1e-11)
    chex.assert_trees_all_close(pullback(y_BHWG), expected_pullback(y_BHWG), rtol=1e-9, atol=1e-11)


def test_transposed_convolution_and_its_gradients(arrays):
    x_BHWF, y_BHWG, kernel = arrays
    size = x_BHWF.shape[1:3]

    def fast(y_BHWG, kernel):
        return convolutions.transposed_convolution(y_BHWG, kernel, size)

    def plain(y_BHWG, kernel):
        return plain_convolutions.transposed_convolution(y_BHWG, kernel, size)

    result, pullback = jax.vjp(jax.jit(fast), y_BHWG, kernel)
    expected, expected_pullback = jax.vjp(plain, y_BHWG, kernel)
    chex.assert_trees_all_close(result, expected, rtol=1e-9, atol=1e-11)
    chex.assert_trees_all_close(pullback(x_BHWF), expected_pullback(x_BHWF), rtol=1e-9, atol=1e-11)


def test_every_form_is_the_transpose(arrays):
    """<x, T(y, k)> = <conv(x, k), y>."""
    x_BHWF, y_BHWG, kernel = arrays
    expected = np.vdot(convolutions.strided_convolution(x_BHWF, kernel), y_BHWG)
    for form in (
        convolutions.transposed_convolution,
        plain_convolutions.transposed_by_phases,
        plain_convolutions.transposed_convolution,
    ):
        np.testing.assert_allclose(
            np.vdot(x_BHWF, form(y_BHWG, kernel, x_BHWF.shape[1:3])), expected
        )


def test_by_squares_with_its_transpose_and_kernel_gradient(arrays):
    """The forms of accelerators, which no CPU chooses."""
    x_BHWF, y_BHWG, kernel = arrays
    squares = plain_convolutions.strided_by_squares
    result, pullback = jax.vjp(squares, x_BHWF, kernel)
    expected, expected_pullback = jax.vjp(plain_convolutions.strided_convolution, x_BHWF, kernel)
    chex.assert_trees_all_close(result, expected, rtol=1e-9, atol=1e-11)
    chex.assert_trees_all_close(pullback(y_BHWG), expected_pullback(y_BHWG), rtol=1e-9, atol=1e-11)
    x_again = plain_convolutions.transposed_convolution(y_BHWG, kernel, x_BHWF.shape[1:3], squares)
    gradient = plain_convolutions.kernel_gradient(x_BHWF, y_BHWG, kernel, squares)
    expected = expected_pullback(y_BHWG)
    chex.assert_trees_all_close((x_again, gradient), expected, rtol=1e-9, atol=1e-11)
