"""The 5x5 convolution with stride 2 and its transpose (4.2.1, 4.2.2), with fast gradients.

Forward and backward passes need three linear maps: the strided convolution, its transpose and the
gradient of its kernel. The forms that jax derives use dilated inputs and are up to fifty times
slower on a CPU. This module chooses the fastest form of each map and defines the gradients (custom
VJPs) with the same three maps.
"""

from functools import partial

import jax
from jax import lax

from vae_gan_jax.model import plain_convolutions, winograd

FEW_FEATURES = 8  # fewer are slow by phases on a CPU, and in all forms but squares on a GPU
MAX_WINOGRAD_WEIGHTS = 2**21  # of a kernel; a larger one's transform takes too much memory


def _on_cpu(form, plain, *arrays):
    """Calls ``form`` on a CPU, and ``plain`` on accelerators, where XLA's own form is fast."""
    return lax.platform_dependent(*arrays, cpu=form, default=plain)


def _on_gpu(form, plain, *arrays):
    """Calls ``form`` on an NVIDIA GPU, and ``plain`` elsewhere."""
    return lax.platform_dependent(*arrays, cuda=form, default=plain)


def _uses_winograd(kernel) -> bool:
    """Whether the Winograd form is faster although every step transforms the kernel."""
    return kernel.size <= MAX_WINOGRAD_WEIGHTS and winograd.fits(kernel.shape, kernel.dtype)


def _has_few_features(kernel) -> bool:
    return kernel.shape[2] < FEW_FEATURES


def _strided(x_BHWF, kernel):
    plain = plain_convolutions.strided_convolution
    if _has_few_features(kernel):
        return _on_gpu(plain_convolutions.strided_by_squares, plain, x_BHWF, kernel)
    if not _uses_winograd(kernel):
        return plain(x_BHWF, kernel)

    def form(x_BHWF, kernel):
        return winograd.strided_convolution(x_BHWF, winograd.transform(kernel))

    return _on_cpu(form, plain, x_BHWF, kernel)


def _transposed(y_BHWG, kernel, size):
    plain = partial(plain_convolutions.transposed_convolution, size=size)
    if _has_few_features(kernel):
        form = partial(plain, strided=plain_convolutions.strided_by_squares)
        return _on_gpu(form, plain, y_BHWG, kernel)
    if not _uses_winograd(kernel):
        form = partial(plain_convolutions.transposed_by_phases, size=size)
        return _on_cpu(form, plain, y_BHWG, kernel)

    def form(y_BHWG, kernel):
        transformed = winograd.transform(kernel)
        return winograd.transposed_convolution(y_BHWG, transformed, size)

    return _on_cpu(form, plain, y_BHWG, kernel)


def _kernel_gradient(x_BHWF, y_BHWG, kernel, residual):
    plain = plain_convolutions.kernel_gradient
    if _has_few_features(kernel):
        form = partial(plain, strided=plain_convolutions.strided_by_squares)
        return _on_gpu(form, plain, x_BHWF, y_BHWG, kernel)
    if not winograd.fits(kernel.shape, kernel.dtype):
        return plain(x_BHWF, y_BHWG, kernel)

    def form(x_BHWF, y_BHWG, kernel):
        return winograd.kernel_gradient(x_BHWF, y_BHWG, residual)

    return _on_cpu(form, plain, x_BHWF, y_BHWG, kernel)


@jax.custom_vjp
def strided_convolution(x_BHWF, kernel):
    """Halves height and width, rounding up.

    Args:
      x_BHWF: ``[B, H, W, F]``.
      kernel: ``[5, 5, F, G]``.

    Returns:
      ``[B, ceil(H/2), ceil(W/2), G]``.
    """
    return _strided(x_BHWF, kernel)


def _strided_forward(x_BHWF, kernel):
    return _strided(x_BHWF, kernel), (x_BHWF, kernel)


def _strided_backward(residuals, cotangent_BHWG):
    x_BHWF, kernel = residuals
    return (
        _transposed(cotangent_BHWG, kernel, x_BHWF.shape[1:3]),
        _kernel_gradient(x_BHWF, cotangent_BHWG, kernel, "x"),
    )


strided_convolution.defvjp(_strided_forward, _strided_backward)


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def transposed_convolution(y_BHWG, kernel, size: tuple[int, int]):
    """The transpose of ``strided_convolution`` (4.2.2, footnote 2).

    Args:
      y_BHWG: ``[B, ceil(H/2), ceil(W/2), G]``.
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
        _strided(cotangent_BHWF, kernel),
        _kernel_gradient(cotangent_BHWF, y_BHWG, kernel, "y"),
    )


transposed_convolution.defvjp(_transposed_forward, _transposed_backward)
