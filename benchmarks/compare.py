"""Compares the speed of training and reconstruction with the PyTorch port.

    python3 -m venv /tmp/torch && /tmp/torch/bin/pip install -r benchmarks/requirements-pytorch.txt
    python -m benchmarks.compare --torch_python=/tmp/torch/bin/python [--rounds=5] [--compile]
        [--precision=bfloat16] [--width=256 --height=144 --filters=80 --batch_size=12]

The two sides are processes that work in turns, so that other load on the machine slows both. It
prints the median time of each side over the rounds, and the median, lowest and highest ratio of a
round. A ratio below 1 means that this project takes less time.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

PORT = Path(__file__).parent / "pytorch_port.py"
SIZES = dict(width=256, height=144, filters=80, z_dim=200, batch_size=12)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch_python", help="a Python with torch")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="training steps per round")
    parser.add_argument("--batches", type=int, default=8, help="batches to reconstruct per round")
    parser.add_argument("--precision", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--compile", action="store_true", help="torch.compile")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    for name, default in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    return parser.parse_args()


def serve(given) -> None:
    """This project's side: answers "JOB N" on stdin with times, as pytorch_port.py does."""
    import jax
    import numpy as np

    from vae_gan_jax.config import Config
    from vae_gan_jax.inference.reconstruct import reconstruct_batch
    from vae_gan_jax.model import fuse_batch_norm
    from vae_gan_jax.training import train_state, train_step, xla_flags

    xla_flags.prefer_eigen_convolutions()
    config = Config(**{name: getattr(given, name) for name in (*SIZES, "precision")})
    key = jax.random.key(0)
    state = train_state.create(config, key)
    fused = fuse_batch_norm.fuse(state.inference_variables)
    shape = (config.batch_size, config.height, config.width, 3)
    frames_BHWC = jax.device_put(np.random.default_rng(0).integers(0, 256, shape, np.uint8))
    noise_std = jax.device_put(np.float32(0.1))

    def train(count):
        nonlocal state
        for _ in range(count):
            state, _ = train_step.train_step(state, frames_BHWC, key, noise_std, config)
        jax.block_until_ready(state)

    def reconstruct(count):
        for _ in range(count):
            result = reconstruct_batch(config.step, fused, frames_BHWC, key, None, False)
        jax.block_until_ready(result)

    print(json.dumps({"jax": jax.__version__, "device": str(jax.devices()[0])}), flush=True)
    for line in sys.stdin:
        job, count = line.split()
        start, processor = time.perf_counter(), time.process_time()
        {"training": train, "reconstruction": reconstruct}[job](int(count))
        times = time.perf_counter() - start, time.process_time() - processor
        print(json.dumps(times), flush=True)


class Side:
    """A process that times jobs."""

    def __init__(self, *command: str):
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.versions = json.loads(self._process.stdout.readline())

    def seconds(self, job: str, count: int) -> tuple[float, float]:
        """Wall clock time, and processor time of all cores."""
        self._process.stdin.write(f"{job} {count}\n")
        self._process.stdin.flush()
        return tuple(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


def main() -> None:
    given = parse()
    if given.serve:
        serve(given)
        return
    sizes = [f"--{name}={getattr(given, name)}" for name in (*SIZES, "precision")]
    ours = Side(sys.executable, "-m", "benchmarks.compare", "--serve", *sizes)
    theirs = Side(given.torch_python, str(PORT), *sizes, *(["--compile"] if given.compile else []))
    print(ours.versions, theirs.versions, flush=True)
    frames = given.batch_size
    for job, count in (("training", given.steps), ("reconstruction", given.batches)):
        for side in (ours, theirs):
            side.seconds(job, 2)  # compiles
        pairs = [
            (ours.seconds(job, count), theirs.seconds(job, count)) for _ in range(given.rounds)
        ]
        for kind, measure in enumerate(("wall", "processor")):
            our_seconds, their_seconds = zip(
                *((a[kind] / count, b[kind] / count) for a, b in pairs), strict=True
            )
            ratios = [a / b for a, b in zip(our_seconds, their_seconds, strict=True)]
            ours_median, theirs_median = map(statistics.median, (our_seconds, their_seconds))
            print(
                f"{job:14} {measure:9} ours {ours_median:8.3f} s ({frames / ours_median:7.1f} "
                f"frames/s)  port {theirs_median:8.3f} s ({frames / theirs_median:7.1f} frames/s)  "
                f"ratio {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})",
                flush=True,
            )
    for side in (ours, theirs):
        side.close()


if __name__ == "__main__":
    main()
