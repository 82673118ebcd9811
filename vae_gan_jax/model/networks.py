"""The three networks of Tables 1 to 3: encoder, decoder and discriminator."""

from functools import partial

import chex
import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

KERNEL, STRIDE = (5, 5), (2, 2)  # 4.2.1
LAYERS = 4  # convolutions of each network
BATCH_NORM_MOMENTUM, BATCH_NORM_EPSILON = 0.9, 1e-5

weights = nn.initializers.normal(0.02)


def layer_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Height and width of the input and after each strided convolution: five pairs.

    SAME padding rounds a half up, so 135 becomes 68, and the decoder climbs the same stairs.
    """
    sizes = [(height, width)]
    for _ in range(LAYERS):
        height, width = -(-height // 2), -(-width // 2)
        sizes.append((height, width))
    return sizes


def strided_convolution(x_BHWF, kernel):
    """Halves height and width, rounding up: ``[B, H, W, F] -> [B, ceil(H/2), ceil(W/2), G]``."""
    return lax.conv_general_dilated(
        x_BHWF, kernel, STRIDE, "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _strided_convolution_pullback(kernel, size, y_BHWG):
    """The linear transpose of ``strided_convolution`` in its input, for an input of that size."""
    x_BHWF = jax.ShapeDtypeStruct((y_BHWG.shape[0], *size, kernel.shape[2]), y_BHWG.dtype)
    (x_BHWF,) = jax.linear_transpose(lambda x: strided_convolution(x, kernel), x_BHWF)(y_BHWG)
    return x_BHWF


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def transposed_convolution(y_BHWG, kernel, size: tuple[int, int]):
    """The transpose of ``strided_convolution`` from pictures of ``size`` (4.2.2, footnote 2).

    Its gradients are written as what they are, a strided convolution and that convolution's kernel
    gradient with the roles of input and output exchanged: the same values as XLA's own, whose
    kernel gradient is slower by an order of magnitude on a CPU.

    Args:
      y_BHWG: the smaller picture, ``[B, ceil(H/2), ceil(W/2), G]``.
      kernel: the strided convolution's kernel, ``[5, 5, F, G]``.
      size: ``(H, W)`` of the result.

    Returns:
      ``[B, H, W, F]``.
    """
    return _strided_convolution_pullback(kernel, size, y_BHWG)


def _transposed_convolution_forward(y_BHWG, kernel, size):
    return transposed_convolution(y_BHWG, kernel, size), (y_BHWG, kernel)


def _transposed_convolution_backward(size, residuals, cotangent_BHWF):
    y_BHWG, kernel = residuals
    cotangent_BHWG, kernel_pullback = jax.vjp(partial(strided_convolution, cotangent_BHWF), kernel)
    return cotangent_BHWG, *kernel_pullback(y_BHWG)


transposed_convolution.defvjp(_transposed_convolution_forward, _transposed_convolution_backward)


def _add_bias(module: nn.Module, x_BHWF):
    bias_F = module.param("bias", nn.initializers.zeros, (x_BHWF.shape[-1],))
    return x_BHWF + jnp.broadcast_to(bias_F, x_BHWF.shape)


class StridedConvolution(nn.Module):
    """A 5x5 convolution with stride 2; ``bias`` only where no batch norm follows with its own."""

    features: int
    bias: bool

    @nn.compact
    def __call__(self, x_BHWF):
        kernel = self.param("kernel", weights, (*KERNEL, x_BHWF.shape[-1], self.features))
        y_BHWG = strided_convolution(x_BHWF, kernel)
        if self.bias:
            y_BHWG = _add_bias(self, y_BHWG)
        return y_BHWG


class TransposedConvolution(nn.Module):
    """The transpose of a 5x5 convolution with stride 2, onto pictures of ``size``."""

    features: int
    size: tuple[int, int]
    bias: bool

    @nn.compact
    def __call__(self, y_BHWG):
        kernel = self.param("kernel", weights, (*KERNEL, self.features, y_BHWG.shape[-1]))
        x_BHWF = transposed_convolution(y_BHWG, kernel, self.size)
        if self.bias:
            x_BHWF = _add_bias(self, x_BHWF)
        return x_BHWF


def _batch_norm(train: bool, name: str):
    """Batch norm by the batch's own statistics when training, by the running ones otherwise."""
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=BATCH_NORM_MOMENTUM,
        epsilon=BATCH_NORM_EPSILON,
        name=name,
    )


