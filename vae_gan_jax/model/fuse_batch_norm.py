"""Fuses batch norm into the layers before it, for faster reconstruction.

With running statistics, batch norm multiplies each feature by a scale and adds a shift. The linear
layer before it can do both: its kernel is multiplied by the scale, and the shift becomes its bias.
"""

from functools import partial

import jax
import jax.numpy as jnp

from vae_gan_jax.model import layers, networks, winograd


def _scale_and_shift(norm: dict, statistics: dict):
    scale_F = norm["scale"] * jax.lax.rsqrt(statistics["var"] + layers.BATCH_NORM_EPSILON)
    return scale_F, norm["bias"] - statistics["mean"] * scale_F


def _fuse_convolution(layer: dict, norm: dict | None, statistics: dict | None, axis: int) -> dict:
    """Fuses a convolution with the batch norm after it, if any; ``axis`` holds its outputs."""
    if norm is not None and statistics is not None:
        scale_F, shift_F = _scale_and_shift(norm, statistics)
        shape = [1, 1, 1, 1]
        shape[axis] = scale_F.size
        layer = {"kernel": layer["kernel"] * scale_F.reshape(shape), "bias": shift_F}
    return {"kernel": layer["kernel"], "bias": layer["bias"]}


def _fuse_stack(params: dict, batch_stats: dict) -> dict:
    fused = {}
    for layer in range(1, networks.LAYERS + 1):
        name, norm = f"convolution_{layer}", f"batch_norm_{layer}"
        fused[name] = _fuse_convolution(params[name], params.get(norm), batch_stats.get(norm), 3)
    return fused


def _fuse_decoder(params: dict, batch_stats: dict) -> dict:
    scale_F, shift_F = _scale_and_shift(params["batch_norm_1"], batch_stats["batch_norm_1"])
    projection = params["projection"]
    pixels = projection["bias"].size // scale_F.size  # the projection's features vary fastest
    scale, shift = jnp.tile(scale_F, pixels), jnp.tile(shift_F, pixels)
    fused = {name: layer for name, layer in params.items() if "batch_norm" not in name}
    fused["projection"] = {
        "kernel": projection["kernel"] * scale[None],
        "bias": projection["bias"] * scale + shift,
    }
    for layer in range(1, networks.LAYERS + 1):
        name, norm = f"convolution_{layer}", f"batch_norm_{layer + 1}"
        fused[name] = _fuse_convolution(params[name], params.get(norm), batch_stats.get(norm), 2)
    return fused


def _cast_kernel(path, array, dtype):
    """A kernel in ``dtype``; other arrays, and the linear skip's kernel, stay float32."""
    names = [getattr(key, "key", None) for key in path]
    return array.astype(dtype) if names[-1] == "kernel" and "linear" not in names else array


def _in_winograd_form(array):
    is_kernel = array.ndim == 4  # of a convolution
    pays = is_kernel and winograd.pays(array.shape, array.dtype)
    return winograd.transform(array) if pays else array


@partial(jax.jit, static_argnames=("dtype", "winograd_form"))
def fuse(variables: dict, dtype=None, winograd_form: bool = True) -> dict:
    """Fuses the batch norms of encoder and decoder, if any, for use with ``train=False``.

    Args:
      variables: collections by network; encoder and decoder must be among them.
      dtype: type to store the kernels in: that of the arithmetic (``networks.compute_dtype``), so
        that no batch has to convert them. None keeps theirs.
      winograd_form: store the kernels, which no longer change, in Winograd form where that is
        faster. ``autoencoder`` needs that.

    Returns:
      The collections by network. Those of fused networks lack ``batch_stats``; ``autoencoder``
      recognises them by that.
    """
    encoder, decoder = dict(variables["encoder"]), dict(variables["decoder"])
    normalised = bool(encoder["batch_stats"])  # not the residual networks
    if normalised:
        stack = _fuse_stack(encoder["params"]["stack"], encoder.pop("batch_stats")["stack"])
        encoder["params"] = encoder["params"] | {"stack": stack}
        decoder["params"] = _fuse_decoder(decoder["params"], decoder.pop("batch_stats"))
    if dtype is not None:
        encoder, decoder = jax.tree_util.tree_map_with_path(
            partial(_cast_kernel, dtype=dtype), (encoder, decoder)
        )
    if winograd_form and normalised:
        encoder, decoder = jax.tree.map(_in_winograd_form, (encoder, decoder))
    return variables | {"encoder": encoder, "decoder": decoder}
