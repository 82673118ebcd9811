"""Convolutions with fewer multiplications against the plain forms: rounding, and what is compiled.

That they are the same but for rounding is held by ``test_convolutions``.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.model import convolutions, plain_convolutions

SIZE, FEATURES = (36, 32), (64, 64)


def results(forms, dtype):
    """A convolution, its transpose and its kernel's gradient, of arrays of a type."""
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


def test_float32_rounds_to_a_ten_thousandth():
    """Against float64, in standard deviations of the result: the bound that the module states."""
    ours = (
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
    for result, expected in zip(results(ours, np.float32), exact, strict=True):
        assert result.dtype == np.float32
        assert np.abs(np.asarray(result, np.float64) - expected).max() < 1e-4 * expected.std()


@pytest.mark.parametrize(("dtype", "fits"), [(jnp.float32, True), (jnp.bfloat16, False)])
def test_arithmetic_falls_by_half_where_it_fits(dtype, fits):
    """What XLA counts of a convolution and both its gradients, at whole tiles."""

    def everything(form):
        def run(x_BHWF, kernel, y_BHWG):
            y, pullback = jax.vjp(form, x_BHWF, kernel)
            return y, pullback(y_BHWG)

        arrays = (
            jax.ShapeDtypeStruct(shape, dtype)
            for shape in ((12, *SIZE, 64), (5, 5, *FEATURES), (12, 18, 16, 64))
        )
        return jax.jit(run).lower(*arrays).compile().cost_analysis()["flops"]

    ratio = everything(convolutions.strided_convolution) / everything(
        plain_convolutions.strided_convolution
    )
    assert (ratio < 0.5) is fits
