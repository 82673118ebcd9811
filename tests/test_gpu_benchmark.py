"""benchmarks.gpu from end to end on a simulated accelerator, so that a rented one loses no time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent
# Python runs it in each process that the benchmark starts. The networks run in bfloat16 in loops of
# steps on frames in device memory, and the backend counts no arithmetic.
ACCELERATOR = """
import sys
import jax
from vae_gan_jax.evaluation import benchmark
from vae_gan_jax.model import target
from vae_gan_jax.training import devices

cost_analysis = jax.stages.Lowered.cost_analysis

def only_for_a_cpu(lowered):
    asking = sys._getframe(1).f_globals["__name__"]
    return cost_analysis(lowered) if asking == "vae_gan_jax.training.lowering" else None

target.on_cpu = lambda: False
jax.default_backend = lambda: "gpu"
jax.stages.Lowered.cost_analysis = only_for_a_cpu
memory = {"bytes_limit": int(80e9), "bytes_in_use": 0, "peak_bytes_in_use": int(2e9)}
devices.memory_statistics = lambda: memory
benchmark.MATMUL_SIDE = 256
devices.steps_per_dispatch = lambda: 2
machine = benchmark._machine
benchmark._machine = lambda: machine() | {"device": "NVIDIA H100", "platform": "gpu"}
"""
TINY = ["--width=20", "--height=18", "--filters=2", "--z_dim=3", "--batch_size=4"]
SHORT = ["--seconds=0.1"]


@pytest.mark.slow
def test_every_row_is_measured(tmp_path, film):
    (tmp_path / "sitecustomize.py").write_text(ACCELERATOR)
    results = tmp_path / "results"
    command = [sys.executable, "-m", "benchmarks.gpu", f"--results={results}", f"--film={film}"]
    done = subprocess.run(
        [*command, *TINY, *SHORT],
        cwd=PROJECT,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{PROJECT}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = [json.loads((results / f"{number}.json").read_text()) for number in range(7)]
    for row in rows:
        assert row["machine"]["platform"] == "gpu"
        assert row["training"]["gflop_per_frame"] > 0
        assert row["training"]["share_of_matrix_product"] > 0
        assert row["reconstruction"]["gflop_per_frame"] > 0
        assert row["training"]["steps_per_dispatch"] > 1
    _, best, float32, host, *_ = rows
    assert best["settings"]["networks"] == "residual"
    for row in rows:
        assert row["settings"]["precision"] == ("float32" if row is float32 else "bfloat16")
        assert row["training"]["frames_on_device"] == (row is not host)
    assert "unknown" not in done.stdout
    assert len([line for line in done.stdout.splitlines() if line.startswith("| ")]) == 8
