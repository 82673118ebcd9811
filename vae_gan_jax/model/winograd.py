"""Winograd forms of the strided convolution, its transpose and its kernel's gradient.

They need 2.5 times fewer multiplications. If pixels are grouped into pairs, in rows and in columns,
the 5x5 convolution with stride 2 becomes a 3x3 convolution with stride 1 on four times the
features. There ``tile`` neighbouring outputs need only ``tile + 2`` multiplications: kernel and
input are polynomials, and a product of polynomials is determined by its values at ``tile + 2``
points (Toom and Cook; for convolutions Winograd 1980, Lavin and Gray 2015). A tile of 3 rows by
4 columns takes 30 matrix products: 120 multiplications per feature for 12 outputs, instead of 300.

The strided convolution is B(A(x) * K(kernel)): A and K evaluate input and kernel at the points, the
product is a matrix product at each point, and B maps the points to outputs. The transpose and the
gradient use the same products with transposes of A, B and K.

The price is memory and rounding. In float32 the errors are ten times those of the plain forms: 3e-6
of the result's standard deviation on average, 1e-4 at most. It pays on a CPU.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from vae_gan_jax.model import target
from vae_gan_jax.model.plain_convolutions import output_side, padding_before

MIN_FEATURES = 64  # inputs and outputs; with fewer the gain hardly pays for the compilation
TILE = (3, 4)  # rows and columns of outputs; at 256x144 all layers are whole tiles
TAPS = 3  # rows, or columns, of the kernel in pixel pairs
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)  # infinity is the last point


def _evaluation(count: int, coefficients: int) -> np.ndarray:
    """The matrix that evaluates a polynomial, given by its coefficients, at ``count`` points."""
    powers = np.vander(POINTS[: count - 1], coefficients, increasing=True)
    return np.concatenate([powers, np.eye(coefficients)[-1:]])


# Matrices of K, A and the transpose of B in one dimension, [points, n]: first rows, then columns.
TAPS_TO_POINTS = [_evaluation(tile + TAPS - 1, TAPS) for tile in TILE]
INPUTS_TO_POINTS = [
    np.linalg.inv(_evaluation(count, count)).T for count in (TILE[0] + 2, TILE[1] + 2)
]
OUTPUTS_TO_POINTS = [_evaluation(tile + TAPS - 1, tile) for tile in TILE]


def fits(kernel_shape: tuple[int, ...], dtype) -> bool:
    """Whether a kernel ``[5, 5, F, G]`` has the features and the precision for this form."""
    return min(kernel_shape[2:]) >= MIN_FEATURES and jnp.finfo(dtype).bits >= 32


def pays(kernel_shape: tuple[int, ...], dtype) -> bool:
    """Whether this form is faster for a kernel that no longer changes."""
    return target.on_cpu() and fits(kernel_shape, dtype)


def _compute_once(function, *arrays):
    """Calls a function that XLA does not inline, so that it is not recomputed for each use."""
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*arrays)


def _combine(matrix: np.ndarray, arrays) -> list[jax.Array]:
    """Multiplies the matrix with a vector of arrays."""
    return [_weighted_sum(weights, arrays) for weights in matrix]


def _weighted_sum(weights, arrays):
    terms = [
        array if weight == 1 else -array if weight == -1 else array * float(weight)
        for weight, array in zip(weights, arrays, strict=True)
        if abs(weight) > 1e-12
    ]
    return sum(terms[1:], terms[0])


def _pad(array, *low_high: tuple[int, int]):
    """Pads the leading axes with zeros, or crops them; ``jnp.pad`` would add a compilation."""
    rest = [(0, 0)] * (array.ndim - len(low_high))
    zero = jnp.zeros((), array.dtype)
    return lax.pad(array, zero, [(low, high, 0) for low, high in [*low_high, *rest]])


def _by_row(values) -> list:
    """Groups the arrays of all points into one list for each row of points."""
    columns = TILE[1] + TAPS - 1
    return [values[start : start + columns] for start in range(0, len(values), columns)]


def _tiles(size: tuple[int, int]) -> tuple[int, int]:
    """The number of tiles, down and across, that cover the convolution's output."""
    down, across = (-(-output_side(side) // tile) for side, tile in zip(size, TILE, strict=True))
    return down, across


def transform(kernel) -> list[jax.Array]:
    """K: evaluates a kernel ``[5, 5, F, G]`` at the 30 points, ``[4F, G]`` each."""
    _, _, features, outputs = kernel.shape

    def rows(kernel):
        pairs = _pad(kernel, (1, 0), (1, 0)).reshape(TAPS, 2, TAPS, 2, features, outputs)
        return _combine(TAPS_TO_POINTS[0], list(pairs))

    def columns(row):
        across = [row[:, tap].reshape(4 * features, outputs) for tap in range(TAPS)]
        return _combine(TAPS_TO_POINTS[1], across)

    return [value for row in _compute_once(rows, kernel) for value in _compute_once(columns, row)]


def _points_to_kernel(values, features: int):
    """The transpose of K: ``[4F, G]`` at each point to the kernel's gradient ``[5, 5, F, G]``."""
    outputs = values[0].shape[1]

    def columns(*row):
        return _combine(TAPS_TO_POINTS[1].T, row)

    def rows(*by_row):
        across = [
            jnp.stack(_combine(TAPS_TO_POINTS[0].T, column)).reshape(TAPS, 2, 2, features, outputs)
            for column in zip(*by_row, strict=True)
        ]
        kernel = jnp.stack(across, axis=2).reshape(2 * TAPS, 2 * TAPS, features, outputs)
        return kernel[1:, 1:]

    return _compute_once(rows, *(_compute_once(columns, *row) for row in _by_row(values)))


def _inputs_to_points(x_BHWF, *dependencies) -> list[jax.Array]:
    """A: the convolution's input at the points, ``[tiles, 4F]`` each, after ``dependencies``."""
    batch, height, width, features = x_BHWF.shape
    down, across = _tiles((height, width))
    pairs = [tile * count + TAPS - 1 for tile, count in zip(TILE, (down, across), strict=True)]
    before = [padding_before(side) + 1 for side in (height, width)]
    after = [2 * pairs[0] - before[0] - height, 2 * pairs[1] - before[1] - width]

    def rows(x_BHWF, *dependencies):
        # Inside this function, because XLA drops an argument that the function does not use.
        x_BHWF, *_ = lax.optimization_barrier((x_BHWF, *dependencies))
        x_BHWF = _pad(x_BHWF, (0, 0), *zip(before, after, strict=True))
        x_BH2WF = x_BHWF.reshape(batch, pairs[0], 2, pairs[1], 2 * features)
        shifted = [x_BH2WF[:, tap :: TILE[0]][:, :down] for tap in range(TILE[0] + TAPS - 1)]
        return [
            row.swapaxes(2, 3).reshape(batch, down, pairs[1], 4 * features)
            for row in _combine(INPUTS_TO_POINTS[0], shifted)
        ]

    def columns(row):
        shifted = [row[:, :, tap :: TILE[1]][:, :, :across] for tap in range(TILE[1] + TAPS - 1)]
        return [value.reshape(-1, 4 * features) for value in _combine(INPUTS_TO_POINTS[1], shifted)]

    return [
        value
        for row in _compute_once(rows, x_BHWF, *dependencies)
        for value in _compute_once(columns, row)
    ]


def _points_to_inputs(values, batch: int, size: tuple[int, int]):
    """The transpose of A: ``[tiles, 4F]`` at each point to ``[B, *size, F]``."""
    down, across = _tiles(size)
    features = values[0].shape[1] // 4

    def columns(*row):
        row = [value.reshape(batch * down, across, 4 * features) for value in row]
        pairs = _add_overlaps(_combine(INPUTS_TO_POINTS[1].T, row))
        return jnp.stack(pairs, axis=2).reshape(batch, down, across * TILE[1], 4 * features)

    def rows(*by_row):
        pairs = [
            pair.reshape(batch, down, across * TILE[1], 2, 2 * features).swapaxes(2, 3)
            for pair in _add_overlaps(_combine(INPUTS_TO_POINTS[0].T, by_row))
        ]
        x_BHWF = jnp.stack(pairs, axis=2)
        x_BHWF = x_BHWF.reshape(batch, 2 * down * TILE[0], 2 * across * TILE[1], features)
        top, left = (padding_before(side) - 1 for side in size)
        return x_BHWF[:, top : top + size[0], left : left + size[1]]

    return _compute_once(rows, *(_compute_once(columns, *row) for row in _by_row(values)))


def _add_overlaps(pairs) -> list[jax.Array]:
    """Adds each tile's first and last pair to the neighbouring tiles, which share them (axis 1)."""
    before, *own, after = pairs
    own[0] += _pad(after, (0, 0), (1, -1))
    own[-1] += _pad(before, (0, 0), (-1, 1))
    return own


def _points_to_outputs(values, batch: int, size: tuple[int, int]):
    """B: ``[tiles, G]`` at each point to the output of the convolution of an input of ``size``."""
    down, across = _tiles(size)
    shape = batch, down * TILE[0], across * TILE[1], values[0].shape[1]

    def outputs(*values):
        columns = zip(*_by_row(values), strict=True)
        by_row = zip(*(_combine(OUTPUTS_TO_POINTS[0].T, column) for column in columns), strict=True)
        rows = [
            jnp.stack(_combine(OUTPUTS_TO_POINTS[1].T, row), axis=1).reshape(
                batch, down, *shape[2:]
            )
            for row in by_row
        ]
        y_BHWG = jnp.stack(rows, axis=2).reshape(shape)
        return y_BHWG[:, : output_side(size[0]), : output_side(size[1])]

    return _compute_once(outputs, *values)


def _outputs_to_points(y_BHWG, size: tuple[int, int], *dependencies) -> list[jax.Array]:
    """The transpose of B: ``[tiles, G]`` at each point, computed after ``dependencies``."""
    batch, height, width, features = y_BHWG.shape
    down, across = _tiles(size)

    def rows(y_BHWG, *dependencies):
        y_BHWG, *_ = lax.optimization_barrier((y_BHWG, *dependencies))
        missing = TILE[0] * down - height, TILE[1] * across - width
        y_BHWG = _pad(y_BHWG, (0, 0), *((0, count) for count in missing))
        y_BH3WG = y_BHWG.reshape(batch, down, TILE[0], TILE[1] * across, features)
        return _combine(OUTPUTS_TO_POINTS[0], [y_BH3WG[:, :, row] for row in range(TILE[0])])

    def columns(row):
        row = row.reshape(-1, TILE[1], features)
        return _combine(OUTPUTS_TO_POINTS[1], [row[:, column] for column in range(TILE[1])])

    return [
        value
        for row in _compute_once(rows, y_BHWG, *dependencies)
        for value in _compute_once(columns, row)
    ]


def _products(left, right, contracted: tuple[int, int]) -> list[jax.Array]:
    """Matrix products at all points; ``contracted`` are the axes of left and right to sum over."""
    axes = (contracted[:1], contracted[1:]), ((), ())
    return [lax.dot_general(*pair, axes) for pair in zip(left, right, strict=True)]


def strided_convolution(x_BHWF, transformed):
    """``convolutions.strided_convolution`` with a kernel from ``transform``."""
    products = _products(_inputs_to_points(x_BHWF), transformed, (1, 0))
    return _points_to_outputs(products, x_BHWF.shape[0], x_BHWF.shape[1:3])


def transposed_convolution(y_BHWG, transformed, size: tuple[int, int]):
    """``convolutions.transposed_convolution`` with a kernel from ``transform``."""
    products = _products(_outputs_to_points(y_BHWG, size), transformed, (1, 1))
    return _points_to_inputs(products, y_BHWG.shape[0], size)


def kernel_gradient(x_BHWF, y_BHWG, residual: str):
    """The gradient of ``vdot(y, strided_convolution(x, kernel))`` by the kernel, ``[5, 5, F, G]``.

    Args:
      x_BHWF: the convolution's input.
      y_BHWG: an array like its output.
      residual: which of the two, "x" or "y", was saved by the forward pass. Its values at the
        points are recomputed once the other array exists. Values reused from the forward pass would
        stay in memory until then, and they are more than twice as large as the array.
    """
    size = x_BHWF.shape[1:3]
    if residual == "x":
        x_values, y_values = _inputs_to_points(x_BHWF, y_BHWG), _outputs_to_points(y_BHWG, size)
    else:
        x_values, y_values = _inputs_to_points(x_BHWF), _outputs_to_points(y_BHWG, size, x_BHWF)
    products = _products(x_values, y_values, (0, 0))
    return _points_to_kernel(products, x_BHWF.shape[3])
