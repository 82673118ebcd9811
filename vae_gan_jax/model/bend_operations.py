"""The operations of network bending: pure functions of a layer's activations and parameters.

Every operation takes activations ``x_BHWF`` and its parameters, ``[B]`` each, and returns
activations of the same shape. ``OPERATIONS`` describes them. Translate, rotate and zoom wrap
around at the edges of a layer; blur, dilate and erode repeat its outermost pixels.
"""

import dataclasses
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

RMS_ROWS = 16  # maximal rows and columns on which the root mean square of a layer is measured
MIN_FRACTION = 1e-3  # of a pixel; a position nearer to a pixel samples that pixel alone
MAX_RADIUS = 3.0  # pixels; dilate and erode shift by one pixel, then by two


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A number of a control, which may change with every frame."""

    low: float
    high: float
    neutral: float  # at this value of its first parameter a control changes nothing
    default: float  # where a preset gives no value
    unit: str
    help: str


@dataclasses.dataclass(frozen=True)
class Operation:
    """An operation and its parameters, in the order of the function's arguments."""

    help: str
    function: Callable
    parameters: dict[str, Parameter] = dataclasses.field(default_factory=dict)


def per_frame(values_B, x_BHWF):
    """Numbers ``[B]`` as ``[B, 1, 1, 1]`` in the type of the activations."""
    return jnp.asarray(values_B).astype(x_BHWF.dtype).reshape(-1, 1, 1, 1)


def lerp(start, end, weight):
    """Linear interpolation that gives both ends bit for bit."""
    return (1 - weight) * start + weight * end


def resample(x_BHWF, matrix_B23):
    """Bilinear samples of a layer at affinely mapped positions.

    Args:
      x_BHWF: the activations.
      matrix_B23: maps (y, x, 1), in pixels from the centre, to the position that is sampled.
    """
    batch, height, width, features = x_BHWF.shape
    centre_y, centre_x = (height - 1) / 2, (width - 1) / 2
    y_HW, x_HW = jnp.mgrid[:height, :width]
    grid_3HW = jnp.stack([y_HW - centre_y, x_HW - centre_x, jnp.ones((height, width))])
    position_B2HW = jnp.einsum("bij,jhw->bihw", matrix_B23, grid_3HW, precision="highest")
    position_B2HW += jnp.array([centre_y, centre_x]).reshape(1, 2, 1, 1)
    nearest_B2HW = jnp.round(position_B2HW)  # so that whole turns restore every bit
    is_pixel_B2HW = jnp.abs(position_B2HW - nearest_B2HW) < MIN_FRACTION
    position_B2HW = jnp.where(is_pixel_B2HW, nearest_B2HW, position_B2HW)
    low_B2HW = jnp.floor(position_B2HW)
    weight_B2HW1 = (position_B2HW - low_B2HW)[..., None].astype(x_BHWF.dtype)
    size = jnp.array([height, width]).reshape(1, 2, 1, 1)
    low_B2HW = low_B2HW.astype(jnp.int32) % size
    high_B2HW = (low_B2HW + 1) % size
    flat_BPF = x_BHWF.reshape(batch, height * width, features)

    def take(y_BHW, x_BHW):
        take_one = jax.vmap(lambda x_PF, at_HW: x_PF.at[at_HW].get(mode="promise_in_bounds"))
        return take_one(flat_BPF, y_BHW * width + x_BHW)

    (top, left), (bottom, right) = low_B2HW.swapaxes(0, 1), high_B2HW.swapaxes(0, 1)
    y_weight, x_weight = weight_B2HW1.swapaxes(0, 1)
    upper = lerp(take(top, left), take(top, right), x_weight)
    lower = lerp(take(bottom, left), take(bottom, right), x_weight)
    return lerp(upper, lower, y_weight)


def _linear_map(x_BHWF, yy_B, yx_B, xy_B, xx_B, y_B=0.0, x_B=0.0):
    """Samples at (yy y + yx x + y_B, xy y + xx x + x_B), in pixels from the centre."""
    numbers = jnp.broadcast_arrays(*map(jnp.float32, (yy_B, yx_B, y_B, xy_B, xx_B, x_B)))
    matrix = jnp.stack(numbers, axis=-1).reshape(-1, 2, 3)
    return resample(x_BHWF, jnp.broadcast_to(matrix, (len(x_BHWF), 2, 3)))


