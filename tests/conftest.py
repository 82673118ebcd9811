"""Settings of all tests: small networks, a generated film, no silent rank promotion."""

import importlib.metadata
import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

from vae_gan_jax.config import Config
from vae_gan_jax.training import xla_flags

PROJECT = Path(__file__).parent.parent
pytest_plugins = ["tests.trained_fixtures", "tests.browser"]

jax.config.update("jax_numpy_rank_promotion", "raise")
xla_flags.prefer_eigen_convolutions()  # programs started by tests inherit it
# Tiny networks spend their time in the compiler; programs started by tests inherit this. Without
# XLA's newer fusions a training step compiles in a third of the time.
if importlib.metadata.version("jaxlib").startswith("0.10."):  # later ones do not know the flag
    os.environ["XLA_FLAGS"] += (
        " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
    )
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Programs that the tests start compile each function once between them."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # workers share it
        folder = folder.parent
    folder = str(folder / "compilation")
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "1"
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1)


@pytest.fixture(scope="session")
def program(compilation_cache, tmp_path_factory):
    """A function that runs a command of the program: (exit code or "hang", stderr)."""
    folder = tmp_path_factory.mktemp("program")
    environment = {"PYTHONPATH": str(PROJECT), "XDG_CACHE_HOME": str(folder)}
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.command_server"], cwd=PROJECT, env=os.environ | environment,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip

    def run(arguments, work=PROJECT, seconds=300.0) -> tuple[int | str, str]:
        stderr = folder / "stderr.txt"
        stderr.unlink(missing_ok=True)
        request = {"argv": list(map(str, arguments)), "folder": str(work), "stderr": str(stderr)}
        server.stdin.write(json.dumps(request | {"seconds": seconds}) + "\n")
        server.stdin.flush()
        return json.loads(server.stdout.readline()), stderr.read_text(errors="replace")

    with server:
        yield run


@pytest.fixture(scope="session")
def small() -> Config:
    """The one small configuration that most tests share, so that it is compiled once."""
    return Config(
        width=20,
        height=18,
        filters=2,
        z_dim=3,
        batch_size=4,
        noise_schedule=(0.5, 0.1),
        sample_every=0,
    )


@pytest.fixture(scope="session")
def frames_THWC(small) -> np.ndarray:
    """Ten random frames of the small size: two mini-batches an epoch, two frames left over."""
    shape = (10, small.height, small.width, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Path:
    """A film of 26 frames, 64x36 at 24000/1001 frames a second, with a tone."""
    from imageio_ffmpeg import get_ffmpeg_exe

    path = tmp_path_factory.mktemp("films") / "film.mp4"
    subprocess.run(
        [
            get_ffmpeg_exe(), "-v", "error",
            "-f", "lavfi", "-i", "testsrc2=size=64x36:rate=24000/1001",
            "-f", "lavfi", "-i", "sine=frequency=330",
            "-frames:v", "26", "-t", "1.0844", "-pix_fmt", "yuv420p", str(path),
        ],
        check=True,
    )  # fmt: skip
    return path
