"""The strided convolution, its transpose and its kernel's gradient as convolutions of XLA."""

from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

KERNEL, STRIDE = (5, 5), (2, 2)  # 4.2.1


def output_side(side: int) -> int:
    """Height or width after a strided convolution: half of ``side``, rounded up (SAME padding)."""
    return -(-side // 2)


def padding_before(side: int) -> int:
    """Rows or columns of SAME padding before the first: 1 if ``side`` is even, otherwise 2."""
    return max(2 * (output_side(side) - 1) + KERNEL[0] - side, 0) // 2


def strided_convolution(x_BHWF, kernel):
    """``convolutions.strided_convolution``, with the gradients that jax derives."""
    return lax.conv_general_dilated(
        x_BHWF, kernel, STRIDE, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def strided_by_squares(x_BHWF, kernel):
    """``strided_convolution`` as a 3x3 convolution with stride 1 on squares of 2x2 pixels.

    It has four times the features. cuDNN is slow with as few as three.
    """
    batch, *size, features = x_BHWF.shape
    rows, columns = squares = [output_side(side) + 2 for side in size]
    padding = [
        (padding_before(side), 2 * count - side - padding_before(side))
        for side, count in zip(size, squares, strict=True)
    ]
    x = jnp.pad(x_BHWF, ((0, 0), *padding, (0, 0)))
    x = x.reshape(batch, rows, 2, columns, 2, features).transpose(0, 1, 3, 2, 4, 5)
    kernel = jnp.pad(kernel, ((0, 1), (0, 1), (0, 0), (0, 0)))
    kernel = kernel.reshape(3, 2, 3, 2, features, -1).transpose(0, 2, 1, 3, 4, 5)
    return lax.conv_general_dilated(
        x.reshape(batch, rows, columns, 4 * features),
        kernel.reshape(3, 3, 4 * features, -1),
        (1, 1),
        "VALID",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def transposed_convolution(y_BHWG, kernel, size: tuple[int, int], strided=strided_convolution):
    """``convolutions.transposed_convolution``: the linear transpose of a strided form."""
    x_BHWF = jax.ShapeDtypeStruct((y_BHWG.shape[0], *size, kernel.shape[2]), y_BHWG.dtype)
    (x_BHWF,) = jax.linear_transpose(lambda x: strided(x, kernel), x_BHWF)(y_BHWG)
    return x_BHWF


def kernel_gradient(x_BHWF, y_BHWG, kernel, strided=strided_convolution):
    """The gradient of ``vdot(y, strided(x, kernel))`` with respect to the kernel."""
    (gradient,) = jax.linear_transpose(partial(strided, x_BHWF), kernel)(y_BHWG)
    return gradient


def _taps(parity: int, side: int) -> tuple[slice, tuple[int, int]]:
    """The kernel rows that contribute to output rows 2q + parity, and the padding of the input.

    Kernel row i contributes input row (o + padding_before - i) / 2 to output row o if that is an
    integer: every second i, in descending order.
    """
    before = padding_before(side)
    taps = range((parity + before) % 2, KERNEL[0], 2)
    offsets = [(parity + before - tap) // 2 for tap in taps]
    stop = taps[0] - 2 if taps[0] >= 2 else None
    return slice(taps[-1], stop, -2), (-offsets[-1], offsets[0])


def transposed_by_phases(y_BHWG, kernel, size: tuple[int, int]):
    """``transposed_convolution`` as four convolutions with stride 1.

    Each computes the outputs of one parity of row and column, with 9, 6, 6 or 4 of the 25 taps. So
    none multiplies the zeros of a dilated input.
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
