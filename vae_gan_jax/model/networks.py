"""The three networks of Tables 1 to 3: encoder, decoder and discriminator."""

from typing import Any

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn

from vae_gan_jax.model import target
from vae_gan_jax.model.layers import (
    StridedConvolution,
    TransposedConvolution,
    at_least_float32,
    batch_norm,
    bound_log_variance,
    dense,
    weights,
)
from vae_gan_jax.model.plain_convolutions import output_side
from vae_gan_jax.model.residual import ResidualDecoder, ResidualEncoder

LAYERS = 4  # convolutions of each network
LOGIT_MAX_FAN_IN = 4096  # of the discriminator that trains with the residual networks


def layer_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of the input and after each convolution: five pairs.

    SAME padding rounds up, so 135 becomes 68. The decoder uses the sizes in reverse order.
    """
    sizes = [(height, width)]
    for _ in range(LAYERS):
        height, width = output_side(height), output_side(width)
        sizes.append((height, width))
    return sizes


class ConvolutionStack(nn.Module):
    """The four convolutions of encoder and discriminator (Tables 1 and 3).

    Attributes:
      filters: filters of the first convolution; each further convolution doubles them.
      leak: slope of LeakyReLU below 0 (eq. 4.5).
      first_batch_norm: batch norm after the first convolution too, as the tables print. DCGAN omits
        it, because it hides the brightness and contrast of a picture from all later layers.
      fused: biases replace batch norms, kernels may be in Winograd form (``fuse_batch_norm``).
      dtype: type of the arithmetic; default: the parameters' type.
    """

    filters: int
    leak: float
    first_batch_norm: bool
    fused: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x_BHWC, train: bool):
        """Returns the activations of the four layers for frames ``[B, H, W, 3]`` in -1..1."""
        activations = []
        for layer in range(LAYERS):
            normalised = (layer > 0 or self.first_batch_norm) and not self.fused
            x_BHWC = StridedConvolution(
                self.filters * 2**layer,
                bias=not normalised,
                fused=self.fused,
                dtype=self.dtype,
                name=f"convolution_{layer + 1}",
            )(x_BHWC)
            if normalised:
                x_BHWC = batch_norm(train, self.dtype, name=f"batch_norm_{layer + 1}")(x_BHWC)
            x_BHWC = nn.leaky_relu(x_BHWC, self.leak)
            activations.append(x_BHWC)
        return activations


class Encoder(nn.Module):
    """Enc (4.2.1, Table 1): maps frames to the mean and log variance of their latent codes."""

    filters: int
    z_dim: int
    leak: float
    first_batch_norm: bool
    fused: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x_BHWC, train: bool):
        """Encodes frames.

        Args:
          x_BHWC: frames in -1..1.
          train: normalise with the batch's own statistics (mutable collection ``batch_stats``).

        Returns:
          ``mean_BZ`` in (-1, 1) and ``log_variance_BZ`` in (-1/2, 1/2). Without the tanh that
          bounds them the KL divergence explodes (footnote 1 of chapter 4).
        """
        stack = ConvolutionStack(
            self.filters, self.leak, self.first_batch_norm, self.fused, self.dtype, name="stack"
        )
        features_BF = stack(x_BHWC, train)[-1].reshape(x_BHWC.shape[0], -1)
        mean_BZ = nn.tanh(dense(self.z_dim, self.dtype, name="mean")(features_BF))
        # Without the barrier XLA merges the two products, and concatenates their kernels for that.
        features_BF = jax.lax.optimization_barrier(features_BF)
        log_variance_BZ = bound_log_variance(
            dense(self.z_dim, self.dtype, name="log_variance")(features_BF)
        )
        chex.assert_shape([mean_BZ, log_variance_BZ], (x_BHWC.shape[0], self.z_dim))
        return mean_BZ, log_variance_BZ


class Decoder(nn.Module):
    """Dec (4.2.2, Table 2): maps latent codes to frames."""

    filters: int
    height: int
    width: int
    fused: bool = False
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, z_BZ, train: bool):
        """Decodes codes ``[B, Z]`` to frames ``[B, H, W, 3]`` in -1..1."""
        sizes = layer_sizes(self.height, self.width)
        features = [3] + [self.filters * 2**layer for layer in range(LAYERS)]
        (height, width), deepest = sizes[LAYERS], features[LAYERS]
        projection = nn.Dense(
            height * width * deepest, dtype=self.dtype, kernel_init=weights, name="projection"
        )
        x_BHWC = projection(z_BZ).reshape(-1, height, width, deepest)
        for layer in reversed(range(LAYERS)):
            if not self.fused:
                x_BHWC = batch_norm(train, self.dtype, name=f"batch_norm_{LAYERS - layer}")(x_BHWC)
            x_BHWC = TransposedConvolution(
                features[layer],
                sizes[layer],
                bias=layer == 0 or self.fused,
                fused=self.fused,
                dtype=self.dtype,
                name=f"convolution_{LAYERS - layer}",
            )(nn.relu(x_BHWC))
        x_BHWC = nn.tanh(at_least_float32(x_BHWC))
        chex.assert_shape(x_BHWC, (z_BZ.shape[0], self.height, self.width, 3))
        return x_BHWC


class Discriminator(nn.Module):
    """Dis (4.2.3, Table 3): maps frames to the logit that they are real, and to activations.

    The logit has 92,160 inputs at the thesis's size and no batch norm, so one Adam step moves it
    far; ``max_fan_in`` limits that.
    """

    filters: int
    leak: float
    first_batch_norm: bool
    max_fan_in: int | None = None
    dtype: jnp.dtype | None = None

    @nn.compact
    def __call__(self, x_BHWC, train: bool):
        """Returns ``logit_B`` and four activations ``[B, H_l, W_l, F_l]`` for frames in -1..1.

        The objectives apply the sigmoid of eq. 4.2, so that they can compute its logarithm exactly.
        """
        stack = ConvolutionStack(
            self.filters, self.leak, self.first_batch_norm, dtype=self.dtype, name="stack"
        )
        activations = stack(x_BHWC, train)
        features_BF = activations[-1].reshape(x_BHWC.shape[0], -1)
        logit = dense(1, self.dtype, name="logit", max_fan_in=self.max_fan_in)
        logit_B = logit(features_BF)[:, 0]
        chex.assert_shape(logit_B, (x_BHWC.shape[0],))
        return logit_B, activations


def compute_dtype(config) -> jnp.dtype | None:
    """The networks' arithmetic; parameters, statistics and objectives stay float32.

    ``None`` is the type of the parameters: float32, or float64 in some tests.
    """
    automatic = config.precision == "auto" and not target.on_cpu()
    bfloat16 = config.precision == "bfloat16" or automatic
    return jnp.bfloat16 if bfloat16 else None


def create(config, fused: bool = False) -> dict[str, nn.Module]:
    """Creates the three networks of a ``StepConfig``, by name.

    ``fused``: encoder and decoder take the parameters that ``fuse_batch_norm`` returns.
    """
    dtype = compute_dtype(config)
    shared: dict[str, Any] = dict(filters=config.filters, dtype=dtype)
    stack = shared | dict(leak=config.leak, first_batch_norm=config.first_batch_norm)
    size = dict(height=config.height, width=config.width)
    if config.networks == "residual":
        return {
            "encoder": ResidualEncoder(z_dim=config.z_dim, **shared),
            "decoder": ResidualDecoder(**shared, **size),
            "discriminator": Discriminator(max_fan_in=LOGIT_MAX_FAN_IN, **stack),
        }
    return {
        "encoder": Encoder(z_dim=config.z_dim, fused=fused, **stack),
        "decoder": Decoder(fused=fused, **shared, **size),
        "discriminator": Discriminator(**stack),
    }
