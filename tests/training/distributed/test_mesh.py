"""Training on four devices equals training on one, up to rounding, and exchanges little."""

import dataclasses
import pickle
import re
import subprocess
import sys
import types
from collections import Counter
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import feeding, train_state
from vae_gan_jax.training.distributed import mesh

PROJECT = Path(__file__).parents[3]
# Trains in float64 on four devices and on one of them, and compiles the step in float32.
PROGRAM = """
import dataclasses, pickle, sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import devices, feeding, train_state
from vae_gan_jax.training.distributed import mesh
small, frames_THWC = pickle.load(sys.stdin.buffer)
arrays = ("noise_std", "frames", "index_SB", "count_on_device")

def feed(config):
    return feeding.Feed(config, TrainingFrames(frames_THWC), (3,)).dispatches(0)

def run(config, count):
    state = train_state.create(config, jax.random.key(0))
    state = jax.tree.map(lambda x: np.float64(x) if x.dtype == np.float32 else x, state)
    key = jax.random.key(1)
    if count == 4:
        state, key = mesh.place_state(config, state), mesh.to_mesh(key)
    for dispatch in feed(config):
        if count == 4:
            with jax.set_mesh(mesh.device_mesh()):
                state, _ = dispatch.run(state, key, config)
        else:
            local = jax.tree.map(np.asarray, {name: getattr(dispatch, name) for name in arrays})
            with jax.set_mesh(mesh.of_devices(jax.devices()[:1])):
                state, _ = dataclasses.replace(dispatch, **local).run(state, key, config)
    moment = state.opt_state["decoder"][0].mu["projection"]["kernel"]
    return jax.device_get(state), moment.addressable_data(0).size / moment.size

state = mesh.place_state(small, train_state.create(small, jax.random.key(0)))
with jax.set_mesh(mesh.device_mesh()):
    step = next(feed(small)).compiled(state, mesh.to_mesh(jax.random.key(1)), small)
jax.config.update("jax_enable_x64", True)
runs = {}
for name, settings in {
    "step by step": {},
    "loop": {"shard_optimizer": True},
    "resident": {"data_placement": "device"},
}.items():
    devices.steps_per_dispatch = lambda steps=3 if name == "loop" else 1: steps
    runs[name] = run(dataclasses.replace(small, **settings), 4)
devices.steps_per_dispatch = lambda: 1
runs["one"] = run(small, 1)
sys.stdout.buffer.write(pickle.dumps((runs, step.as_text(), step.cost_analysis()["flops"])))
"""


@pytest.fixture(scope="module")
def wide(small):
    """Networks whose gradients are larger than what batch norm exchanges."""
    return dataclasses.replace(small, filters=4)


@pytest.fixture(scope="module")
def four(wide, frames_THWC):
    """Final states with the sharded fraction of a moment; the compiled step's text and FLOPs."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=pickle.dumps((wide, frames_THWC)),
        capture_output=True,
        cwd=PROJECT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["step by step", "loop", "resident"])
def test_four_devices_equal_one(name, four):
    """Two epochs in float64, where the order of a sum hardly matters."""
    chex.assert_trees_all_close(four[0][name][0], four[0]["one"][0], rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_shard_optimizer_shards_adams_moments(four):
    fractions = {name: fraction for name, (_, fraction) in four[0].items()}
    assert fractions == {"step by step": 1, "loop": 0.25, "resident": 1, "one": 1}


def all_reduces(text: str) -> list[Counter]:
    """The shapes in each collective of a compiled step; all must be all-reduces of float32."""
    kinds = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-[a-z]+"
    collectives = re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", text)
    assert {kind for _, kind in collectives} == {"all-reduce"}
    results = [re.findall(r"(\w+)\[([\d,]*)\]", result) for result, _ in collectives]
    assert {dtype for arrays in results for dtype, _ in arrays} == {"f32"}
    return [
        Counter(tuple(map(int, filter(None, sides.split(",")))) for _, sides in arrays)
        for arrays in results
    ]


@pytest.mark.slow
def test_each_gradient_is_exchanged_once(four, wide):
    """In few all-reduces. The test accounts for all else that is exchanged, which is little."""
    reduces = all_reduces(four[1])
    params = train_state.create(wide, jax.random.key(0)).params
    gradients = Counter(leaf.shape for leaf in jax.tree.leaves(params))
    kernels = {sides for sides in gradients if len(sides) > 1}
    assert len([shapes for shapes in reduces if kernels & shapes.keys()]) <= 8
    assert len(reduces) <= 45

    # The two statistics of a batch norm together, once per forward and backward pass.
    passes = {"encoder": 1 + 1, "decoder": 2 + 3, "discriminator": 3 + 4}
    norms = Counter()
    for name, count in passes.items():
        for path, leaf in jax.tree_util.tree_leaves_with_path(params[name]):
            if path[-1].key == "scale":
                norms[2, leaf.size] += count

    rest = sum(reduces, Counter()) - gradients - norms
    assert gradients + norms + rest == sum(reduces, Counter())
    # Means of objectives and metrics; means and variances of frames and reconstructions.
    assert rest.keys() <= {(), (wide.height, wide.width, 3)}
    assert rest[()] <= 12
    assert rest[wide.height, wide.width, 3] <= 4


@pytest.mark.slow
def test_a_device_computes_its_own_shard_only(four, wide, frames_THWC):
    """A quarter of the mini-batch costs one of four devices as much as it costs one alone."""
    quarter = dataclasses.replace(wide, batch_size=wide.batch_size // 4)
    state = train_state.create(quarter, jax.random.key(0))
    alone = next(feeding.Feed(quarter, TrainingFrames(frames_THWC), (3,)).dispatches(0))
    flops = alone.compiled(state, jax.random.key(1), quarter).cost_analysis()["flops"]
    assert four[2] == pytest.approx(flops, rel=0.05)


def test_matrices_are_summed_over_devices_in_the_type_of_the_arithmetic():
    def means(kernel, x):
        return {"kernel": kernel, "bias": x.sum(axis=0)}, (), ()

    with jax.sharding.use_abstract_mesh(jax.sharding.AbstractMesh((4,), (mesh.DATA,))):
        traced = str(
            jax.make_jaxpr(lambda *a: mesh.data_parallel(means, a[:1], a[1:], jnp.bfloat16)[0])(
                np.ones((2, 3), np.float32), np.ones((8, 3), np.float32)
            )
        )
    assert re.findall(r":(\w+\[[\d,]+\]) = psum", traced) == ["f32[3]", "bf16[2,3]"]


def test_a_batch_that_cannot_be_divided_equally_is_refused(small, monkeypatch):
    monkeypatch.setattr(mesh, "device_mesh", lambda: types.SimpleNamespace(size=8))
    with pytest.raises(
        InputError, match=r"--batch_size=12 cannot be divided equally among 8 .* example 8\."
    ):
        mesh.check_batch(dataclasses.replace(small, batch_size=12))
    mesh.check_batch(dataclasses.replace(small, batch_size=16))


@pytest.mark.parametrize(("rule", "times"), [("none", 1), ("linear", 4), ("sqrt", 2)])
def test_the_learning_rate_scales_with_the_batch(rule, times, small):
    config = dataclasses.replace(small, batch_size=48, learning_rate_scaling=rule)
    assert np.isclose(config.scaled_learning_rate, times * config.learning_rate)
