"""Encoder and decoder with their running statistics folded into the layers before, to run faster.

Batch norm with running statistics is x * scale + shift for each feature, and so is part of any
linear layer that comes before it: the kernel times the scale, and the shift as its bias. Kernels
that change no more are also brought into the form of ``minimal_filtering`` where that pays.
"""

import jax
import jax.numpy as jnp

from vae_gan_jax.model import networks, winograd


def _scale_and_shift(norm: dict, statistics: dict):
    scale_F = norm["scale"] * jax.lax.rsqrt(statistics["var"] + networks.BATCH_NORM_EPSILON)
    return scale_F, norm["bias"] - statistics["mean"] * scale_F


def _convolution(kernel, bias) -> dict:
    if winograd.pays(kernel.shape):
        kernel = winograd.transform(kernel)
    return {"kernel": kernel, "bias": bias}


def _fold_stack(params: dict, batch_stats: dict) -> dict:
    folded = {}
    for layer in range(1, networks.LAYERS + 1):
        convolution, norm = params[f"convolution_{layer}"], f"batch_norm_{layer}"
        if norm in params:
            scale_G, shift_G = _scale_and_shift(params[norm], batch_stats[norm])
            convolution = {
                "kernel": convolution["kernel"] * scale_G[None, None, None],
                "bias": shift_G,
            }
        folded[f"convolution_{layer}"] = _convolution(**convolution)
    return folded


def _fold_decoder(params: dict, batch_stats: dict) -> dict:
    scale_F, shift_F = _scale_and_shift(params["batch_norm_1"], batch_stats["batch_norm_1"])
    projection = params["projection"]
    places = projection["bias"].size // scale_F.size  # each has all features, one after another
    scale, shift = jnp.tile(scale_F, places), jnp.tile(shift_F, places)
    folded = {name: part for name, part in params.items() if "batch_norm" not in name}
    folded["projection"] = {
        "kernel": projection["kernel"] * scale[None],
        "bias": projection["bias"] * scale + shift,
    }
    for layer in range(1, networks.LAYERS + 1):
        convolution, norm = params[f"convolution_{layer}"], f"batch_norm_{layer + 1}"
        if norm in params:
            scale_F, shift_F = _scale_and_shift(params[norm], batch_stats[norm])
            convolution = {
                "kernel": convolution["kernel"] * scale_F[None, None, :, None],
                "bias": shift_F,
            }
        folded[f"convolution_{layer}"] = _convolution(**convolution)
    return folded


@jax.jit
def fuse(params: dict, batch_stats: dict) -> tuple[dict, dict]:
    """Encoder and decoder without batch norms, that do what those did with running statistics.

    Args:
      params, batch_stats: of encoder and decoder at least, by name.

    Returns:
      The same two with these two networks folded, to be used like them with ``train=False``;
      their statistics are empty, which is how ``autoencoder`` knows them as folded.
    """
    encoder = params["encoder"]
    stack = _fold_stack(encoder["stack"], batch_stats["encoder"]["stack"])
    folded = {
        "encoder": {**encoder, "stack": stack},
        "decoder": _fold_decoder(params["decoder"], batch_stats["decoder"]),
    }
    return params | folded, batch_stats | {"encoder": {}, "decoder": {}}
