"""Encoder and decoder as ONNX graphs, for both kinds of networks."""

from collections.abc import Iterator

import numpy as np
import onnx

from vae_gan_jax.config import Config
from vae_gan_jax.inference.export.onnx_graph import Graph
from vae_gan_jax.model import networks, residual
from vae_gan_jax.model.plain_convolutions import padding_before

PHASE_TAPS = 3  # rows and columns of the kernel of one phase of a transposed convolution


def models(
    config: Config, variables: dict, precision: str, metadata: dict[str, str]
) -> Iterator[onnx.ModelProto]:
    """Builds the models whose graphs are called encoder, decoder and autoencoder, in this order.

    Args:
      config: the settings of the networks.
      variables: NumPy arrays by network and collection, with batch norm fused and no kernel in
        Winograd form.
      precision: "float32" or "float16", of weights and convolutions.
      metadata: texts to store in the models, by name.
    """
    frame = "uint8", (config.height, config.width, 3)
    latent = "float32", (config.z_dim,)
    encode, decode = NETWORKS[config.networks]

    def encoded(graph):
        return encode(graph, config, variables["encoder"], graph.from_frames("frames"))

    def decoded(graph, z):
        return graph.to_frames(decode(graph, config, variables["decoder"], z))

    def encoder(graph):
        mean, log_variance = encoded(graph)
        return {"mean": (mean(), *latent), "log_variance": (log_variance(), *latent)}

    def decoder(graph):
        return {"frames": (decoded(graph, "z"), *frame)}

    def autoencoder(graph):
        mean, _ = encoded(graph)
        return {"reconstruction": (decoded(graph, mean()), *frame)}

    inputs = {encoder: {"frames": frame}, decoder: {"z": latent}, autoencoder: {"frames": frame}}
    for outputs, shapes in inputs.items():
        graph = Graph(precision)
        yield graph.model(outputs.__name__, shapes, outputs(graph), metadata)


