"""The strided convolution and its transpose with a third of the multiplications, for fixed kernels.

Split by parity of rows and columns, a 5x5 convolution with stride 2 is a sum of four convolutions
with stride 1, whose kernels have 3 or 2 taps each way. Of such a one, ``tile`` neighbouring outputs
need only tile + taps - 1 multiplications: kernel and input are polynomials, their product is known
by its values at so many points (Toom and Cook; as filters Winograd 1980, Lavin and Gray 2015). With
tiles of 3 rows by 4 columns that are 99 products for 12 outputs in place of 300.

The price are larger kernels (4 times), additions before and after, and rounding: in float32 results
differ from the plain form's by up to 1e-4 of their standard deviation. So this is for running
trained networks, whose kernels are brought into this form once, where arithmetic is what costs: on
a CPU. ``convolutions`` holds the plain forms.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from vae_gan_jax.model.convolutions import KERNEL, halved

ENOUGH = 64  # features on both sides: with fewer, what is gained hardly pays for compiling
TILE = (3, 4)  # rows and columns of outputs; at 256x144 all layers are whole tiles
POINTS = (0.0, 1.0, -1.0, 2.0, -2.0)  # where polynomials are evaluated, and at infinity
TAPS = ((0, 2, 4), (1, 3))  # of the kernel that meet inputs of one parity


def pays(kernel_shape: tuple[int, ...]) -> bool:
    """Whether a trained network with such a kernel, ``[5, 5, F, G]``, runs faster this way."""
    return jax.default_backend() == "cpu" and min(kernel_shape[2:]) >= ENOUGH


def _evaluation(points: list[float], coefficients: int) -> np.ndarray:
    """The matrix from a polynomial's coefficients to its values at points and at infinity."""
    powers = np.vander(points, coefficients, increasing=True)
    return np.concatenate([powers, np.eye(coefficients)[-1:]])


def _points(tile: int, taps: int) -> list[int]:
    """Which of the points of 3 taps are used for so many; the last of those is infinity."""
    return [*range(tile + taps - 2), tile + 1]


def _interpolation(tile: int, taps: int) -> np.ndarray:
    """The matrix from values at the points to coefficients of the product."""
    count = tile + taps - 1
    return np.linalg.inv(_evaluation(POINTS[: count - 1], count))


