"""The strided convolution, its transpose and its kernel's gradient with 2.5 times fewer products.

Take pixels in pairs, rows and columns: the 5x5 convolution with stride 2 becomes one of 3x3 taps
with stride 1 on four times the features. Of such a one, ``tile`` neighbouring outputs in a row need
only tile + 2 multiplications: kernel and input are polynomials, whose product is known by its
values at so many points (Toom and Cook; as filters Winograd 1980, Lavin and Gray 2015). With tiles
of 3 rows by 4 columns that are 30 matrix products, for 12 outputs 120 multiplications a feature in
place of 300. The convolution is B(M(A(x), K(kernel))), with M those products, and A, B and K linear
maps of single tiles; the other two are made of the same products and of the transposes of the maps.

The price is memory and rounding: errors of float32 are ten times those of the plain forms, 3e-6 of
the results' standard deviation and 1e-4 at the most. It pays on a CPU, where arithmetic costs.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.experimental.xla_metadata import set_xla_metadata

from vae_gan_jax.model.plain_convolutions import halved, padding_before

ENOUGH = 64  # features on both sides: with fewer, what is gained hardly pays for compiling
TILE = (3, 4)  # rows and columns of outputs; at 256x144 all layers are whole tiles
TAPS = 3  # of pairs
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)  # where polynomials are evaluated, and at infinity


def _evaluation(count: int, coefficients: int) -> np.ndarray:
    """The matrix from a polynomial's coefficients to its values at ``count`` points."""
    powers = np.vander(POINTS[: count - 1], coefficients, increasing=True)
    return np.concatenate([powers, np.eye(coefficients)[-1:]])


# Down and across, the matrices [points, n] of the maps, from taps, from inputs and to outputs.
FROM_TAPS = [_evaluation(tile + TAPS - 1, TAPS) for tile in TILE]
FROM_INPUTS = [np.linalg.inv(_evaluation(count, count)).T for count in (TILE[0] + 2, TILE[1] + 2)]
TO_OUTPUTS = [_evaluation(tile + TAPS - 1, tile) for tile in TILE]


def fits(kernel_shape: tuple[int, ...], dtype=np.float32) -> bool:
    """Whether a kernel ``[5, 5, F, G]`` has enough features and at least float32 precision."""
    return min(kernel_shape[2:]) >= ENOUGH and jnp.finfo(dtype).bits >= 32


def pays(kernel_shape: tuple[int, ...]) -> bool:
    """Whether a trained network with such a kernel runs faster in Winograd form."""
    return jax.default_backend() == "cpu" and fits(kernel_shape)


def _apart(function, *arrays):
    """Calls a function that XLA must not fuse with its callers.

    XLA would otherwise compute its results again for each use.
    """
    with set_xla_metadata(inlineable="false"):
        return jax.jit(function)(*arrays)


def _combined(matrix: np.ndarray, arrays) -> list[jax.Array]:
    """The sums of arrays times the weights in each row of the matrix."""
    return [_weighted(weights, arrays) for weights in matrix]


def _weighted(weights, arrays):
    terms = [
        array if weight == 1 else -array if weight == -1 else array * float(weight)
        for weight, array in zip(weights, arrays, strict=True)
        if abs(weight) > 1e-12
    ]
    return sum(terms[1:], terms[0])


def _padded(array, *low_high: tuple[int, int]):
    """An array with zeros before and after, or less of it; jnp.pad would be compiled by itself."""
    rest = [(0, 0)] * (array.ndim - len(low_high))
    zero = jnp.zeros((), array.dtype)
    return lax.pad(array, zero, [(low, high, 0) for low, high in [*low_high, *rest]])


def _by_row(values) -> list:
    """Arrays at all points, in a list for each row of points."""
    columns = TILE[1] + TAPS - 1
    return [values[start : start + columns] for start in range(0, len(values), columns)]


