"""Sets the environment variables that jax reads when it starts. Imports no jax."""

import importlib.metadata
import os
from pathlib import Path

from vae_gan_jax import operating_system

CPU_FUSION_FLAG = "--xla_cpu_experimental_ynn_fusion_type"


def prefer_eigen_convolutions() -> None:
    """Makes XLA use Eigen's convolutions on a CPU, unless ``XLA_FLAGS`` already has the flag.

    Eigen is faster than YNNPACK, the default of jaxlib 0.10 and 0.11 (benchmarks/results/speed.md).
    A later jaxlib might not know the flag and would then refuse to start, so it does not get it.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    version = tuple(map(int, importlib.metadata.version("jaxlib").split(".")[:2]))
    if (0, 10) <= version < (0, 12) and CPU_FUSION_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {CPU_FUSION_FLAG}=".strip()


def cache_compiled_code() -> None:
    """Caches compiled code on disk, so that the next start does not compile it again.

    The folder is ``JAX_COMPILATION_CACHE_DIR`` if set, otherwise one in the user's cache folder
    for each kind of processor: code compiled for one processor may not run on another.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(home) / "vae_gan_jax" / "compiled" / operating_system.processor_kind()
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(folder))
