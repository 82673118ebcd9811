"""The Winograd forms' rounding errors and number of operations.

``test_convolutions`` compares them with the plain forms in float64.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.model import convolutions, plain_convolutions

SIZE, FEATURES = (36, 32), (64, 64)


def results(forms, dtype):
    """A convolution, its transpose and its kernel's gradient for random arrays of a type."""
    random = np.random.default_rng(1)
    x_BHWF, y_BHWG, kernel = (
        random.normal(size=shape).astype(dtype)
        for shape in ((2, *SIZE, 64), (2, 18, 16, 64), (5, 5, *FEATURES))
    )
    strided, transposed, kernel_gradient = forms
    return [
        strided(x_BHWF, kernel),
        transposed(y_BHWG, kernel, SIZE),
        kernel_gradient(x_BHWF, y_BHWG, kernel),
    ]


@pytest.mark.slow
def test_float32_errors_stay_below_a_ten_thousandth():
    """Relative to the standard deviation of the float64 result, as the module states."""
    fast = (
        convolutions._strided,
        convolutions._transposed,
        partial(convolutions._kernel_gradient, residual="x"),
    )
    plain = (
        plain_convolutions.strided_convolution,
        plain_convolutions.transposed_convolution,
        plain_convolutions.kernel_gradient,
    )
    with jax.enable_x64(True):
        exact = [np.asarray(result) for result in results(plain, np.float64)]
    for result, expected in zip(results(fast, np.float32), exact, strict=True):
        assert result.dtype == np.float32
        assert np.abs(np.asarray(result, np.float64) - expected).max() < 1e-4 * expected.std()


@pytest.mark.parametrize(("dtype", "fits"), [(jnp.float32, True), (jnp.bfloat16, False)])
def test_operations_fall_by_half_in_float32(dtype, fits):
    """XLA's count for a convolution and both gradients, with whole tiles."""

    def operations(form):
        def run(x_BHWF, kernel, y_BHWG):
            y, pullback = jax.vjp(form, x_BHWF, kernel)
            return y, pullback(y_BHWG)

        arrays = (
            jax.ShapeDtypeStruct(shape, dtype)
            for shape in ((12, *SIZE, 64), (5, 5, *FEATURES), (12, 18, 16, 64))
        )
        return jax.jit(run).lower(*arrays).compile().cost_analysis()["flops"]

    ratio = operations(convolutions.strided_convolution) / operations(
        plain_convolutions.strided_convolution
    )
    assert (ratio < 0.5) is fits