def _from_pixels(layer: dict, shape: tuple[int, int, int]) -> dict:
    """A dense layer of the features ``[H, W, F]``, for features in the order ``[F, H, W]``."""
    kernel = layer["kernel"]
    kernel = kernel.reshape(*shape, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    return layer | {"kernel": kernel}


def _to_pixels(layer: dict, shape: tuple[int, int, int]) -> dict:
    """A dense layer to features ``[H, W, F]``, with its outputs in the order ``[F, H, W]``."""
    order = np.arange(np.prod(shape)).reshape(shape).transpose(2, 0, 1).ravel()
    return {"kernel": layer["kernel"][:, order], "bias": layer["bias"][order]}


def _scaled(layer: dict, factor: np.ndarray) -> dict:
    return {name: array * factor for name, array in layer.items()}


# The thesis's networks


def _thesis_encoder(graph: Graph, config: Config, variables: dict, x: str):
    params, sizes = variables["params"], networks.layer_sizes(config.height, config.width)
    x = graph.enter(x)
    for layer in range(networks.LAYERS):
        convolution = params["stack"][f"convolution_{layer + 1}"]
        x = graph.convolution(x, convolution, sizes[layer], stride=2)
        x = graph.node("LeakyRelu", x, alpha=config.leak)
    features = graph.leave(graph.node("Flatten", x))
    deepest = *sizes[-1], params["stack"][f"convolution_{networks.LAYERS}"]["bias"].size

    def output(name):
        return graph.node("Tanh", graph.dense(features, _from_pixels(params[name], deepest)))

    return (
        lambda: output("mean"),
        lambda: graph.node("Mul", output("log_variance"), np.float32(0.5)),
    )


def _thesis_decoder(graph: Graph, config: Config, variables: dict, z: str) -> str:
    params = variables["params"]
    sizes = networks.layer_sizes(config.height, config.width)
    deepest = *sizes[-1], params["convolution_1"]["kernel"].shape[3]
    x = graph.dense(z, _to_pixels(params["projection"], deepest))
    x = graph.enter(graph.reshape(x, deepest[2], *deepest[:2]))
    for layer in reversed(range(networks.LAYERS)):
        convolution = params[f"convolution_{networks.LAYERS - layer}"]
        x = _transposed(graph, graph.node("Relu", x), convolution, sizes[layer])
    return graph.node("Tanh", graph.leave(x))


def _transposed(graph: Graph, y: str, layer: dict, size: tuple[int, int]) -> str:
    """The transposed 5x5 convolution as a 3x3 convolution and a pixel shuffle.

    Each of the four phases of ``plain_convolutions.transposed_by_phases`` needs at most three rows
    and columns of the input, so the four together are one convolution to four times the features.
    """
    kernel = layer["kernel"]  # [5, 5, F, G]: the strided convolution's
    *taps, features, inputs = kernel.shape
    phases = np.zeros((PHASE_TAPS, PHASE_TAPS, inputs, 2, 2, features), kernel.dtype)
    for row, column in np.ndindex(*taps):
        (i, row_parity), (j, column_parity) = (
            _phase(tap, side) for tap, side in zip((row, column), size, strict=True)
        )
        phases[i, j, :, row_parity, column_parity] = kernel[row, column].T
    kernel = phases.reshape(PHASE_TAPS, PHASE_TAPS, inputs, 4 * features)
    convolution = {"kernel": kernel, "bias": np.tile(layer["bias"], 4)}
    x = graph.pixel_shuffle(graph.convolution(y, convolution, size))
    return graph.crop(x, size) if any(side % 2 for side in size) else x


def _phase(tap: int, side: int) -> tuple[int, int]:
    """Where a row of the 5x5 kernel stands in the 3x3 kernel, and in which phase.

    Output row o gets input row (o + padding_before - tap) / 2 where that is an integer.
    """
    parity = (tap + padding_before(side)) % 2
    return (parity + padding_before(side) - tap) // 2 + PHASE_TAPS // 2, parity


# Residual networks


def _linear_maps(size: tuple[int, int], new_size: tuple[int, int]) -> list[np.ndarray]:
    """``residual.resize`` as matrices, of rows ``[H, height]`` and columns ``[W, width]``."""
    return [
        np.asarray(residual.resize(np.eye(side, dtype=np.float32)[..., None, None], (new, 1)))[
            ..., 0, 0
        ]
        for side, new in zip(size, new_size, strict=True)
    ]


def _residual_encoder(graph: Graph, config: Config, variables: dict, x: str):
    params, size = variables["params"], (config.height, config.width)
    small = residual.skip_size(*size)
    centre = np.float32(variables["pca"]["centre"].transpose(2, 0, 1))
    difference = graph.node("Sub", graph.resize(x, *_linear_maps(size, small)), centre)
    linear = graph.dense(
        graph.node("Flatten", difference),
        _from_pixels(variables["pca"]["linear"], (*small, 3)),
    )
    x = graph.enter(x)
    for level in range(1, residual.halvings(*size) + 1):
        x = graph.convolution(x, params[f"down_{level}"], size, stride=2)
        size = tuple(-(-side // 2) for side in size)
        x = graph.gelu(graph.layer_norm(x, params[f"norm_{level}"]))
        x = graph.node(
            "Add", x, graph.gelu(graph.convolution(x, params[f"residual_{level}"], size))
        )
    x = graph.leave(x)
    deepest = *size, params[f"residual_{level}"]["bias"].size

    def mean():
        layer = _scaled(_from_pixels(params["mean"], deepest), params["gain"])
        return graph.node("Add", linear, graph.dense(graph.node("Flatten", x), layer))

    def log_variance():
        pooled = graph.node("ReduceMean", x, axes=[2, 3], keepdims=0)
        tanh = graph.node("Tanh", graph.dense(pooled, params["log_variance"]))
        return graph.node("Mul", tanh, np.float32(0.5))

    return mean, log_variance


def _residual_decoder(graph: Graph, config: Config, variables: dict, z: str) -> str:
    params = variables["params"]
    frame = config.height, config.width
    levels = residual.halvings(*frame)
    size = tuple(-(-side // 2**levels) for side in frame)
    grid = *size, residual.features_at(config.filters, levels)
    x = graph.dense(z, _to_pixels(params["projection"], grid))
    x = graph.gelu(graph.enter(graph.reshape(x, grid[2], *size)))
    for level in range(levels, 0, -1):
        branch = graph.gelu(graph.convolution(x, params[f"residual_{level}"], size))
        x = graph.node("Add", x, branch)
        if level > 1:
            x = graph.pixel_shuffle(graph.convolution(x, params[f"up_{level}"], size))
            x, size = graph.gelu(x), tuple(2 * side for side in size)
    picture = _scaled(params["picture"], params["gain"])
    detail = graph.pixel_shuffle(graph.leave(graph.convolution(x, picture, size)))
    if tuple(2 * side for side in size) != frame:
        detail = graph.crop(detail, frame)
    small = residual.skip_size(*frame)
    linear = graph.dense(z, _to_pixels(variables["pca"]["linear"], (*small, 3)))
    linear = graph.resize(graph.reshape(linear, 3, *small), *_linear_maps(small, frame))
    return graph.node("Add", linear, detail)


NETWORKS = {
    "thesis": (_thesis_encoder, _thesis_decoder),
    "residual": (_residual_encoder, _residual_decoder),
}
