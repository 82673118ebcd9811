"""Settings of all tests: small networks, a generated film, no silent rank promotion."""

import os
import subprocess
from fractions import Fraction
from pathlib import Path

import jax
import numpy as np
import pytest

from vae_gan_jax.config import Config

jax.config.update("jax_numpy_rank_promotion", "raise")
# Tiny networks spend their time in the compiler; programs started by tests inherit this.
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture(scope="session", autouse=True)
def compilation_cache(tmp_path_factory):
    """Programs that the tests start compile each function once between them."""
    folder = str(tmp_path_factory.mktemp("compilation"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = folder
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "1"
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 1)


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
def film(make_film) -> Path:
    """A film of 26 frames, 64x36 at 24000/1001 frames a second, with a tone."""
    return make_film("film.mp4", 26, "64x36", "24000/1001")


@pytest.fixture(scope="session")
def make_film(tmp_path_factory):
    """Makes a film with a tone: ``make_film(name, frames, size, rate)`` gives its path."""
    from imageio_ffmpeg import get_ffmpeg_exe

    def make(name: str, frames: int, size: str, rate: str) -> Path:
        path = tmp_path_factory.mktemp("films") / name
        subprocess.run(
            [
                get_ffmpeg_exe(), "-v", "error",
                "-f", "lavfi", "-i", f"testsrc2=size={size}:rate={rate}",
                "-f", "lavfi", "-i", "sine=frequency=330",
                "-frames:v", str(frames), "-t", f"{float(frames / Fraction(rate)):.4f}",
                "-pix_fmt", "yuv420p", str(path),
            ],
            check=True,
        )  # fmt: skip
        return path

    return make
