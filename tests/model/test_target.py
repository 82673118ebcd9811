"""The devices of the ambient mesh, which this machine may lack, decide precision and forms."""

import re
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AbstractDevice, AbstractMesh, AxisType, use_abstract_mesh

import vae_gan_jax
from vae_gan_jax.model import networks, winograd
from vae_gan_jax.training import devices, train_state, train_step


def mesh_of(platform: str) -> AbstractMesh:
    device = AbstractDevice(device_kind=platform, num_cores=None, platform=platform)
    return AbstractMesh((1,), ("data",), axis_types=(AxisType.Auto,), abstract_device=device)


@pytest.mark.parametrize(
    ("platform", "dtype", "steps"), [("cpu", None, 1), ("cuda", jnp.bfloat16, 20)]
)
def test_the_mesh_decides(small, platform, dtype, steps):
    with use_abstract_mesh(mesh_of(platform)):
        assert networks.compute_dtype(small) == dtype
        assert winograd.pays((5, 5, 64, 64), jnp.float32) is (platform == "cpu")
        assert devices.steps_per_dispatch() == steps


def test_a_step_for_a_tpu_has_bfloat16_convolutions_alone(small):
    """Lowered on this machine, which has no TPU."""
    key = jax.eval_shape(lambda: jax.random.key(0))
    state = train_state.shapes(small)
    frames_BHWC = jax.ShapeDtypeStruct((4, small.height, small.width, 3), jnp.uint8)
    with use_abstract_mesh(mesh_of("tpu")):
        traced = train_step.jitted_step.trace(state, frames_BHWC, key, 0.1, small.step)
        text = traced.lower(lowering_platforms=("tpu",)).as_text()
    convolutions = re.findall(r"stablehlo\.convolution.* -> tensor<\S*x(\w+)>", text)
    assert len(convolutions) > 40
    assert set(convolutions) == {"bf16"}


def test_few_modules_ask_jax_for_its_devices():
    """All others ask the mesh or ``target``."""
    asks = re.compile(r"default_backend|jax\.(local_)?device(s|_count)\b")
    package = Path(vae_gan_jax.__file__).parent
    asking = [path.name for path in package.rglob("*.py") if asks.search(path.read_text())]
    assert sorted(asking) == ["lowering.py", "main.py", "mesh.py", "target.py", "topologies.py"]
