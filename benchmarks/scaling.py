"""What many devices would make of the thesis's size, on paper: what a step exchanges against links.

    python -m benchmarks.scaling

Exchanged bytes and arithmetic are read from the step as compiled for eight devices of a CPU. Peaks
and links are published figures; SHARE and LATENCY are assumed; no such device has been measured.
Nothing is taken to be exchanged while computing: where a compiler overlaps the two, it is better.
"""

import math
import re

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec

SIZES = {"f32": 4, "s32": 4, "u32": 4, "pred": 1}
SHARE = 0.4  # of the peak that a step reaches
LATENCY = 5e-6  # seconds for each of the 2 log2(N) hops of an all-reduce
FRAMES = 12  # on each device
NODE = 8  # GPUs that NVLink joins
# Name: bf16 FLOP/s; bytes/s leaving a device by its fast links, and by its network; most devices.
DEVICES = {
    "H200": (989e12, 450e9, 50e9, math.inf),
    "TPU v5p": (459e12, 600e9, None, 8960),
    "TPU v5e": (197e12, 200e9, None, 256),
}


def compiled() -> tuple[jax.stages.Compiled, int]:
    """The step of the thesis's size on all devices, and the bytes of its gradients."""
    from vae_gan_jax.config import Config
    from vae_gan_jax.model import winograd
    from vae_gan_jax.training import train_state, train_step
    from vae_gan_jax.training.distributed import mesh

    winograd.fits = lambda *_: False  # plain convolutions, as an accelerator has them
    config = Config(batch_size=FRAMES * jax.device_count())

    def given(like, *axes):
        sharding = NamedSharding(mesh.device_mesh(), PartitionSpec(*axes))
        return jax.ShapeDtypeStruct(like.shape, like.dtype, sharding=sharding)

    key = given(jax.eval_shape(lambda: jax.random.key(0)))
    state = jax.eval_shape(lambda: train_state.create(config, jax.random.key(0)))
    shape = config.batch_size, config.height, config.width, 3
    frames_BHWC = given(jax.ShapeDtypeStruct(shape, jnp.uint8), mesh.DATA)
    noise_std = given(jax.ShapeDtypeStruct((), jnp.float32))
    arguments = jax.tree.map(given, state), frames_BHWC, key, noise_std, config
    with jax.set_mesh(mesh.device_mesh()):
        step = train_step.train_step.lower(*arguments).compile()
    return step, sum(4 * leaf.size for leaf in jax.tree.leaves(state.params))


def exchanged(text: str) -> list[int]:
    """The bytes of each all-reduce of a compiled step."""
    return [
        sum(
            SIZES[kind] * math.prod(map(int, filter(None, sides.split(","))))
            for kind, sides in re.findall(r"(\w+)\[([\d,]*)\]", result)
        )
        for result in re.findall(r"= (.*?) all-reduce(?:-start)?\(", text)
    ]


def exchange_seconds(count: int, reduces: int, size: int, links: float, network: float | None):
    """Of all-reduces of ``size`` bytes together over ``count`` devices, each the best way.

    Within a node or a slice by rings, 2 (N-1)/N of the bytes over a device's links; between nodes
    each device exchanges its part of the node's sum over its own network.
    """
    near = min(count, NODE) if network else count
    seconds = 2 * (near - 1) / near * size / links
    if count > near:
        nodes = count // near
        seconds += 2 * (nodes - 1) / nodes * size / near / network
    return seconds + reduces * 2 * math.log2(count) * LATENCY


def main() -> None:
    jax.config.update("jax_num_cpu_devices", 8)
    step, gradients = compiled()
    sizes, flops = exchanged(step.as_text()), step.cost_analysis()["flops"] / FRAMES
    large, total = [size for size in sizes if size > 1e6], sum(sizes) / 1e6
    print(f"{flops / 1e9:.1f} GFLOP a frame; gradients of {gradients / 1e6:.1f} MB; all-reduces:")
    print(f"{len(sizes)}, {total:.1f} MB; {len(large)} of these, {sum(large) / 1e6:.1f} MB\n")
    titles = "", "devices", "step, ms", "exchange, ms", "computing", "95%"
    print(f"| {' | '.join(titles)} |\n{'|---' * len(titles)}|")
    for name, (peak, links, network, most) in DEVICES.items():
        for count in (count for count in (8, 64, 512) if count <= most):
            frame = flops / (SHARE * peak)
            exchange = exchange_seconds(count, len(sizes), sum(sizes), links, network)
            computing = FRAMES * frame
            share, enough = computing / (computing + exchange), math.ceil(19 * exchange / frame)
            cells = f"{1e3 * computing:.1f} | {1e3 * exchange:.1f} | {share:.0%} | {enough}"
            print(f"| {name} | {count} | {cells} |")


if __name__ == "__main__":
    main()
