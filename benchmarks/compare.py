"""Compares the speed of several networks, of their exports, and of the PyTorch port.

    python -m benchmarks.compare [--rounds=5] --side= --side=--filters=16
        --side=--networks=residual --side="--networks=residual --filters=16"
    python -m benchmarks.compare --onnxruntime --side= --side=--networks=residual
    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install -r benchmarks/requirements-pytorch.txt
    python -m benchmarks.compare --torch_python=/tmp/torch/bin/python [--rounds=5] [--compile]
        [--precision=bfloat16] [--width=256 --height=144 --filters=80 --batch_size=12]

The sides are processes that work in turns, so that other load on the machine slows all of them.
Each --side is a set of flags of vae_gan_jax.main; by default there is one, the thesis's networks.
With --onnxruntime each gets a second side, which only reconstructs: ONNX Runtime with the
autoencoder.onnx of --mode=export; its ratios are to the networks that it was exported from.
It prints parameters, arithmetic and compiled memory of each side, then the median time over the
rounds, and the median, lowest and highest ratio of a round to the port, or else to the first side.
"""

import argparse
import json
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

PORT = Path(__file__).parent / "pytorch_port.py"
SIZES = dict(width=256, height=144, filters=80, z_dim=200, batch_size=12)
VERSIONS = ("jax", "torch", "device", "threads")
JOBS = ("training", "reconstruction")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", action="append", help="flags of vae_gan_jax.main, as one text")
    parser.add_argument("--torch_python", help="a Python with torch, to compare with the port")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="training steps per round")
    parser.add_argument("--batches", type=int, default=8, help="batches to reconstruct per round")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--onnxruntime", action="store_true", help="the exports of the sides too")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    for name, default in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def sizes_of(given) -> list[str]:
    return [f"--{name}={getattr(given, name)}" for name in (*SIZES, "precision")]


def serve(given) -> None:
    """This project's side: answers "JOB N" on stdin with times, as pytorch_port.py does."""
    from absl import flags

    from vae_gan_jax import main as program
    from vae_gan_jax.training import xla_flags

    xla_flags.prefer_eigen_convolutions()
    import jax
    import numpy as np

    from vae_gan_jax.config import Config
    from vae_gan_jax.inference.reconstruct import reconstruct_batch
    from vae_gan_jax.model import fuse_batch_norm
    from vae_gan_jax.training import train_state, train_step

    flags.FLAGS(["compare", *sizes_of(given), *shlex.split(given.side[0])])
    config = Config(**program.given_settings())
    key = jax.random.key(0)
    state = train_state.create(config, key)
    fused = fuse_batch_norm.fuse(state.inference_variables)
    shape = (config.batch_size, config.height, config.width, 3)
    frames_BHWC = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    if given.onnxruntime:
        answer({"reconstruction": onnx_reconstruction(config, state, frames_BHWC)})
        return
    frames_BHWC = jax.device_put(frames_BHWC)
    noise_std = jax.device_put(np.float32(0.1))
    arguments = config.step, fused, frames_BHWC, key, None, False
    lowered = {
        "training": train_step.jitted_step.lower(state, frames_BHWC, key, noise_std, config.step),
        "reconstruction": jax.jit(reconstruct_batch, static_argnums=(0, 5)).lower(*arguments),
    }
    compiled = {job: lowered[job].compile() for job in JOBS}
    facts = {
        "jax": jax.__version__,
        "device": str(jax.devices()[0]),
        "parameters": {
            name: sum(leaf.size for leaf in jax.tree.leaves(params))
            for name, params in state.params.items()
        },
        "state_bytes": sum(leaf.nbytes for leaf in jax.tree.leaves(state)),
    }
    for job in JOBS:
        cost, memory = lowered[job].cost_analysis(), compiled[job].memory_analysis()
        flop = cost and cost.get("flops")
        facts[job] = {
            "gflop_per_frame": flop and flop / config.batch_size / 1e9,
            "temporary_bytes": memory and memory.temp_size_in_bytes,
        }

    def train(count):
        nonlocal state
        for _ in range(count):
            state, _ = compiled["training"](state, frames_BHWC, key, noise_std)
        jax.block_until_ready(state)

    def reconstruct(count):
        for _ in range(count):
            result = reconstruct_batch(*arguments)
        jax.block_until_ready(result)

    answer({"training": train, "reconstruction": reconstruct}, facts)


