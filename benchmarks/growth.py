"""Checks that time per frame and memory do not grow with the length of the film.

    python -m benchmarks.growth [--rounds=2] [any flag of vae_gan_jax.main]

Trains on frame stores of several lengths in turn, each in its own process, with the frames on the
host. The stores are sparse files of zeros, so the disk is not measured: what is compared is the
shuffle, the gathering and transfer of frames, and the memory-mapped pages.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from absl import flags

FRAME_COUNTS = (1_000, 10_000, 157_224)  # the last is the length of Blade Runner
SMALL_NETWORK = ["--filters=2", "--z_dim=8", "--data_placement=host", "--seconds=8"]


def measure(count: int, arguments: list[str]) -> dict[str, float]:
    """Training speed on ``count`` frames, and the memory in bytes without the mapped file."""
    from vae_gan_jax import main as program
    from vae_gan_jax.config import Config
    from vae_gan_jax.evaluation import benchmark
    from vae_gan_jax.film.store.training_frames import TrainingFrames

    flags.FLAGS(["growth", *SMALL_NETWORK, *arguments])
    config = Config(**program.given_settings())
    shape = count, config.height, config.width, 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.u8"
        with path.open("wb") as file:
            file.truncate(int(np.prod(shape, dtype=np.int64)))
        frames_THWC = np.memmap(path, np.uint8, "r", shape=shape)
        training = benchmark.measure(config, TrainingFrames(frames_THWC))["training"]
        status = Path("/proc/self/status").read_text()
    anonymous_kb = next(
        line.split()[1] for line in status.splitlines() if line.startswith("RssAnon")
    )
    names = ("frames_per_second", "waiting_share")
    return {name: training[name] for name in names} | {"memory": int(anonymous_kb) * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2, help="repetitions of each length")
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    options, rest = parser.parse_known_args()
    if options.count:
        print(json.dumps(measure(options.count, rest)))
        return
    results = {count: [] for count in FRAME_COUNTS}
    for _ in range(options.rounds):
        for count in FRAME_COUNTS:
            command = [sys.executable, "-m", "benchmarks.growth", f"--count={count}", *rest]
            process = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            results[count].append(json.loads(process.stdout))
    print("| frames | frames/s, each round | waiting | memory without the file, GB |")
    print("|---|---|---|---|")
    for count, rounds in results.items():
        rates = ", ".join(f"{repeat['frames_per_second']:.0f}" for repeat in rounds)
        waiting = statistics.median(repeat["waiting_share"] for repeat in rounds)
        memory = statistics.median(repeat["memory"] for repeat in rounds) / 1e9
        print(f"| {count:,} | {rates} | {waiting:.2%} | {memory:.2f} |")


if __name__ == "__main__":
    main()
