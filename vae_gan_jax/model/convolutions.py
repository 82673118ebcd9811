"""The 5x5 convolution with stride 2 and its transpose (4.2.1, 4.2.2), each with its gradients.

All passes of the networks are made of three linear maps: the strided convolution, its transpose and
the gradient of its kernel. Left to itself, jax derives them from each other by convolutions with
dilated inputs, and on a CPU some of those forms are slower than others by a factor of up to fifty.
So each is written here as the form that is fast, and gradients refer to one another.
"""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

KERNEL, STRIDE = (5, 5), (2, 2)  # 4.2.1
FEW = 8  # features: of an output with fewer, four small convolutions gain nothing


def halved(side: int) -> int:
    """Height or width after a strided convolution: SAME padding rounds a half up."""
    return -(-side // 2)


def plain_strided(x_BHWF, kernel):
    """``strided_convolution``, with the gradients that jax derives."""
    return lax.conv_general_dilated(
        x_BHWF, kernel, STRIDE, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def plain_transposed(y_BHWG, kernel, size: tuple[int, int]):
    """``transposed_convolution`` as what it is: the linear transpose of ``plain_strided``."""
    x_BHWF = jax.ShapeDtypeStruct((y_BHWG.shape[0], *size, kernel.shape[2]), y_BHWG.dtype)
    (x_BHWF,) = jax.linear_transpose(lambda x: plain_strided(x, kernel), x_BHWF)(y_BHWG)
    return x_BHWF


def _taps(parity: int, side: int) -> tuple[slice, tuple[int, int]]:
    """Which rows of the kernel reach the output rows 2q + parity, and the input's padding there.

    SAME padding puts ``low`` rows before the first, so output row o and kernel row i meet in the
    input row (o + low - i) / 2, where that is whole: every second i, in descending order.
    """
    low = max(2 * (halved(side) - 1) + KERNEL[0] - side, 0) // 2
    taps = range((parity + low) % 2, KERNEL[0], 2)
    offsets = [(parity + low - tap) // 2 for tap in taps]
    stop = taps[0] - 2 if taps[0] >= 2 else None
    return slice(taps[-1], stop, -2), (-offsets[-1], offsets[0])


def transposed_by_phases(y_BHWG, kernel, size: tuple[int, int]):
    """``transposed_convolution`` as four convolutions with stride 1, one for each parity of output.

    Of the 25 taps 9, 6, 6 and 4 meet an input at (odd, odd) rows and columns and so on: the same
    arithmetic, none of it with the zeros that a dilated input has.
    """
    phases = []
    for row_parity in range(2):
        rows, row_padding = _taps(row_parity, size[0])
        for column_parity in range(2):
            columns, column_padding = _taps(column_parity, size[1])
            phases.append(
                lax.conv_general_dilated(
                    y_BHWG,
                    kernel[rows, columns],
                    (1, 1),
                    (row_padding, column_padding),
                    dimension_numbers=("NHWC", "HWOI", "NHWC"),
                )
            )
    batch, height, width, features = phases[0].shape
    even, odd = jnp.stack(phases[:2], axis=3), jnp.stack(phases[2:], axis=3)
    x_BHWF = jnp.stack([even, odd], axis=2).reshape(batch, 2 * height, 2 * width, features)
    return x_BHWF[:, : size[0], : size[1]]


def _transposed(y_BHWG, kernel, size):
    if kernel.shape[2] < FEW:
        return plain_transposed(y_BHWG, kernel, size)
    return lax.platform_dependent(
        y_BHWG,
        kernel,
        cpu=partial(transposed_by_phases, size=size),
        default=partial(plain_transposed, size=size),
    )


def _kernel_gradient(x_BHWF, y_BHWG, kernel):
    """The gradient of ``vdot(y, strided_convolution(x, kernel))`` with respect to the kernel."""
    (gradient,) = jax.linear_transpose(partial(plain_strided, x_BHWF), kernel)(y_BHWG)
    return gradient


@jax.custom_vjp
def strided_convolution(x_BHWF, kernel):
    """Halves height and width, rounding up.

    Args:
      x_BHWF: ``[B, H, W, F]``.
      kernel: ``[5, 5, F, G]``.

    Returns:
      ``[B, ceil(H/2), ceil(W/2), G]``.
    """
    return plain_strided(x_BHWF, kernel)


def _strided_forward(x_BHWF, kernel):
    return plain_strided(x_BHWF, kernel), (x_BHWF, kernel)


def _strided_backward(residuals, cotangent_BHWG):
    x_BHWF, kernel = residuals
    return (
        _transposed(cotangent_BHWG, kernel, x_BHWF.shape[1:3]),
        _kernel_gradient(x_BHWF, cotangent_BHWG, kernel),
    )


strided_convolution.defvjp(_strided_forward, _strided_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def transposed_convolution(y_BHWG, kernel, size: tuple[int, int]):
    """The transpose of ``strided_convolution`` from pictures of ``size`` (4.2.2, footnote 2).

    Args:
      y_BHWG: the smaller picture, ``[B, ceil(H/2), ceil(W/2), G]``.
      kernel: the strided convolution's kernel, ``[5, 5, F, G]``.
      size: ``(H, W)`` of the result.

    Returns:
      ``[B, H, W, F]``.
    """
    return _transposed(y_BHWG, kernel, size)


def _transposed_forward(y_BHWG, kernel, size):
    return _transposed(y_BHWG, kernel, size), (y_BHWG, kernel)


def _transposed_backward(size, residuals, cotangent_BHWF):
    y_BHWG, kernel = residuals
    return (
        plain_strided(cotangent_BHWF, kernel),
        _kernel_gradient(cotangent_BHWF, y_BHWG, kernel),
    )


transposed_convolution.defvjp(_transposed_forward, _transposed_backward)
