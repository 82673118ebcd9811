"""The networks as ONNX, StableHLO and safetensors files."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import onnx
from jax import export as jax_export
from safetensors import numpy as safetensors_numpy

from vae_gan_jax.inference.export import onnx_networks
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.model import autoencoder, fuse_batch_norm
from vae_gan_jax.run import atomic_io, exported
from vae_gan_jax.training import train_state

PLATFORMS = ("cpu", "cuda", "tpu")  # that StableHLO is lowered for
NETWORKS = ("encoder", "decoder")
MAX_FILE_BYTES = 2_000_000_000  # of weights in an ONNX file, whose format ends at 2 GiB


def write_onnx(folder: Path, model: Model, precision: str, origin: dict[str, str]) -> None:
    """Writes ``encoder.onnx``, ``decoder.onnx`` and ``autoencoder.onnx``.

    Weights that do not fit into a file of this format go into NAME.onnx.data beside it.
    """
    variables = fuse_batch_norm.fuse(model.variables, winograd_form=False)
    variables = {name: jax.tree.map(np.asarray, variables[name]) for name in NETWORKS}
    for network in onnx_networks.models(model.config, variables, precision, origin):
        path = folder / f"{network.graph.name}.onnx"
        if sum(len(weights.raw_data) for weights in network.graph.initializer) > MAX_FILE_BYTES:
            onnx.save_model(network, path, save_as_external_data=True, location=f"{path.name}.data")
        else:
            atomic_io.write(path, network.SerializeToString())


def functions(model: Model) -> dict[str, Callable]:
    """The compiled encoder and decoder with their parameters as constants."""
    step, variables = model.config.step, {name: model.variables[name] for name in NETWORKS}

    def encoder(frames_BHWC):
        return autoencoder.encode(step, variables, frames_BHWC, train=False)[0]

    def decoder(z_BZ):
        return autoencoder.to_frames(autoencoder.decode(step, variables, z_BZ, train=False)[0])

    return {"encoder": jax.jit(encoder), "decoder": jax.jit(decoder)}


def write_stablehlo(folder: Path, model: Model) -> None:
    """Writes ``encoder.stablehlo`` and ``decoder.stablehlo`` for batches of any size."""
    # A variable of jax is 1 or more, and a batch may be empty.
    config, (batch,) = model.config, jax_export.symbolic_shape("N - 1")
    inputs = {
        "encoder": jax.ShapeDtypeStruct((batch, config.height, config.width, 3), np.uint8),
        "decoder": jax.ShapeDtypeStruct((batch, config.z_dim), np.float32),
    }
    for name, function in functions(model).items():
        lowered = jax_export.export(function, platforms=PLATFORMS)(inputs[name])
        atomic_io.write(folder / f"{name}.stablehlo", lowered.serialize())


def write_safetensors(folder: Path, model: Model) -> None:
    """Writes the variables of all three networks, float32, by their path in the code."""
    arrays = {name: np.asarray(leaf) for name, leaf in train_state.flat(model.variables).items()}
    atomic_io.write(folder / exported.WEIGHTS, safetensors_numpy.save(arrays))
