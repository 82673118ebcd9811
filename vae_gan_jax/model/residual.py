"""Residual encoder and decoder with a linear skip, which replace Tables 1 and 2.

The linear skip is two linear maps: from a small copy of the frame to z, and from z to a small
picture. Their weights are the film's principal components (``training.pca_init``), which are data
and do not change in training. The convolutions add what linear maps cannot represent; a learnt
gain, small at first, scales their outputs. Without batch norm the code of a frame does not depend
on the other frames of its mini-batch.
"""

import math

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from vae_gan_jax.model.layers import at_least_float32, bound_log_variance

SKIP_FRACTION = 0.6  # of the frame's size: the skip's picture
MIN_SKIP_PIXELS, MAX_SKIP_PIXELS = 18, 72  # its shorter side
# Approximate shorter side of the smallest grid, where the encoder ends and the decoder begins.
GRID_PIXELS = 4.5
MAX_FEATURES_AT_FRAME_SIZE = 32  # of a convolution; each halving of the size doubles them
MAX_FEATURES = 96  # of a convolution of any size
INITIAL_GAIN = 0.1  # of the convolutions beside the linear skip


def halvings(height: int, width: int) -> int:
    """How often a frame's size is halved to reach the smallest grid."""
    return round(math.log2(min(height, width) / GRID_PIXELS))


def features_at(filters: int, level: int) -> int:
    """Features of the convolutions at 1 / 2^level of the frame's size, for ``--filters``."""
    return min(min(filters, MAX_FEATURES_AT_FRAME_SIZE) * 2**level, MAX_FEATURES)


def skip_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the linear skip's picture: three fifths of the frame's, within limits.

    At the frame's full size the components alone reproduce a short film, and training leaves the
    convolutions nothing to draw.
    """
    shorter = min(height, width)
    pixel = shorter / min(shorter, max(SKIP_FRACTION * shorter, MIN_SKIP_PIXELS), MAX_SKIP_PIXELS)
    return round(height / pixel), round(width / pixel)


def resize(x_BHWC, size: tuple[int, int]):
    """Resizes pictures by a Lanczos filter, with antialiasing if they shrink; a linear map.

    Shrunk to half their size and enlarged again, frames of films have 4 dB more than by a bilinear
    filter.
    """
    batch, *_, channels = x_BHWC.shape
    return jax.image.resize(x_BHWC, (batch, *size, channels), "lanczos3")


def pixel_shuffle(x_BHWF):
    """Doubles height and width; four features become the four pixels of a square."""
    batch, height, width, features = x_BHWF.shape
    x = x_BHWF.reshape(batch, height, width, 2, 2, features // 4)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(batch, 2 * height, 2 * width, features // 4)


def _convolution(module: nn.Module, x_BHWF, features: int, name: str, stride: int = 1):
    """A 3x3 convolution in the module's type."""
    return nn.Conv(features, (3, 3), stride, dtype=module.dtype, name=name)(x_BHWF)


def _gain(module: nn.Module):
    return module.param("gain", nn.initializers.constant(INITIAL_GAIN), ())


class PrincipalComponents(nn.Module):
    """A linear map whose weights, in the collection ``pca``, do not change in training.

    They are 0 until ``training.pca_init`` sets them.
    """

    features: int
    use_bias: bool = True

    @nn.compact
    def __call__(self, x_BF):
        """Maps ``[B, F]`` to ``[B, features]``."""
        kernel = self.variable("pca", "kernel", jnp.zeros, (x_BF.shape[-1], self.features))
        y_BF = x_BF @ kernel.value
        if self.use_bias:
            y_BF += self.variable("pca", "bias", jnp.zeros, (self.features,)).value[None]
        return y_BF


class ResidualEncoder(nn.Module):
    """Maps frames to the mean and log variance of their latent codes.

    Each level halves the size. The linear skip is added to the mean; it subtracts the film's mean
    picture first, which is ``centre`` in the collection ``pca``. The log variance depends on the
    features' means over the grid.
    """

    filters: int
    z_dim: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x_BHWC, train: bool):
        """Returns ``mean_BZ`` and ``log_variance_BZ`` in (-1/2, 1/2) for frames in -1..1."""
        del train  # nothing depends on the mini-batch
        batch, height, width, _ = x_BHWC.shape
        features_BHWF = x_BHWC
        for level in range(1, halvings(height, width) + 1):
            features = features_at(self.filters, level - 1)
            features_BHWF = _convolution(self, features_BHWF, features, f"down_{level}", stride=2)
            norm = nn.LayerNorm(dtype=self.dtype, name=f"norm_{level}")
            features_BHWF = nn.gelu(norm(features_BHWF))
            features_BHWF += nn.gelu(
                _convolution(self, features_BHWF, features, f"residual_{level}")
            )

        def dense(name, x_BF):
            return at_least_float32(nn.Dense(self.z_dim, dtype=self.dtype, name=name)(x_BF))

        small_BHWC = resize(x_BHWC, skip_size(height, width))
        centre_HWC = self.variable("pca", "centre", jnp.zeros, small_BHWC.shape[1:]).value
        linear = PrincipalComponents(self.z_dim, use_bias=False, name="linear")
        mean_BZ = linear((small_BHWC - centre_HWC[None]).reshape(batch, -1))
        mean_BZ += _gain(self) * dense("mean", features_BHWF.reshape(batch, -1))
        log_variance_BZ = bound_log_variance(dense("log_variance", features_BHWF.mean((1, 2))))
        chex.assert_shape([mean_BZ, log_variance_BZ], (batch, self.z_dim))
        return mean_BZ, log_variance_BZ


class ResidualDecoder(nn.Module):
    """Maps latent codes to frames: a small grid, doubled by pixel shuffle up to the frame's size.

    The linear skip is a small picture, which is upscaled and added.
    """

    filters: int
    height: int
    width: int
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, z_BZ, train: bool):
        """Decodes codes ``[B, Z]`` to frames ``[B, H, W, 3]``; black is -1, white 1."""
        del train
        levels = halvings(self.height, self.width)
        rows, columns = (-(-side // 2**levels) for side in (self.height, self.width))
        features = features_at(self.filters, levels)
        grid = nn.Dense(rows * columns * features, dtype=self.dtype, name="projection")
        x_BHWF = nn.gelu(grid(z_BZ).reshape(-1, rows, columns, features))
        for level in range(levels, 0, -1):
            features = features_at(self.filters, level)
            x_BHWF += nn.gelu(_convolution(self, x_BHWF, features, f"residual_{level}"))
            if level > 1:
                features = 4 * features_at(self.filters, level - 1)
                x_BHWF = nn.gelu(pixel_shuffle(_convolution(self, x_BHWF, features, f"up_{level}")))
        detail_BHWC = at_least_float32(pixel_shuffle(_convolution(self, x_BHWF, 4 * 3, "picture")))
        small_rows, small_columns = skip_size(self.height, self.width)
        linear = PrincipalComponents(small_rows * small_columns * 3, name="linear")
        small_BHWC = linear(z_BZ).reshape(-1, small_rows, small_columns, 3)
        x_BHWC = resize(small_BHWC, (self.height, self.width))
        x_BHWC += _gain(self) * detail_BHWC[:, : self.height, : self.width]
        chex.assert_shape(x_BHWC, (z_BZ.shape[0], self.height, self.width, 3))
        return x_BHWC
