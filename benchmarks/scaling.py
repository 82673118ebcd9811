"""Estimates how the thesis's training step scales to many devices. Nothing here is measured.

    python -m benchmarks.scaling

The step is compiled for eight CPU devices, in float32; its arithmetic and the bytes of its
all-reduces are read from the compiled program. Accelerators exchange the gradients of kernels in
bfloat16, in half of the bytes. Peak rates and link bandwidths are published figures. The
utilisations are what the accelerators' compilers estimate for twelve frames a device; the latency
is an assumption. Communication is assumed not to overlap with computation: a compiler that overlaps
them does better.
"""

import math
from typing import NamedTuple

import jax

from vae_gan_jax.evaluation import compiled

HOP_SECONDS = 5e-6  # latency of each of the 2 log2(N) hops of an all-reduce; assumed
FRAMES_PER_DEVICE = 12
GPUS_PER_NODE = 8  # joined by NVLink
DEVICE_COUNTS = (8, 64, 512)
# Communication takes 5% of the time when computation takes 19 times as long.
COMPUTE_TO_EXCHANGE_AT_95_PERCENT = 19


class Device(NamedTuple):
    flops_per_second: float  # bfloat16
    utilisation: float  # fraction of it that a step of FRAMES_PER_DEVICE reaches
    link_bytes_per_second: float  # NVLink, or the links of a TPU
    network_bytes_per_second: float | None  # between nodes; None: the links join all devices
    max_count: float


DEVICES = {
    "H200": Device(989e12, 0.135, 450e9, 50e9, math.inf),
    "TPU v5p": Device(459e12, 0.20, 600e9, None, 8960),
    "TPU v5e": Device(197e12, 0.22, 200e9, None, 256),
}


def compile_step() -> tuple[jax.stages.Compiled, int]:
    """Compiles the thesis's step for all devices; returns it and the elements of its kernels."""
    from vae_gan_jax.config import Config
    from vae_gan_jax.model import winograd
    from vae_gan_jax.training import lowering, train_state

    winograd.fits = lambda *_: False  # accelerators use plain convolutions
    config = Config(batch_size=FRAMES_PER_DEVICE * jax.device_count())
    state = train_state.shapes(config)
    step = lowering.training_steps(config).compile()
    return step, sum(leaf.size for leaf in jax.tree.leaves(state.params) if leaf.ndim > 1)


def exchange_seconds(device: Device, count: int, reduce_count: int, total_bytes: int) -> float:
    """Seconds that all-reduces of ``total_bytes`` together take over ``count`` devices.

    Within a node or a TPU slice a ring moves 2 (N-1)/N of the bytes over a device's links. Between
    nodes each device exchanges its part of the node's sum over its own network connection.
    """
    local = min(count, GPUS_PER_NODE) if device.network_bytes_per_second else count
    seconds = 2 * (local - 1) / local * total_bytes / device.link_bytes_per_second
    if count > local:
        nodes = count // local
        network_bytes = 2 * (nodes - 1) / nodes * total_bytes / local
        seconds += network_bytes / device.network_bytes_per_second
    return seconds + reduce_count * 2 * math.log2(count) * HOP_SECONDS


def main() -> None:
    jax.config.update("jax_num_cpu_devices", 8)
    step, kernel_elements = compile_step()
    reduces = compiled.collectives(step.as_text())["all-reduce"]
    total_bytes = sum(reduces) - 2 * kernel_elements
    flops_per_frame = step.cost_analysis()["flops"] / FRAMES_PER_DEVICE
    print(f"{flops_per_frame / 1e9:.1f} GFLOP a frame; {len(reduces)} all-reduces:", end=" ")
    print(f"{sum(reduces) / 1e6:.1f} MB in float32, {total_bytes / 1e6:.1f} MB on accelerators\n")
    titles = "", "devices", "step, ms", "exchange, ms", "computing", "frames a device for 95%"
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name, device in DEVICES.items():
        frame_seconds = flops_per_frame / (device.utilisation * device.flops_per_second)
        compute = FRAMES_PER_DEVICE * frame_seconds
        for count in (count for count in DEVICE_COUNTS if count <= device.max_count):
            exchange = exchange_seconds(device, count, len(reduces), total_bytes)
            frames = math.ceil(COMPUTE_TO_EXCHANGE_AT_95_PERCENT * exchange / frame_seconds)
            cells = f"{1e3 * compute:.1f} | {1e3 * exchange:.1f}"
            print(
                f"| {name} | {count} | {cells} | {compute / (compute + exchange):.0%} | {frames} |"
            )


if __name__ == "__main__":
    main()