def onnx_reconstruction(config, state, frames_BHWC):
    """A function that reconstructs batches of frames with autoencoder.onnx."""
    import jax
    import numpy as np
    import onnxruntime

    from vae_gan_jax.inference.export import onnx_networks
    from vae_gan_jax.model import fuse_batch_norm

    variables = fuse_batch_norm.fuse(state.inference_variables, winograd_form=False)
    variables = {name: jax.tree.map(np.asarray, variables[name]) for name in ("encoder", "decoder")}
    _, _, model = onnx_networks.models(config, variables, "float32", {})
    session = onnxruntime.InferenceSession(model.SerializeToString())

    def reconstruct(count):
        for _ in range(count):
            session.run(None, {"frames": frames_BHWC})

    return reconstruct


def answer(jobs: dict, facts: dict | None = None) -> None:
    """Prints the facts, then the times of each "JOB N" on stdin."""
    print(json.dumps({"jobs": list(jobs), **(facts or {})}), flush=True)
    for line in sys.stdin:
        job, count = line.split()
        start, processor = time.perf_counter(), time.process_time()
        jobs[job](int(count))
        times = time.perf_counter() - start, time.process_time() - processor
        print(json.dumps(times), flush=True)


class Side:
    """A process that times jobs."""

    def __init__(self, *command: str):
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        line = self._process.stdout.readline()
        if not line:
            sys.exit(f"this side failed: {shlex.join(command)}")
        self.facts = json.loads(line)

    def seconds(self, job: str, count: int) -> tuple[float, float]:
        """Wall clock time, and processor time of all cores."""
        self._process.stdin.write(f"{job} {count}\n")
        self._process.stdin.flush()
        return tuple(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def print_facts(sides: dict[str, Side]) -> None:
    """Parameters, arithmetic and memory of this project's sides."""
    for name, side in sides.items():
        facts = side.facts
        if "jax" not in facts:
            continue
        counts = [*facts["parameters"].values()]
        print(
            f"{name}: {sum(counts) / 1e6:.1f} M parameters ("
            + ", ".join(f"{n} {count / 1e6:.1f}" for n, count in facts["parameters"].items())
            + f"), state {facts['state_bytes'] / 1e9:.2f} GB"
        )
        for job in JOBS:
            gflop, memory = facts[job]["gflop_per_frame"], facts[job]["temporary_bytes"]
            arithmetic = "unknown" if gflop is None else f"{gflop:.2f} GFLOP a frame"
            temporary = "unknown" if memory is None else f"{memory / 1e9:.2f} GB"
            print(f"  {job}: arithmetic {arithmetic}, temporary memory {temporary}", flush=True)


def compare(all_sides: dict[str, Side], references: dict[str, str], given) -> None:
    """Times all sides in turns and prints the times and the ratios to their references."""
    for job, count in zip(JOBS, (given.steps, given.batches), strict=True):
        sides = {n: side for n, side in all_sides.items() if job in side.facts.get("jobs", JOBS)}
        for side in sides.values():
            side.seconds(job, 2)  # the port compiles
        rounds = [
            {name: side.seconds(job, count) for name, side in sides.items()}
            for _ in range(given.rounds)
        ]
        for kind, measure in enumerate(("wall", "processor")):
            for name in sides:
                seconds = statistics.median(times[name][kind] / count for times in rounds)
                ratios = [times[name][kind] / times[references[name]][kind] for times in rounds]
                rate = given.batch_size / seconds
                print(
                    f"{job:14} {measure:9} {seconds:8.3f} s a mini-batch ({rate:7.1f} frames/s)  "
                    f"ratio {statistics.median(ratios):.2f} "
                    f"({min(ratios):.2f} to {max(ratios):.2f})  {name}",
                    flush=True,
                )


def main() -> None:
    given = parse()
    if given.serve:
        serve(given)
        return
    sizes, serving = sizes_of(given), [sys.executable, "-m", "benchmarks.compare", "--serve"]
    sides, exported_from = {}, {}
    for side in given.side or [""]:
        sides[side or "here"] = Side(*serving, f"--side={side}", *sizes)
        if given.onnxruntime:
            name = f"ONNX Runtime {side}".strip()
            sides[name] = Side(*serving, "--onnxruntime", f"--side={side}", *sizes)
            exported_from[name] = side or "here"
    if given.torch_python:
        compiled = ["--compile"] if given.compile else []
        sides["port"] = Side(given.torch_python, str(PORT), *sizes, *compiled)
    for name, side in sides.items():
        print(name, {key: side.facts[key] for key in VERSIONS if key in side.facts})
    print_facts(sides)
    reference = "port" if given.torch_python else next(iter(sides))
    compare(sides, dict.fromkeys(sides, reference) | exported_from, given)
    for side in sides.values():
        side.close()


if __name__ == "__main__":
    main()
