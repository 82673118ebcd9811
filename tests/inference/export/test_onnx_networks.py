"""ONNX graphs against the networks in JAX: both kinds, odd sizes, both precisions."""

import dataclasses

import jax
import numpy as np
import onnx
import onnxruntime
import pytest

from vae_gan_jax.inference.export import model_files, onnx_networks
from vae_gan_jax.inference.reconstruct import decode_batch, encode_batch
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.model import fuse_batch_norm
from vae_gan_jax.training import train_state

PLAIN_OPERATORS = {
    *("Add", "Cast", "Clip", "Conv", "DepthToSpace", "Div", "Flatten", "Identity"),
    *("LayerNormalization", "LeakyRelu", "MatMul", "Mul", "ReduceMean", "Relu", "Reshape"),
    *("Round", "Slice", "Sub", "Tanh", "Transpose"),
}
SIZES = {"thesis": [(20, 18), (19, 17)], "residual": [(20, 18), (39, 45)]}


def untrained(small, networks, width, height) -> Model:
    """Networks with random parameters and statistics, none of which is 0 or 1."""
    size = dict(width=width, height=height, filters=6)
    config = dataclasses.replace(small, networks=networks, **size)
    state = train_state.shapes(config)
    random = np.random.default_rng(0)

    def values(path, leaf):
        if "batch_stats" in jax.tree_util.keystr(path):
            return random.uniform(0.3, 1.5, leaf.shape).astype(np.float32)
        fan_in = np.prod(leaf.shape[:-1]) if leaf.ndim > 1 else 9
        return np.float32(
            random.standard_normal(leaf.shape) / np.sqrt(fan_in) + (0.3 if leaf.ndim < 2 else 0)
        )

    variables = jax.tree_util.tree_map_with_path(values, state.inference_variables)
    return Model(config, variables, 0)


@pytest.fixture(
    scope="module",
    params=[(networks, *size) for networks, sizes in SIZES.items() for size in sizes],
    ids=str,
)
def model(request, small):
    return untrained(small, *request.param)


@pytest.fixture(scope="module")
def expected(model):
    """Frames, their codes and their reconstructions."""
    config = model.config
    shape = config.batch_size, config.height, config.width, 3
    frames_BHWC = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    mean_BZ, log_variance_BZ = encode_batch(config.step, model.fused, frames_BHWC)
    output_BHWC = decode_batch(config.step, model.fused, mean_BZ)
    assert np.std(mean_BZ) > 0.05
    assert np.std(log_variance_BZ) > 0.01
    assert np.std(output_BHWC) > 5
    return jax.device_get((frames_BHWC, mean_BZ, log_variance_BZ, output_BHWC))


@pytest.mark.parametrize(
    ("precision", "pixels", "codes"), [("float32", 1, 1e-5), ("float16", 2, 2e-2)]
)
def test_graphs_equal_the_networks(model, expected, precision, pixels, codes):
    frames_BHWC, mean_BZ, log_variance_BZ, output_BHWC = expected
    variables = fuse_batch_norm.fuse(model.variables, winograd_form=False)
    variables = jax.tree.map(np.asarray, {n: variables[n] for n in ("encoder", "decoder")})
    sessions, sizes = {}, {}
    for graph in onnx_networks.models(model.config, variables, precision, {"step": "0"}):
        name = graph.graph.name
        onnx.checker.check_model(graph, full_check=True)
        assert {node.op_type for node in graph.graph.node} <= PLAIN_OPERATORS
        assert graph.opset_import[0].version == 17
        sessions[name] = onnxruntime.InferenceSession(graph.SerializeToString())
        sizes[name] = sum(len(constant.raw_data) for constant in graph.graph.initializer)
    for batch in (len(frames_BHWC), 1):
        frames = frames_BHWC[:batch]
        mean, log_variance = sessions["encoder"].run(None, {"frames": frames})
        assert mean.dtype == log_variance.dtype == np.float32
        np.testing.assert_allclose(mean, mean_BZ[:batch], atol=codes)
        np.testing.assert_allclose(log_variance, log_variance_BZ[:batch], atol=codes)
        (reconstruction,) = sessions["autoencoder"].run(None, {"frames": frames})
        (decoded,) = sessions["decoder"].run(None, {"z": mean_BZ[:batch]})
        for result in (reconstruction, decoded):
            assert result.dtype == np.uint8
            assert np.abs(np.subtract(result, output_BHWC[:batch], dtype=int)).max() <= pixels
    parameters = sum(leaf.size for leaf in jax.tree.leaves(variables["decoder"]["params"]))
    if precision == "float16":  # as many bytes as numbers of 2 bytes, and little besides
        assert 2 * parameters < sizes["decoder"] + 16 < 4 * parameters


def test_weights_that_do_not_fit_into_a_file_go_into_another(small, tmp_path, monkeypatch):
    model = untrained(small, "residual", 20, 18)
    model_files.write_onnx(tmp_path, model, "float32", {})
    whole = (tmp_path / "decoder.onnx").stat().st_size
    z = {"z": np.ones((1, small.z_dim), np.float32)}
    expected = onnxruntime.InferenceSession(tmp_path / "decoder.onnx").run(None, z)
    monkeypatch.setattr(model_files, "MAX_FILE_BYTES", 1000)
    model_files.write_onnx(tmp_path, model, "float32", {})
    assert (tmp_path / "decoder.onnx").stat().st_size < whole
    assert (tmp_path / "decoder.onnx.data").is_file()
    result = onnxruntime.InferenceSession(tmp_path / "decoder.onnx").run(None, z)
    np.testing.assert_array_equal(result, expected)
