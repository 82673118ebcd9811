"""Injects faults into small runs and prints a table of how many each run survived.

    python -m benchmarks.faults [KIND...] [--scale=1.0]

A run survives a fault if it ends properly (with 128 + the signal's number, or with one sentence and
exit code 2) and if the same command, once the fault is gone, then produces what an undisturbed run
produces, bit for bit: parameters, Adam's moments, batch-norm statistics, metrics without their
times, sample grids, every frame and the sound of the film, and exactly the same files.

Full and read-only disks are small disks in memory. Mounting them needs root.
"""

import argparse
import os
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path

import jax
from tqdm import tqdm

from benchmarks.faults.checkpoint_faults import damaged_checkpoints
from benchmarks.faults.disk_faults import full_disks, run_folders
from benchmarks.faults.nan_faults import nan
from benchmarks.faults.process_faults import kills, signals
from benchmarks.faults.reference_run import ReferenceRun
from vae_gan_jax.training import xla_flags

# Name: the trials, and how many there are at --scale=1: in total for kills and damaged
# checkpoints, per phase or per place for the others.
KINDS = {
    "kills": (kills, 100),
    "signals": (signals, 4),
    "damaged_checkpoints": (damaged_checkpoints, 200),
    "nan": (nan, 4),
    "folders": (run_folders, 2),
    "full_disks": (full_disks, 6),
}


def run_trials(kinds: list[str], scale: float, folder: Path) -> bool:
    """Runs the trials of each kind, prints the table, and returns whether all were survived."""
    reference = ReferenceRun(folder)
    trials, survivals = Counter(), Counter()
    for kind in kinds:
        inject, count = KINDS[kind]
        for fault, problems in tqdm(inject(reference, max(1, round(count * scale))), desc=kind):
            trials[fault] += 1
            survivals[fault] += not problems
            for problem in problems:
                tqdm.write(f"{fault}: {problem}")
    print("| fault | tried | survived | lost |\n|---|---|---|---|")
    for fault, count in trials.items():
        print(f"| {fault} | {count} | {survivals[fault]} | {count - survivals[fault]} |")
    return survivals == trials


def main() -> int:
    xla_flags.prefer_eigen_convolutions()  # as the programs that it starts
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.faults", description=__doc__.splitlines()[0]
    )
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"{', '.join(KINDS)}; default all")
    parser.add_argument("--scale", type=float, default=1.0, help="multiplies the number of trials")
    arguments = parser.parse_args()
    if unknown := set(arguments.kinds) - set(KINDS):
        parser.error(f"unknown KIND {', '.join(sorted(unknown))}: choose from {', '.join(KINDS)}")
    # Networks this small spend nearly all their time in the compiler.
    os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"
    jax.config.update("jax_disable_most_optimizations", True)
    folder = Path(tempfile.mkdtemp(prefix="faults_"))
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / "compiled")
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    if not run_trials(arguments.kinds or list(KINDS), arguments.scale, folder):
        print(f"The runs that were lost are in {folder}.")
        return 1
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
