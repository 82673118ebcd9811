"""Training on four devices against one: one run but for rounding; what they exchange."""

import dataclasses
import math
import pickle
import re
import subprocess
import sys
from pathlib import Path

import chex
import jax
import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.training import feeding, mesh, train_state

PROJECT = Path(__file__).parent.parent.parent
SIZES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1, "u8": 1}
# Four devices: the end of short runs, also on one of them, in float64; the compiled step as text.
PROGRAM = """
import dataclasses, pickle, sys
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from vae_gan_jax.training import feeding, mesh, train_state
small, frames_THWC = pickle.load(sys.stdin.buffer)
arrays = ("noise_std", "frames", "index_SB", "count_on_device")

def feed(config):
    return feeding.Feed(config, frames_THWC, np.arange(10), (3,)).dispatches(0)

def run(config, devices):
    state = train_state.create(config, jax.random.key(0))
    state = jax.tree.map(lambda x: np.float64(x) if x.dtype == np.float32 else x, state)
    key = jax.random.key(1)
    if devices == 4:
        state, key = mesh.place_state(config, state), mesh.send(key)
    for dispatch in feed(config):
        if devices == 4:
            with jax.set_mesh(mesh.everything()):
                state, _ = dispatch.run(state, key, config)
        else:
            local = jax.tree.map(np.asarray, {name: getattr(dispatch, name) for name in arrays})
            state, _ = dataclasses.replace(dispatch, **local).run(state, key, config)
    moment = state.opt_state["decoder"][0].mu["projection"]["kernel"]
    return jax.device_get(state), moment.addressable_data(0).size / moment.size

state = mesh.place_state(small, train_state.create(small, jax.random.key(0)))
with jax.set_mesh(mesh.everything()):
    step = next(feed(small)).compiled(state, mesh.send(jax.random.key(1)), small)
jax.config.update("jax_enable_x64", True)
runs = {}
for name, settings in {
    "step by step": {},
    "loop": {"steps_per_dispatch": 3, "shard_optimizer": True},
    "resident": {"data_placement": "device"},
}.items():
    runs[name] = run(dataclasses.replace(small, **settings), 4)
runs["one"] = run(small, 1)
sys.stdout.buffer.write(pickle.dumps((runs, step.as_text(), step.cost_analysis()["flops"])))
"""


@pytest.fixture(scope="module")
def wide(small):
    """Pictures of which a gradient is more than what batch norm exchanges."""
    return dataclasses.replace(small, filters=4)


@pytest.fixture(scope="module")
def four(wide, frames_THWC):
    """Ends of runs with a device's share of a moment; the step's text and work."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=pickle.dumps((wide, frames_THWC)),
        capture_output=True,
        cwd=PROJECT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    return pickle.loads(done.stdout)


@pytest.mark.parametrize("name", ["step by step", "loop", "resident"])
def test_four_devices_are_one(name, four):
    """Two epochs in float64, where sums in another order differ by next to nothing."""
    chex.assert_trees_all_close(four[0][name][0], four[0]["one"][0], rtol=1e-9, atol=1e-12)


def test_moments_are_shared_out_if_asked(four):
    shares = {name: share for name, (_, share) in four[0].items()}
    assert shares == {"step by step": 1, "loop": 0.25, "resident": 1, "one": 1}


def test_gradients_are_exchanged_in_few_all_reduces(four, wide):
    """No other collectives; next to the gradients what batch norm exchanges is little."""
    found = re.findall(
        r"= (.*?) (all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute)"
        r"(?:-start)?\(",
        four[1],
    )
    assert {kind for _, kind in found} == {"all-reduce"}
    arrays = [re.findall(r"(\w+)\[([\d,]*)\]", result) for result, _ in found]
    assert len(arrays) < 60
    params = train_state.create(wide, jax.random.key(0)).params
    for leaf in jax.tree.leaves(params):  # each of the sizes is there
        sizes = [math.prod(map(int, filter(None, a.split(",")))) for of in arrays for _, a in of]
        assert leaf.size in sizes
    total = sum(
        SIZES[kind] * math.prod(map(int, filter(None, sides.split(","))))
        for of in arrays
        for kind, sides in of
    )
    gradients = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    assert gradients <= total < 2.5 * gradients


def test_no_device_does_another_s_work(four, wide, frames_THWC):
    """A quarter of a mini-batch on one of four devices is as much as all of one on its own."""
    quarter = dataclasses.replace(wide, batch_size=wide.batch_size // 4)
    state = train_state.create(quarter, jax.random.key(0))
    alone = next(feeding.Feed(quarter, frames_THWC, np.arange(10), (3,)).dispatches(0))
    flops = alone.compiled(state, jax.random.key(1), quarter).cost_analysis()["flops"]
    assert four[2] == pytest.approx(flops, rel=0.05)


def test_a_batch_that_cannot_be_shared_is_refused(small, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: 8)
    with pytest.raises(InputError, match=r"--batch_size=12 cannot be shared by 8 .* such as 8\."):
        mesh.check_batch(dataclasses.replace(small, batch_size=12))
    mesh.check_batch(dataclasses.replace(small, batch_size=16))


@pytest.mark.parametrize(("rule", "times"), [("none", 1), ("linear", 4), ("sqrt", 2)])
def test_the_learning_rate_grows_by_its_rule(rule, times, small):
    config = dataclasses.replace(small, batch_size=48, learning_rate_scaling=rule)
    assert np.isclose(config.scaled_learning_rate, times * config.learning_rate)
