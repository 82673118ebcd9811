"""Whether a frame costs the same in a long film as in a short one, and memory stays where it is.

    python -m benchmarks.growth [--rounds=2] [any flag of vae_gan_jax.main]

Trains on stores of several lengths, in turns, frames on the host, each in a process of its own. The
stores are files of zeros without blocks on the disk, so what is compared is everything but that
disk: order, gathering, transfer, and the pages of the file in memory.
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

COUNTS = (1_000, 10_000, 157_224)  # the last is Blade Runner's
SMALL = ["--filters=2", "--z_dim=8", "--data_placement=host", "--seconds=8"]


def measure(count: int, arguments: list[str]) -> dict[str, float]:
    """Training's figures on so many frames, and the memory that is not the file's, in bytes."""
    from vae_gan_jax import main as program
    from vae_gan_jax.config import Config
    from vae_gan_jax.evaluation import benchmark

    flags.FLAGS(["growth", *SMALL, *arguments])
    config = Config(**program.given_settings())
    shape = count, config.height, config.width, 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frames.u8"
        with path.open("wb") as file:
            file.truncate(int(np.prod(shape, dtype=np.int64)))
        frames_THWC = np.memmap(path, np.uint8, "r", shape=shape)
        training = benchmark.measure(config, frames_THWC, np.arange(count))["training"]
        status = Path("/proc/self/status").read_text()
    own = next(line.split()[1] for line in status.splitlines() if line.startswith("RssAnon"))
    names = ("frames_per_second", "waiting_share")
    return {name: training[name] for name in names} | {"memory": int(own) * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given, rest = parser.parse_known_args()
    if given.count:
        print(json.dumps(measure(given.count, rest)))
        return
    got = {count: [] for count in COUNTS}
    for _ in range(given.rounds):
        for count in COUNTS:
            command = [sys.executable, "-m", "benchmarks.growth", f"--count={count}", *rest]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            got[count].append(json.loads(done.stdout))
    print("| frames | frames/s, each round | waiting | memory but for the file's, GB |")
    print("|---|---|---|---|")
    for count, rounds in got.items():
        rates = ", ".join(f"{one['frames_per_second']:.0f}" for one in rounds)
        waiting = statistics.median(one["waiting_share"] for one in rounds)
        memory = statistics.median(one["memory"] for one in rounds) / 1e9
        print(f"| {count:,} | {rates} | {waiting:.2%} | {memory:.2f} |")


if __name__ == "__main__":
    main()