class ConvolutionStack(nn.Module):
    """The four convolutions that encoder and discriminator have alike (Tables 1 and 3).

    Attributes:
      filters: of the first convolution; each further one has twice as many.
      leak: slope of LeakyReLU below 0 (eq. 4.5).
      first_batch_norm: batch norm on the first convolution too, as printed. DCGAN's rule leaves it
        out: what it takes away, each picture's brightness and contrast, no later layer can see.
    """

    filters: int
    leak: float
    first_batch_norm: bool

    @nn.compact
    def __call__(self, x_BHWC, train: bool):
        """Frames ``[B, H, W, 3]`` in -1..1 to the activations of the four layers, in a list."""
        activations = []
        for layer in range(LAYERS):
            normalised = layer > 0 or self.first_batch_norm
            x_BHWC = StridedConvolution(
                self.filters * 2**layer, bias=not normalised, name=f"convolution_{layer + 1}"
            )(x_BHWC)
            if normalised:
                x_BHWC = _batch_norm(train, name=f"batch_norm_{layer + 1}")(x_BHWC)
            x_BHWC = nn.leaky_relu(x_BHWC, self.leak)
            activations.append(x_BHWC)
        return activations


class Encoder(nn.Module):
    """Enc (4.2.1, Table 1): a frame to the mean and log variance of its latent distribution."""

    filters: int
    z_dim: int
    leak: float
    first_batch_norm: bool

    @nn.compact
    def __call__(self, x_BHWC, train: bool):
        """Encodes frames.

        Args:
          x_BHWC: frames in -1..1.
          train: normalise by the batch's own statistics (mutable collection ``batch_stats``).

        Returns:
          ``mean_BZ`` in (-1, 1) and ``log_variance_BZ`` in (-1/2, 1/2): tanh bounds both, without
          which the divergence explodes (footnote 1 of chapter 4).
        """
        stack = ConvolutionStack(self.filters, self.leak, self.first_batch_norm, name="stack")
        features_BF = stack(x_BHWC, train)[-1].reshape(x_BHWC.shape[0], -1)
        mean_BZ = nn.tanh(nn.Dense(self.z_dim, kernel_init=weights, name="mean")(features_BF))
        log_variance_BZ = 0.5 * nn.tanh(
            nn.Dense(self.z_dim, kernel_init=weights, name="log_variance")(features_BF)
        )
        chex.assert_shape([mean_BZ, log_variance_BZ], (x_BHWC.shape[0], self.z_dim))
        return mean_BZ, log_variance_BZ


class Decoder(nn.Module):
    """Dec (4.2.2, Table 2): a latent representation to a frame of ``height`` by ``width``."""

    filters: int
    height: int
    width: int

    @nn.compact
    def __call__(self, z_BZ, train: bool):
        """Decodes latents ``[B, Z]`` to frames ``[B, H, W, 3]`` in (-1, 1)."""
        sizes = layer_sizes(self.height, self.width)
        features = [3] + [self.filters * 2**layer for layer in range(LAYERS)]
        (height, width), deepest = sizes[LAYERS], features[LAYERS]
        x_BHWC = nn.Dense(height * width * deepest, kernel_init=weights, name="projection")(
            z_BZ
        ).reshape(-1, height, width, deepest)
        for layer in reversed(range(LAYERS)):
            x_BHWC = nn.relu(_batch_norm(train, name=f"batch_norm_{LAYERS - layer}")(x_BHWC))
            x_BHWC = TransposedConvolution(
                features[layer], sizes[layer], bias=layer == 0, name=f"convolution_{LAYERS - layer}"
            )(x_BHWC)
        x_BHWC = nn.tanh(x_BHWC)
        chex.assert_shape(x_BHWC, (z_BZ.shape[0], self.height, self.width, 3))
        return x_BHWC


class Discriminator(nn.Module):
    """Dis (4.2.3, Table 3): the logit that a frame is real, and its four layers' activations."""

    filters: int
    leak: float
    first_batch_norm: bool

    @nn.compact
    def __call__(self, x_BHWC, train: bool):
        """Frames in -1..1 to ``logit_B`` and the list of four activations ``[B, H_l, W_l, F_l]``.

        The sigmoid of eq. 4.2 is left to the objectives, which take its logarithm without loss.
        """
        stack = ConvolutionStack(self.filters, self.leak, self.first_batch_norm, name="stack")
        activations = stack(x_BHWC, train)
        features_BF = activations[-1].reshape(x_BHWC.shape[0], -1)
        logit_B = nn.Dense(1, kernel_init=weights, name="logit")(features_BF)[:, 0]
        chex.assert_shape(logit_B, (x_BHWC.shape[0],))
        return logit_B, activations


def create(config) -> dict[str, nn.Module]:
    """The three networks for a Config, by name."""
    stack = dict(filters=config.filters, leak=config.leak, first_batch_norm=config.first_batch_norm)
    return {
        "encoder": Encoder(z_dim=config.z_dim, **stack),
        "decoder": Decoder(filters=config.filters, height=config.height, width=config.width),
        "discriminator": Discriminator(**stack),
    }
