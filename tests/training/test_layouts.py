"""The table "What resumes from what" of docs/training.md: each checkpoint in each other layout."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
# Saves the state of each layout, and trains one step from it in each other layout.
PROGRAM = """
import dataclasses, pickle, sys, tempfile
import jax
jax.config.update("jax_num_cpu_devices", 4)
import numpy as np
from vae_gan_jax.training import train_state, train_step
from vae_gan_jax.training.checkpoint import Checkpoints
from vae_gan_jax.training.distributed import mesh
small, frames_THWC, layouts = pickle.load(sys.stdin.buffer)
host = jax.device_get(train_state.create(small, jax.random.key(0)))
random = np.random.default_rng(0)
moments = jax.tree.map(
    lambda leaf: random.normal(size=leaf.shape).astype(leaf.dtype) ** 2, host.opt_state
)
host = host.replace(step=np.int32(6), opt_state=moments)
results = {}

def within(layout):
    devices, shard_optimizer, precision = layout
    config = dataclasses.replace(small, shard_optimizer=shard_optimizer, precision=precision)
    return config, jax.set_mesh(mesh.of_devices(jax.devices()[:devices]))

for saved in layouts:
    folder = tempfile.mkdtemp()
    config, ambient = within(saved)
    with ambient, Checkpoints(folder) as checkpoints:
        checkpoints.save(mesh.place_state(config, host))
    for resumed in layouts:
        config, ambient = within(resumed)
        with ambient, Checkpoints(folder) as checkpoints:
            empty = jax.tree.map(np.zeros_like, host)
            state = checkpoints.restore(mesh.place_state(config, empty))
            same = jax.tree.map(np.array_equal, jax.device_get(state), host)
            frames_BHWC = mesh.to_mesh(frames_THWC[:4], mesh.DATA)
            key, noise_std = mesh.to_mesh(jax.random.key(1)), mesh.to_mesh(np.float32(0.1))
            moment = state.opt_state["decoder"][0].mu["projection"]["kernel"]
            share = moment.addressable_data(0).size / moment.size
            _, metrics = train_step.train_step(state, frames_BHWC, key, noise_std, config)
            results[saved, resumed] = all(jax.tree.leaves(same)), share, jax.device_get(metrics)
sys.stdout.buffer.write(pickle.dumps(results))
"""
LAYOUTS = [  # devices, --shard_optimizer, --precision
    (1, False, "float32"),
    (4, False, "float32"),
    (4, True, "float32"),
    (2, True, "bfloat16"),
]


@pytest.mark.slow
def test_every_layout_resumes_from_every_other(small, frames_THWC):
    """The restored state is the saved one, bit for bit; the next step differs by rounding."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        input=pickle.dumps((small, frames_THWC, LAYOUTS)),
        capture_output=True,
        cwd=PROJECT,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    results = pickle.loads(done.stdout)
    assert len(results) == len(LAYOUTS) ** 2
    *_, expected = results[LAYOUTS[0], LAYOUTS[0]]
    for (saved, resumed), (same, share, metrics) in results.items():
        devices, shard_optimizer, precision = resumed
        assert same, (saved, resumed)
        assert share == (1 / devices if shard_optimizer else 1)
        tolerance = 0.1 if precision == "bfloat16" else 1e-4
        assert metrics["skipped"] == 0
        for name in ("loss/encoder", "loss/decoder", "objective/similarity"):
            assert metrics[name] == pytest.approx(expected[name], rel=tolerance), (saved, resumed)
