"""Accelerators that this machine may lack, as devices that functions can be compiled for."""

import contextlib
import importlib.util
import os
import re
from typing import NamedTuple

import jax
from jax.experimental import topologies

from vae_gan_jax import operating_system
from vae_gan_jax.config import InputError
from vae_gan_jax.model import target
from vae_gan_jax.training import devices
from vae_gan_jax.training.distributed import mesh

HERE = "here"  # the devices of this machine
GPUS_PER_MACHINE = 8
GPU_MEMORY_FRACTION = 0.75  # that jax allocates unless XLA_PYTHON_CLIENT_MEM_FRACTION is set
# Before libtpu loads: it need not find a TPU, and several programs may compile at once.
LIBTPU_ENVIRONMENT = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "true",
    "TPU_WORKER_HOSTNAMES": "localhost",
    "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    "TPU_STDERR_LOG_LEVEL": "3",
    "TPU_MIN_LOG_LEVEL": "3",
}


class Accelerator(NamedTuple):
    """Published figures of one device."""

    device_kind: str  # as jax names it
    flop_per_second: float  # peak, bfloat16
    memory_bytes: float  # that a program can use
    memory_bytes_per_second: float
    clock_hertz: float = 0.0  # of a TPU, in whose cycles its compiler estimates time
    gpu: str = ""  # of a GPU, for its compiler: XLA's GpuTargetConfigProto as text


def _gpu(name: str, cores: int, flop: float, memory: float, rate: float, **limits) -> Accelerator:
    """``limits``: fpus, shared (memory of a core, bytes), l2 (bytes), ghz, capability."""
    text = f"""
    gpu_device_info {{
      threads_per_block_limit: 1024 threads_per_warp: 32 threads_per_core_limit: 2048
      core_count: {cores} fpus_per_core: {limits["fpus"]} clock_rate_ghz: {limits["ghz"]}
      shared_memory_per_block: 49152 shared_memory_per_core: {limits["shared"]}
      shared_memory_per_block_optin: {limits["shared"] - 1024}
      block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
      registers_per_core_limit: 65536 registers_per_block_limit: 65536
      memory_bandwidth: {int(rate)} l2_cache_size: {limits["l2"]} device_memory_size: {int(memory)}
      cuda_compute_capability {{ major: {limits["capability"]} }}
    }}
    platform_name: "CUDA" dnn_version_info {{ major: 9 minor: 8 }} device_description_str: "{name}"
    """
    return Accelerator(name, flop, GPU_MEMORY_FRACTION * memory, rate, gpu=text)


_HOPPER = dict(fpus=128, shared=233_472, l2=52_428_800, ghz=1.98, capability=9)
_AMPERE = dict(fpus=64, shared=167_936, l2=41_943_040, ghz=1.41, capability=8)
ACCELERATORS = {
    "v5e": Accelerator("TPU v5 lite", 197e12, 15.75 * 2**30, 819e9, 1.5e9),
    "v5p": Accelerator("TPU v5", 459e12, 95.74 * 2**30, 2765e9, 1.75e9),
    "v6e": Accelerator("TPU v6 lite", 918e12, 31.25 * 2**30, 1640e9, 1.75e9),
    "h100": _gpu("NVIDIA H100 80GB HBM3", 132, 989e12, 84.9e9, 3.35e12, **_HOPPER),
    "h200": _gpu("NVIDIA H200", 132, 989e12, 150e9, 4.8e12, **_HOPPER),
    "a100": _gpu("NVIDIA A100-SXM4-80GB", 108, 312e12, 85.1e9, 2.04e12, **_AMPERE),
}
EXAMPLES = "v5e:4x4, v5p:2x2x1, v6e:2x4, h100:8, h200:1, a100:8 or here"


def accelerator_of(device_kind: str) -> Accelerator | None:
    """The published figures of a device; None if they are not known, as for every CPU."""
    kinds = {one.device_kind: one for one in ACCELERATORS.values()}
    return kinds.get(device_kind)