def _parities(side: int) -> list[tuple[int, int]]:
    """For each of ``TAPS``: the parity of the inputs that they meet, and the first one's offset.

    SAME padding puts ``low`` rows before the first, so tap i of output o meets input 2o + i - low.
    """
    low = max(2 * (halved(side) - 1) + KERNEL[0] - side, 0) // 2
    return [((taps[0] - low) % 2, (taps[0] - low) // 2) for taps in TAPS]


def _shared() -> dict[tuple, list[tuple[int, int]]]:
    """The points (row, column), by which of the four convolutions have a product there."""
    shared = {}
    for row in range(TILE[0] + 2):
        for column in range(TILE[1] + 2):
            having = tuple(
                (a, b)
                for a in range(2)
                for b in range(2)
                if row in _points(TILE[0], len(TAPS[a]))
                and column in _points(TILE[1], len(TAPS[b]))
            )
            shared.setdefault(having, []).append((row, column))
    return shared


def transform(kernel):
    """A kernel ``[5, 5, F, G]`` as its values at the points, for the two functions below.

    Returns:
      Three arrays ``[points, convolutions * F, G]``: of the points that all four convolutions have,
      two of them, and one, in the order of ``_shared``.
    """
    values = {}
    for a, rows in enumerate(TAPS):
        for b, columns in enumerate(TAPS):
            part = kernel[np.array(rows)][:, np.array(columns)]
            at_rows, at_columns = (
                _evaluation(POINTS[: tile + len(taps) - 2], len(taps)).astype(kernel.dtype)
                for tile, taps in zip(TILE, (rows, columns), strict=True)
            )
            part = jnp.einsum("ip,jq,pqfg->ijfg", at_rows, at_columns, part, precision="highest")
            for i, row in enumerate(_points(TILE[0], len(rows))):
                for j, column in enumerate(_points(TILE[1], len(columns))):
                    values[a, b, row, column] = part[i, j]
    return [
        jnp.stack([jnp.concatenate([values[*one, *point] for one in having]) for point in points])
        for having, points in _shared().items()
    ]


def _weighted(weights, arrays):
    """The sum of arrays times weights, most of which are 0, 1 or -1."""
    terms = [
        array if weight == 1 else -array if weight == -1 else array * float(weight)
        for weight, array in zip(weights, arrays, strict=True)
        if abs(weight) > 1e-12
    ]
    return sum(terms[1:], terms[0])


def _tiles(size: tuple[int, int]) -> tuple[int, int]:
    """How many tiles, downwards and across, cover the smaller picture."""
    return tuple(-(-halved(side) // tile) for side, tile in zip(size, TILE, strict=True))


def strided_convolution(x_BHWF, transformed):
    """``convolutions.strided_convolution`` with a kernel that ``transform`` made.

    Args:
      x_BHWF: ``[B, H, W, F]``.
      transformed: the kernel's values at the points.

    Returns:
      ``[B, ceil(H/2), ceil(W/2), G]``.
    """
    batch, height, width, features = x_BHWF.shape
    down, across = _tiles((height, width))
    rows, columns = TILE[0] * down, TILE[1] * across
    x_BHWF = jnp.pad(
        x_BHWF,
        ((0, 0), (2, 2 * rows + 2 - height), (2, 2 * columns + 2 - width), (0, 0)),
    )
    # Inputs by parity: number 0 of each is what lies just before the picture.
    x_BQPWF = x_BHWF.reshape(batch, rows + 2, 2, 2 * columns + 4, features)
    at_row = {}
    for a, (parity, offset) in enumerate(_parities(height)):
        start, count = 1 + offset, TILE[0] + len(TAPS[a]) - 1
        shifted = [x_BQPWF[:, start + shift :: TILE[0], parity][:, :down] for shift in range(count)]
        for weights, row in zip(
            _interpolation(TILE[0], len(TAPS[a])).T, _points(TILE[0], len(TAPS[a])), strict=True
        ):
            at_row[a, row] = _weighted(weights, shifted)
    at_row = lax.optimization_barrier(at_row)  # or each would be computed for every column anew

    def at_point(a, b, row, column):
        parity, offset = _parities(width)[b]
        start, count = 1 + offset, TILE[1] + len(TAPS[b]) - 1
        x_BTQPF = at_row[a, row].reshape(batch, down, columns + 2, 2, features)
        shifted = [
            x_BTQPF[:, :, start + shift :: TILE[1], parity][:, :, :across] for shift in range(count)
        ]
        index = _points(TILE[1], len(TAPS[b])).index(column)
        weights = _interpolation(TILE[1], len(TAPS[b])).T[index]
        return _weighted(weights, shifted).reshape(-1, features)

    products = {}
    for (having, points), kernels in zip(_shared().items(), transformed, strict=True):
        for point, kernel in zip(points, kernels, strict=True):
            values = jnp.stack([at_point(*one, *point) for one in having], axis=1)
            values = lax.optimization_barrier(values.reshape(-1, len(having) * features))
            products[point] = lax.dot(values, kernel)
    back_rows, back_columns = (_evaluation(POINTS[: tile + 1], tile) for tile in TILE)
    places = []
    for weights_row in back_rows.T:
        at_column = [
            _weighted(weights_row, [products[row, column] for row in range(TILE[0] + 2)])
            for column in range(TILE[1] + 2)
        ]
        places.append(
            jnp.stack([_weighted(weights, at_column) for weights in back_columns.T], axis=1)
        )
    y = jnp.stack([place.reshape(batch, down, across * TILE[1], -1) for place in places], axis=2)
    y_BHWG = y.reshape(batch, rows, columns, -1)
    return y_BHWG[:, : halved(height), : halved(width)]


def transposed_convolution(y_BHWG, transformed, size: tuple[int, int]):
    """``convolutions.transposed_convolution`` with a kernel that ``transform`` made.

    Args:
      y_BHWG: the smaller picture, ``[B, ceil(H/2), ceil(W/2), G]``.
      transformed: the kernel's values at the points.
      size: ``(H, W)`` of the result.

    Returns:
      ``[B, H, W, F]``.
    """
    batch, height, width, features = y_BHWG.shape
    down, across = _tiles(size)
    rows, columns = TILE[0] * down, TILE[1] * across
    y_BHWG = jnp.pad(y_BHWG, ((0, 0), (0, rows - height), (0, columns - width), (0, 0)))
    y_BTPTQG = y_BHWG.reshape(batch, down, TILE[0], across, TILE[1], features)
    to_rows, to_columns = (_evaluation(POINTS[: tile + 1], tile) for tile in TILE)
    at_row = [
        _weighted(weights, [y_BTPTQG[:, :, place] for place in range(TILE[0])])
        for weights in to_rows
    ]
    products = {}
    for (having, points), kernels in zip(_shared().items(), transformed, strict=True):
        for (row, column), kernel in zip(points, kernels, strict=True):
            at_places = [at_row[row][:, :, :, place] for place in range(TILE[1])]
            values = _weighted(to_columns[column], at_places).reshape(-1, features)
            values = lax.optimization_barrier(values)
            product = lax.dot_general(values, kernel, (((1,), (1,)), ((), ())))
            product = product.reshape(batch, down, across, len(having), -1)
            for index, one in enumerate(having):
                products[*one, row, column] = product[:, :, :, index]
    pixels = {}
    for a, (row_parity, row_offset) in enumerate(_parities(size[0])):
        for b, (column_parity, column_offset) in enumerate(_parities(size[1])):
            by_column = {
                row: _added(
                    [products[a, b, row, column] for column in _points(TILE[1], len(TAPS[b]))],
                    *(TILE[1], len(TAPS[b]), column_offset, 2),
                )
                for row in _points(TILE[0], len(TAPS[a]))
            }
            for place in range(TILE[1]):
                column = lax.optimization_barrier([line[place] for line in by_column.values()])
                added = _added(column, TILE[0], len(TAPS[a]), row_offset, 1)
                for index, pixel in enumerate(added):
                    pixels[2 * index + row_parity, 2 * place + column_parity] = pixel
    x = jnp.stack(
        [
            jnp.stack([pixels[row, column] for column in range(2 * TILE[1])], axis=3)
            for row in range(2 * TILE[0])
        ],
        axis=2,
    )
    x_BHWF = lax.optimization_barrier(x.reshape(batch, 2 * rows, 2 * columns, -1))
    return x_BHWF[:, : size[0], : size[1]]


def _added(values, tile: int, taps: int, offset: int, axis: int) -> list[jax.Array]:
    """The outputs of all tiles, which overlap, added up.

    Args:
      values: at each point, arrays with tiles along ``axis``.
      tile, taps: of the convolution that this is the transpose of.
      offset: where a tile's first output lies, counted from its first input.
      axis: of the tiles.

    Returns:
      For each place in a tile the sum of what lies there.
    """
    outputs = [_weighted(weights, values) for weights in _interpolation(tile, taps)]
    places = []
    for place in range(tile):
        terms = []
        for neighbour in (-1, 0, 1):
            index = place - offset - neighbour * tile
            if 0 <= index < len(outputs):
                terms.append(_shifted(outputs[index], neighbour, axis))
        places.append(sum(terms[1:], terms[0]))
    return places


def _shifted(array, by: int, axis: int):
    """What lies ``by`` further along an axis, 0 outside."""
    if not by:
        return array
    count = array.shape[axis]
    padding = [(0, 0)] * array.ndim
    padding[axis] = (max(-by, 0), max(by, 0))
    return lax.slice_in_dim(jnp.pad(array, padding), max(by, 0), max(by, 0) + count, axis=axis)