def _translate(x_BHWF, x_B, y_B):
    _, height, width, _ = x_BHWF.shape
    return _linear_map(x_BHWF, 1, 0, 0, 1, -y_B * height, -x_B * width)


def turn(x_BHWF, degrees_B, factor_B):
    """Turns a layer anticlockwise about its centre, and enlarges it by a factor."""
    turn_B = jnp.deg2rad(degrees_B % 360)
    cosine_B, sine_B = jnp.cos(turn_B) / factor_B, jnp.sin(turn_B) / factor_B
    return _linear_map(x_BHWF, cosine_B, sine_B, -sine_B, cosine_B)


def _flip(x_BHWF, horizontal_B, vertical_B):
    return _linear_map(x_BHWF, 1 - 2 * vertical_B, 0, 0, 1 - 2 * horizontal_B)


def _root_mean_square(x_BHWF):
    """That of each frame's layer, ``[B, 1, 1, 1]``, estimated from some of its pixels."""
    rows, columns = (-(-side // RMS_ROWS) for side in x_BHWF.shape[1:3])
    squares = jnp.square(x_BHWF[:, ::rows, ::columns])
    return jnp.sqrt(squares.mean(axis=(1, 2, 3), keepdims=True))


def _threshold(x_BHWF, level_B):
    level = per_frame(level_B, x_BHWF) * _root_mean_square(x_BHWF)
    return jnp.where(jnp.abs(x_BHWF) >= level, x_BHWF, 0)


def _halve(x_BHWF):
    """Averages squares of two by two pixels; repeats the last row or column of an odd side."""
    _, height, width, _ = x_BHWF.shape
    x_BHWF = jnp.pad(x_BHWF, [(0, 0), (0, height % 2), (0, width % 2), (0, 0)], mode="edge")
    x_BHWF = (x_BHWF[:, ::2] + x_BHWF[:, 1::2]) / 2
    return (x_BHWF[:, :, ::2] + x_BHWF[:, :, 1::2]) / 2


def _double(x_BHWF, size: tuple[int, int]):
    """Doubles height and width by linear interpolation, cut to ``size``."""
    for axis, side in enumerate(size, 1):
        count = x_BHWF.shape[axis]
        at = (jnp.arange(side) + 0.5) / 2 - 0.5
        low = jnp.floor(at).astype(jnp.int32)
        weight = (at - low).astype(x_BHWF.dtype).reshape([-1 if i == axis else 1 for i in range(4)])
        left, right = (
            jnp.take(x_BHWF, jnp.clip(index, 0, count - 1), axis) for index in (low, low + 1)
        )
        x_BHWF = lerp(left, right, weight)
    return x_BHWF


def _blur(x_BHWF, radius_B):
    """Interpolates between the levels of a pyramid; a larger radius takes coarser levels."""
    _, height, width, _ = x_BHWF.shape
    levels = max(1, math.ceil(math.log2(min(height, width))))
    level_B = jnp.log2(1 + radius_B * height)

    def blur(x_BHWF, level: int):
        coarse_BHWF = _halve(x_BHWF)
        if level + 1 < levels:
            coarse_BHWF = blur(coarse_BHWF, level + 1)
        weight = per_frame(jnp.clip(level_B - level, 0, 1), x_BHWF)
        return lerp(x_BHWF, _double(coarse_BHWF, x_BHWF.shape[1:3]), weight)

    return blur(x_BHWF, 0)


def _dilate(x_BHWF, radius_B):
    for shift, before in ((1, 0.0), (2, 1.0)):
        largest = x_BHWF
        for axis in (1, 2):
            positions = jnp.arange(x_BHWF.shape[axis])
            neighbours = (
                jnp.take(largest, jnp.clip(positions + step, 0, len(positions) - 1), axis)
                for step in (-shift, shift)
            )
            largest = jnp.maximum(largest, jnp.maximum(*neighbours))
        share = per_frame(jnp.clip((radius_B - before) / shift, 0, 1), x_BHWF)
        x_BHWF = lerp(x_BHWF, largest, share)
    return x_BHWF


def _erode(x_BHWF, radius_B):
    return -_dilate(-x_BHWF, radius_B)


def _hash(number):
    """Mixes the bits of uint32 numbers (the finaliser of MurmurHash3)."""
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        number = (number ^ (number >> shift)) * jnp.uint32(factor)
    return number ^ (number >> 16)


def _noise(x_BHWF, strength_B, position_B):
    shape = x_BHWF.shape[1:]
    cell_HWF = jnp.arange(math.prod(shape), dtype=jnp.uint32).reshape(1, *shape)
    first_B = jnp.floor(position_B)

    def pattern(number_B):  # uniform, of standard deviation 1
        seed = _hash(number_B.astype(jnp.int32).astype(jnp.uint32)).reshape(-1, 1, 1, 1)
        bits = _hash(cell_HWF ^ seed) >> 8
        return (bits.astype(jnp.float32) * 2.0**-23 - 1) * math.sqrt(3)

    turn_B111 = (jnp.pi / 2 * (position_B - first_B)).reshape(-1, 1, 1, 1)
    noise = jnp.cos(turn_B111) * pattern(first_B) + jnp.sin(turn_B111) * pattern(first_B + 1)
    strength = per_frame(strength_B, x_BHWF) * _root_mean_square(x_BHWF)
    return x_BHWF + strength * noise.astype(x_BHWF.dtype)


_RADIUS = Parameter(0.0, MAX_RADIUS, 0.0, 1.0, "pixels of the layer", "How far.")

OPERATIONS: dict[str, Operation] = {
    "ablate": Operation("Sets features to 0.", lambda x_BHWF: jnp.zeros_like(x_BHWF)),
    "scale": Operation(
        "Multiplies features.",
        lambda x_BHWF, factor_B: x_BHWF * per_frame(factor_B, x_BHWF),
        {"factor": Parameter(-16.0, 16.0, 1.0, 2.0, "times", "Below 0 inverts them too.")},
    ),
    "invert": Operation("Changes the sign of features.", lambda x_BHWF: -x_BHWF),
    "threshold": Operation(
        "Sets features to 0 wherever they are weak.",
        _threshold,
        {
            "level": Parameter(
                0.0, 8.0, 0.0, 1.0, "root mean squares of the layer", "What counts as weak."
            )
        },
    ),
    "translate": Operation(
        "Moves features; what leaves on one side comes in on the other.",
        _translate,
        {
            "x": Parameter(-1000.0, 1000.0, 0.0, 0.25, "widths", "To the right."),
            "y": Parameter(-1000.0, 1000.0, 0.0, 0.0, "heights", "Downwards."),
        },
    ),
    "rotate": Operation(
        "Turns features about the centre.",
        lambda x_BHWF, degrees_B: turn(x_BHWF, degrees_B, 1),
        {"degrees": Parameter(-36000.0, 36000.0, 0.0, 90.0, "degrees", "Anticlockwise.")},
    ),
    "zoom": Operation(
        "Enlarges features about the centre, or repeats them smaller.",
        lambda x_BHWF, factor_B: turn(x_BHWF, jnp.zeros_like(factor_B), factor_B),
        {"factor": Parameter(0.125, 8.0, 1.0, 2.0, "times", "Their size.")},
    ),
    "flip": Operation(
        "Mirrors features.",
        _flip,
        {
            "horizontal": Parameter(
                0.0, 1.0, 0.0, 1.0, "share", "1 swaps left and right; 0.5 leaves one column."
            ),
            "vertical": Parameter(
                0.0, 1.0, 0.0, 0.0, "share", "1 swaps top and bottom; 0.5 leaves one row."
            ),
        },
    ),
    "blur": Operation(
        "Averages features over their neighbourhood.",
        _blur,
        {"radius": Parameter(0.0, 1.0, 0.0, 0.1, "heights", "Radius of the neighbourhood.")},
    ),
    "dilate": Operation("Grows the strong parts of features.", _dilate, {"radius": _RADIUS}),
    "erode": Operation("Shrinks the strong parts of features.", _erode, {"radius": _RADIUS}),
    "noise": Operation(
        "Adds noise.",
        _noise,
        {
            "strength": Parameter(
                0.0, 8.0, 0.0, 0.5, "root mean squares of the layer", "Standard deviation."
            ),
            "position": Parameter(
                -1e6, 1e6, 0.0, 0.0, "patterns", "Each whole number is another pattern of noise."
            ),
        },
    ),
}
