"""The layers of the networks: convolutions, batch norm and dense layers."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.linen.dtypes import promote_dtype

from vae_gan_jax.model import winograd
from vae_gan_jax.model.convolutions import strided_convolution, transposed_convolution
from vae_gan_jax.model.plain_convolutions import KERNEL

BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON = 0.9, 1e-5

weights = nn.initializers.normal(0.02)


def _add_bias(module: nn.Module, x_BHWF):
    bias_F = module.param("bias", nn.initializers.zeros, (x_BHWF.shape[-1],)).astype(x_BHWF.dtype)
    return x_BHWF + jnp.broadcast_to(bias_F, x_BHWF.shape)


def _winograd(module: nn.Module, convolution, x, shape: tuple[int, ...]):
    """Applies a Winograd convolution to a fused layer's kernel."""
    kernel = module.param(
        "kernel", lambda key: winograd.transform(weights(key, shape, jnp.float32))
    )
    return convolution(x, kernel)


class StridedConvolution(nn.Module):
    """A 5x5 convolution with stride 2: ``[B, H, W, F]`` to ``[B, ceil(H/2), ceil(W/2), G]``.

    Attributes:
      features: G.
      bias: whether a bias is added; needless before batch norm, which would subtract it.
      fused: whether the kernel may be in Winograd form (``fuse_batch_norm``).
      dtype: type of the arithmetic; default: the parameters' type.
    """

    features: int
    bias: bool
    fused: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x_BHWF):
        shape = (*KERNEL, x_BHWF.shape[-1], self.features)
        if self.fused and winograd.pays(shape, self.dtype or jnp.float32):
            y_BHWG = _winograd(self, winograd.strided_convolution, x_BHWF, shape)
        else:
            kernel = self.param("kernel", weights, shape)
            y_BHWG = strided_convolution(*promote_dtype(x_BHWF, kernel, dtype=self.dtype))
        if self.bias:
            y_BHWG = _add_bias(self, y_BHWG)
        return y_BHWG


class TransposedConvolution(nn.Module):
    """The transpose of ``StridedConvolution``: doubles height and width.

    Attributes: as there; ``size`` is the output's height and width.
    """

    features: int
    size: tuple[int, int]
    bias: bool
    fused: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, y_BHWG):
        shape = (*KERNEL, self.features, y_BHWG.shape[-1])
        if self.fused and winograd.pays(shape, self.dtype or jnp.float32):
            convolution = partial(winograd.transposed_convolution, size=self.size)
            x_BHWF = _winograd(self, convolution, y_BHWG, shape)
        else:
            kernel = self.param("kernel", weights, shape)
            y_BHWG, kernel = promote_dtype(y_BHWG, kernel, dtype=self.dtype)
            x_BHWF = transposed_convolution(y_BHWG, kernel, self.size)
        if self.bias:
            x_BHWF = _add_bias(self, x_BHWF)
        return x_BHWF


def batch_norm(train: bool, dtype: jnp.dtype | None, name: str):
    """Batch norm with the batch's statistics in training, otherwise with the running ones.

    Statistics are always float32. Inside ``shard_map`` they cover the shards of all devices.
    """
    return nn.BatchNorm(
        axis_name=jax.sharding.get_abstract_mesh().manual_axes or None,  # pyright: ignore
        use_running_average=not train,
        dtype=dtype,
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        name=name,
    )


def at_least_float32(x):
    """Converts to float32, but leaves float64."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def bound_log_variance(log_variance_BZ):
    """Bounds log variances to (-1/2, 1/2); the KL divergence explodes without bounds."""
    return 0.5 * nn.tanh(log_variance_BZ)


def dense(features: int, dtype: jnp.dtype | None, name: str, max_fan_in: int | None = None):
    """A dense layer with few outputs, as a function from ``[B, F]`` to float32 ``[B, features]``.

    With more than ``max_fan_in`` inputs the output is scaled by ``max_fan_in / inputs``, so that
    one Adam step moves it equally far at every frame size.
    """
    layer = nn.Dense(features, dtype=dtype, kernel_init=weights, name=name)

    def apply(x):
        outputs = at_least_float32(layer(x))
        if max_fan_in and max_fan_in < x.shape[-1]:
            outputs *= max_fan_in / x.shape[-1]
        return outputs

    return apply