class Topology(NamedTuple):
    """Devices to compile for; figures that are not known are ``None``."""

    name: str
    mesh: jax.sharding.Mesh
    accelerator: Accelerator | None
    memory_bytes: float | None  # of one device

    @property
    def processes(self) -> int:
        """How many processes, one on each machine, a run needs."""
        return len({device.process_index for device in self.mesh.devices.flat})


def check(name: str) -> None:
    """Raises ``InputError`` if this is not a topology, or the plugin of its compiler is missing."""
    if name == HERE:
        return
    kind, _, size = name.partition(":")
    tpu = kind.startswith("v")
    sides = (3 if kind == "v5p" else 2) if tpu else 1  # a v5p slice is a torus in three dimensions
    if kind not in ACCELERATORS or not re.fullmatch(
        "x".join([r"[1-9]\d*"] * sides), size, re.ASCII
    ):
        raise InputError(f"--topology={name} is not known: give one such as {EXAMPLES}.")
    gpus = 0 if tpu else int(size)
    if gpus > GPUS_PER_MACHINE and gpus % GPUS_PER_MACHINE:
        raise InputError(
            f"--topology={name} are not whole machines of {GPUS_PER_MACHINE} GPUs: give "
            f"{kind}:1 to {kind}:{GPUS_PER_MACHINE}, or a multiple of {GPUS_PER_MACHINE}."
        )
    plugins = ("libtpu",) if tpu else ("jax_cuda13_plugin", "jax_cuda12_plugin")
    if not any(map(importlib.util.find_spec, plugins)):
        extra = "tpu" if tpu else "cuda"
        raise InputError(
            f"--topology={name} needs the compiler in {plugins[0]}, though no device: install the "
            f"extra {extra}, such as pip install '.[{extra}]'."
        )


def open_topology(name: str) -> Topology:
    """The devices of a topology that ``check`` accepts; raises ``InputError`` if there is none."""
    if name == HERE:
        here = mesh.of_devices(jax.devices())
        with jax.set_mesh(here):
            memory = devices.memory_statistics().get("bytes_limit")
            if memory is None and target.on_cpu():
                memory = operating_system.memory_bytes()
        return Topology(name, here, accelerator_of(jax.devices()[0].device_kind), memory)
    kind, _, size = name.partition(":")
    accelerator = ACCELERATORS[kind]
    with _readable_errors(name):
        if accelerator.gpu:
            machines = max(1, int(size) // GPUS_PER_MACHINE)
            grid = f"1x{machines}x{int(size) // machines}"
            options = dict(target_config=accelerator.gpu, topology=grid)
            found = topologies.get_topology_desc("any", platform="cuda", **options)
        else:
            for variable, value in LIBTPU_ENVIRONMENT.items():
                os.environ.setdefault(variable, value)
            one_chip = dict(chips_per_host_bounds=(1, 1, 1)) if set(size) == {"1", "x"} else {}
            found = topologies.get_topology_desc(name, platform="tpu", **one_chip)
        of_devices = mesh.of_devices(found.devices)
    return Topology(name, of_devices, accelerator, accelerator.memory_bytes)


@contextlib.contextmanager
def _readable_errors(name: str):
    """Turns a plugin's errors into an ``InputError``."""
    try:
        yield
    except (jax.errors.JaxRuntimeError, RuntimeError, NotImplementedError) as error:
        text = str(error).splitlines()[0]
        if "lockfile" in text or "already in use" in text:
            raise InputError(
                f"--topology={name}: another program uses libtpu: wait until it ends, or set "
                "ALLOW_MULTIPLE_LIBTPU_LOAD=true if it only compiles."
            ) from error
        raise InputError(
            f"--topology={name} cannot be made ({text}): give one such as {EXAMPLES}."
        ) from error
