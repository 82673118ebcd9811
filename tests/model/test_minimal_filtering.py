"""Convolutions with fewer multiplications against the plain forms."""

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.model import convolutions, minimal_filtering

SIZES = [(8, 6), (7, 5), (1, 2), (3, 16), (13, 19)]


def arrays(size, features=(3, 4), seed=1):
    """A larger picture, a smaller one and a kernel: float64."""
    random = np.random.default_rng(seed)
    half = tuple(convolutions.halved(side) for side in size)
    x_BHWF = random.normal(size=(2, *size, features[0]))
    y_BHWG = random.normal(size=(2, *half, features[1]))
    return x_BHWF, y_BHWG, random.normal(size=(5, 5, *features))


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_both_are_the_plain_forms(size):
    with jax.enable_x64(True):
        x_BHWF, y_BHWG, kernel = arrays(size)
        transformed = minimal_filtering.transform(kernel)
        chex.assert_trees_all_close(
            jax.jit(minimal_filtering.strided_convolution)(x_BHWF, transformed),
            convolutions.plain_strided(x_BHWF, kernel),
            rtol=1e-9,
            atol=1e-11,
        )
        chex.assert_trees_all_close(
            jax.jit(minimal_filtering.transposed_convolution, static_argnums=2)(
                y_BHWG, transformed, size
            ),
            convolutions.plain_transposed(y_BHWG, kernel, size),
            rtol=1e-9,
            atol=1e-11,
        )


def test_float32_rounds_to_a_ten_thousandth():
    """Against float64, in standard deviations of the result: the bound that the module states."""
    size, features = (36, 32), (64, 64)
    with jax.enable_x64(True):
        wide = arrays(size, features)
        expected = (
            np.asarray(convolutions.plain_strided(wide[0], wide[2])),
            np.asarray(convolutions.plain_transposed(wide[1], wide[2], size)),
        )
    x_BHWF, y_BHWG, kernel = (array.astype(np.float32) for array in wide)
    transformed = minimal_filtering.transform(kernel)
    results = (
        minimal_filtering.strided_convolution(x_BHWF, transformed),
        minimal_filtering.transposed_convolution(y_BHWG, transformed, size),
    )
    for result, exact in zip(results, expected, strict=True):
        assert result.dtype == np.float32
        assert np.abs(np.asarray(result, np.float64) - exact).max() < 1e-4 * exact.std()