def _tiles(size: tuple[int, int]) -> tuple[int, int]:
    """How many tiles, downwards and across, cover the smaller picture."""
    return tuple(-(-halved(side) // tile) for side, tile in zip(size, TILE, strict=True))


def transform(kernel) -> list[jax.Array]:
    """K: a kernel ``[5, 5, F, G]`` at the 30 points, ``[4F, G]`` each: 2x2 pixels of a pair."""
    _, _, features, outputs = kernel.shape

    def rows(kernel):
        pairs = _padded(kernel, (1, 0), (1, 0)).reshape(TAPS, 2, TAPS, 2, features, outputs)
        return _combined(FROM_TAPS[0], list(pairs))

    def columns(row):
        across = [row[:, tap].reshape(4 * features, outputs) for tap in range(TAPS)]
        return _combined(FROM_TAPS[1], across)

    return [value for row in _apart(rows, kernel) for value in _apart(columns, row)]


def _transform_transposed(values, features: int):
    """The transpose of K: the gradient of a kernel from that of its values at the points."""
    outputs = values[0].shape[1]

    def columns(*row):
        return _combined(FROM_TAPS[1].T, row)

    def rows(*by_row):
        across = [
            jnp.stack(_combined(FROM_TAPS[0].T, column)).reshape(TAPS, 2, 2, features, outputs)
            for column in zip(*by_row, strict=True)
        ]
        kernel = jnp.stack(across, axis=2).reshape(2 * TAPS, 2 * TAPS, features, outputs)
        return kernel[1:, 1:]

    return _apart(rows, *(_apart(columns, *row) for row in _by_row(values)))


def _from_inputs(x_BHWF, *late) -> list[jax.Array]:
    """A: the larger picture at the points, ``[tiles, 4F]`` each; computed after ``late``."""
    batch, height, width, features = x_BHWF.shape
    down, across = _tiles((height, width))
    pairs = [tile * count + TAPS - 1 for tile, count in zip(TILE, (down, across), strict=True)]
    before = [padding_before(side) + 1 for side in (height, width)]
    after = [2 * pairs[0] - before[0] - height, 2 * pairs[1] - before[1] - width]

    def rows(x_BHWF, *late):
        x_BHWF, *_ = lax.optimization_barrier((x_BHWF, *late))  # or XLA drops what is not used
        x_BHWF = _padded(x_BHWF, (0, 0), *zip(before, after, strict=True))
        x_BQPWF = x_BHWF.reshape(batch, pairs[0], 2, pairs[1], 2 * features)
        shifted = [x_BQPWF[:, tap :: TILE[0]][:, :down] for tap in range(TILE[0] + TAPS - 1)]
        return [
            row.swapaxes(2, 3).reshape(batch, down, pairs[1], 4 * features)
            for row in _combined(FROM_INPUTS[0], shifted)
        ]

    def columns(row):
        shifted = [row[:, :, tap :: TILE[1]][:, :, :across] for tap in range(TILE[1] + TAPS - 1)]
        return [value.reshape(-1, 4 * features) for value in _combined(FROM_INPUTS[1], shifted)]

    return [value for row in _apart(rows, x_BHWF, *late) for value in _apart(columns, row)]


def _to_inputs(values, batch: int, size: tuple[int, int]):
    """The transpose of A: the larger picture, of ``size``, from what is ``[tiles, 4F]`` each."""
    down, across = _tiles(size)
    features = values[0].shape[1] // 4

    def columns(*row):
        row = [value.reshape(batch * down, across, 4 * features) for value in row]
        places = _overlapping(_combined(FROM_INPUTS[1].T, row))
        return jnp.stack(places, axis=2).reshape(batch, down, across * TILE[1], 4 * features)

    def rows(*by_row):
        places = [
            place.reshape(batch, down, across * TILE[1], 2, 2 * features).swapaxes(2, 3)
            for place in _overlapping(_combined(FROM_INPUTS[0].T, by_row))
        ]
        x_BHWF = jnp.stack(places, axis=2)
        x_BHWF = x_BHWF.reshape(batch, 2 * down * TILE[0], 2 * across * TILE[1], features)
        top, left = (padding_before(side) - 1 for side in size)
        return x_BHWF[:, top : top + size[0], left : left + size[1]]

    return _apart(rows, *(_apart(columns, *row) for row in _by_row(values)))


def _overlapping(places) -> list[jax.Array]:
    """Adds up the inputs of all tiles, which lie along axis 1.

    Each has one pair before those that it has for itself and one after, which are its neighbours'.
    """
    before, *own, after = places
    own[0] += _padded(after, (0, 0), (1, -1))
    own[-1] += _padded(before, (0, 0), (-1, 1))
    return own


def _to_outputs(values, batch: int, size: tuple[int, int]):
    """B: the smaller picture, to a larger one of ``size``, from what is ``[tiles, G]`` each."""
    down, across = _tiles(size)
    shape = batch, down * TILE[0], across * TILE[1], values[0].shape[1]

    def whole(*values):
        columns = zip(*_by_row(values), strict=True)
        by_place = zip(*(_combined(TO_OUTPUTS[0].T, column) for column in columns), strict=True)
        rows = [
            jnp.stack(_combined(TO_OUTPUTS[1].T, place), axis=1).reshape(batch, down, *shape[2:])
            for place in by_place
        ]
        y_BHWG = jnp.stack(rows, axis=2).reshape(shape)
        return y_BHWG[:, : halved(size[0]), : halved(size[1])]

    return _apart(whole, *values)


def _from_outputs(y_BHWG, size: tuple[int, int], *late) -> list[jax.Array]:
    """The transpose of B: the smaller picture at the points, ``[tiles, G]``; after ``late``."""
    batch, height, width, features = y_BHWG.shape
    down, across = _tiles(size)

    def rows(y_BHWG, *late):
        y_BHWG, *_ = lax.optimization_barrier((y_BHWG, *late))
        missing = TILE[0] * down - height, TILE[1] * across - width
        y_BHWG = _padded(y_BHWG, (0, 0), *((0, count) for count in missing))
        y_BTPWG = y_BHWG.reshape(batch, down, TILE[0], TILE[1] * across, features)
        return _combined(TO_OUTPUTS[0], [y_BTPWG[:, :, place] for place in range(TILE[0])])

    def columns(row):
        row = row.reshape(-1, TILE[1], features)
        return _combined(TO_OUTPUTS[1], [row[:, place] for place in range(TILE[1])])

    return [value for row in _apart(rows, y_BHWG, *late) for value in _apart(columns, row)]


def _products(left, right, contracted: tuple[int, int]) -> list[jax.Array]:
    """At each point the product of two matrices, summed along these axes of theirs."""
    axes = tuple((axis,) for axis in contracted), ((), ())
    return [lax.dot_general(*pair, axes) for pair in zip(left, right, strict=True)]


def strided_convolution(x_BHWF, transformed):
    """``convolutions.strided_convolution`` with a kernel that ``transform`` made.

    Args:
      x_BHWF: ``[B, H, W, F]``.
      transformed: the kernel's values at the points.

    Returns:
      ``[B, ceil(H/2), ceil(W/2), G]``.
    """
    products = _products(_from_inputs(x_BHWF), transformed, (1, 0))
    return _to_outputs(products, x_BHWF.shape[0], x_BHWF.shape[1:3])


def transposed_convolution(y_BHWG, transformed, size: tuple[int, int]):
    """``convolutions.transposed_convolution`` with a kernel that ``transform`` made.

    Args:
      y_BHWG: the smaller picture, ``[B, ceil(H/2), ceil(W/2), G]``.
      transformed: the kernel's values at the points.
      size: ``(H, W)`` of the result.

    Returns:
      ``[B, H, W, F]``.
    """
    products = _products(_from_outputs(y_BHWG, size), transformed, (1, 1))
    return _to_inputs(products, y_BHWG.shape[0], size)


def kernel_gradient(x_BHWF, y_BHWG, residual: str):
    """The gradient of ``vdot(y, strided_convolution(x, kernel))`` by the kernel, ``[5, 5, F, G]``.

    Args:
      x_BHWF: the larger picture.
      y_BHWG: the smaller one.
      residual: which of them, "x" or "y", comes from the forward pass. Its values at the points are
        computed again, after the other is there: shared with that pass they would be kept all the
        while, and are more than twice as many as its own.
    """
    size = x_BHWF.shape[1:3]
    if residual == "x":
        x_values, y_values = _from_inputs(x_BHWF, y_BHWG), _from_outputs(y_BHWG, size)
    else:
        x_values, y_values = _from_inputs(x_BHWF), _from_outputs(y_BHWG, size, x_BHWF)
    products = _products(x_values, y_values, (0, 0))
    return _transform_transposed(products, x_BHWF.shape[3])
