"""Network bending: operations on the activations of a trained network's layers.

The networks' code stays as it is: Flax calls an interceptor before and after each of their modules
(Broad, Leymarie and Grierson, "Network bending", 2021).
"""

import contextlib
import dataclasses
from typing import Any

import flax.struct
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vae_gan_jax.model import autoencoder, networks, residual
from vae_gan_jax.model.bend_operations import OPERATIONS, Parameter, lerp
from vae_gan_jax.model.plain_convolutions import output_side

AMOUNT = Parameter(0.0, 1.0, 0.0, 1.0, "share", "How much of the operation's result is blended in.")
SHARE = Parameter(0.0, 1.0, 0.0, 1.0, "share", "Share of the chosen features that are bent.")


@flax.struct.dataclass
class Bend:
    """An operation on some features of a layer.

    Attributes:
      layer: one of ``layers``.
      operation: one of ``OPERATIONS``.
      rank_F: from ``ranks``; the features whose rank is below ``share`` are bent.
      parameters: ``amount``, ``share`` and those of the operation, ``[B]`` each.
    """

    layer: str = flax.struct.field(pytree_node=False)
    operation: str = flax.struct.field(pytree_node=False)
    rank_F: Any
    parameters: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class _Site:
    """Where activations of ``shape`` (H, W, F) are bent: at the input or output of modules."""

    shape: tuple[int, int, int]
    modules: tuple[tuple[str, ...], ...]
    is_input: bool = True


def layers(config) -> dict[str, tuple[int, int, int]]:
    """Height, width and features of the layers of a ``StepConfig`` that can be bent.

    A name is that of the network and the module, such as ``decoder/residual_2``. Activations are
    bent where the next layer reads them: after batch norm, activation function and skip connection.
    ``linear`` is the small picture of a residual network's linear skip.
    """
    return {name: site.shape for name, site in _sites(config).items()}


def ranks(features: int, seed: int = 0, chosen_F=None) -> np.ndarray:
    """Ranks ``[F]`` that decide which features a ``share`` includes: 0..1; 2 for those not chosen.

    Args:
      features: number of the layer's features.
      seed: of their random order.
      chosen_F: booleans; features that are not chosen are never bent. Default: all are chosen.
    """
    chosen_F = np.ones(features, bool) if chosen_F is None else np.asarray(chosen_F)
    order = np.random.default_rng(seed).permutation(np.flatnonzero(chosen_F))
    rank_F = np.full(features, 2.0, np.float32)
    rank_F[order] = np.arange(len(order)) / max(1, len(order))
    return rank_F


def bend(x_BHWF, bend: Bend):
    """Applies one bend to activations. Amount 0 leaves every bit as it is."""
    operation, parameters = OPERATIONS[bend.operation], bend.parameters
    result = operation.function(x_BHWF, *(parameters[name] for name in operation.parameters))
    mask_BF = bend.rank_F[None] < parameters["share"][:, None]
    weight_BF = jnp.where(mask_BF, parameters["amount"][:, None], 0).astype(x_BHWF.dtype)
    return lerp(x_BHWF, result, weight_BF[:, None, None])


def encode(config, variables: dict, frames_BHWC, train: bool, bends: tuple[Bend, ...]):
    """``autoencoder.encode`` with the bends of the encoder; ignores those of the decoder."""
    with _interceptor(config, "encoder", bends):
        return autoencoder.encode(config, variables, frames_BHWC, train)


def decode(config, variables: dict, z_BZ, train: bool, bends: tuple[Bend, ...]):
    """``autoencoder.decode`` with the bends of the decoder; ignores those of the encoder."""
    with _interceptor(config, "decoder", bends):
        return autoencoder.decode(config, variables, z_BZ, train)


def activations(config, variables: dict, frames_BHWC, z_BZ, layer: str):
    """The activations ``[B, H, W, F]`` of a layer for frames, or for codes in the decoder."""
    network, seen = layer.split("/")[0], []

    def read(x_BHWF, _):
        seen.append(x_BHWF)
        return x_BHWF

    probe = Bend(layer, "", None, {})
    is_encoder = network == "encoder"
    network_function = autoencoder.encode if is_encoder else autoencoder.decode
    inputs = frames_BHWC if is_encoder else z_BZ
    with _interceptor(config, network, (probe,), read):
        network_function(config, variables, inputs, False)
    return seen[0]


@contextlib.contextmanager
def _interceptor(config, network: str, bends: tuple[Bend, ...], function=bend):
    """Bends activations of the network that is applied within this context."""
    sites, by_module = _sites(config), {}
    for each in bends:
        if each.layer.startswith(f"{network}/"):
            for module in sites[each.layer].modules:
                by_module.setdefault(module, []).append(each)

    def apply(x, each: Bend):
        grid_BHWF = x.reshape(len(x), *sites[each.layer].shape)
        return function(grid_BHWF, each).reshape(x.shape)

    def intercept(function, arguments, keywords, context):
        here = by_module.get(context.module.path, ()) if context.method_name == "__call__" else ()
        for each in here:
            if sites[each.layer].is_input:
                arguments = (apply(arguments[0], each), *arguments[1:])
        output = function(*arguments, **keywords)
        for each in here:
            if not sites[each.layer].is_input:
                output = apply(output, each)
        return output

    with nn.intercept_methods(intercept) if by_module else contextlib.nullcontext():
        yield


def _sites(config) -> dict[str, _Site]:
    return _residual_sites(config) if config.networks == "residual" else _thesis_sites(config)


def _thesis_sites(config) -> dict[str, _Site]:
    sizes, last = networks.layer_sizes(config.height, config.width), networks.LAYERS
    features = [3] + [config.filters * 2**layer for layer in range(last)]
    sites = {}
    for layer in range(1, last + 1):
        following = (("stack", f"convolution_{layer + 1}"),)
        modules = following if layer < last else (("mean",), ("log_variance",))
        shape = (*sizes[layer], features[layer])
        sites[f"encoder/convolution_{layer}"] = _Site(shape, modules)
    for layer in range(last):
        name = f"convolution_{layer}" if layer else "projection"
        shape = (*sizes[last - layer], features[last - layer])
        sites[f"decoder/{name}"] = _Site(shape, ((f"convolution_{layer + 1}",),))
    picture = (config.height, config.width, 3)
    sites[f"decoder/convolution_{last}"] = _Site(picture, ((f"convolution_{last}",),), False)
    return sites


def _residual_sites(config) -> dict[str, _Site]:
    levels = residual.halvings(config.height, config.width)
    size, sites = (config.height, config.width), {}
    for level in range(1, levels + 1):
        size = output_side(size[0]), output_side(size[1])
        following = f"down_{level + 1}" if level < levels else "mean"
        shape = (*size, residual.features_at(config.filters, level - 1))
        sites[f"encoder/residual_{level}"] = _Site(shape, ((following,),))
    small = (*residual.skip_size(config.height, config.width), 3)
    sites["encoder/linear"] = _Site(small, (("linear",),))
    rows, columns = size
    shape = rows, columns, residual.features_at(config.filters, levels)
    sites["decoder/projection"] = _Site(shape, (("projection",),), False)
    for level in range(levels, 0, -1):
        doubled = 2 ** (levels - level)
        shape = (rows * doubled, columns * doubled, residual.features_at(config.filters, level))
        following = f"up_{level}" if level > 1 else "picture"
        sites[f"decoder/residual_{level}"] = _Site(shape, ((following,),))
    sites["decoder/linear"] = _Site(small, (("linear",),), False)
    return sites
