"""Benchmarks an accelerator at the thesis's size; prints one table within ten minutes.

    python -m benchmarks.gpu --results=FOLDER [--film=FILM] [--torch_python=PYTHON] [--minutes=9]
        [any flag of vae_gan_jax.main, for every row]

Each row is a process with ``--mode=benchmark`` that writes its result into the folder, so that the
same command resumes after an interruption. With ``--film``, frames come from the film, and it is
also reconstructed from file to file, with and without the networks. With ``--torch_python``, the
PyTorch port is compared last (see compare.py). Rows without a result are listed at the end.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROWS = {  # flags that differ from the thesis's size; the most important row first
    "thesis": [],
    "best.flags": ["--flagfile=experiments/blade_best.flags", "--film=", "--frames_dir="],
    "float32": ["--precision=float32"],
    "frames sent by the host": ["--data_placement=host"],
    "mini-batches of 96": ["--batch_size=96"],
    "512×288": ["--flagfile=experiments/blade_512.flags", "--film=", "--frames_dir="],
    "1024×576": ["--flagfile=experiments/blade_1024.flags", "--film=", "--frames_dir="],
}
PEERS = ["--precision=bfloat16", "--compile", "--rounds=3", "--steps=50", "--batches=200"]
COLUMNS = {
    "training, frames/s": lambda got: f"{got['training']['frames_per_second']:,.0f}",
    "of a matrix product's rate": lambda got: _percent(got["training"]["share_of_matrix_product"]),
    "waiting for frames": lambda got: f"{got['training']['waiting_share']:.1%}",
    "memory, GB": lambda got: _gigabytes(_device_bytes(got["memory"])),
    "compiling, s": lambda got: f"{got['training']['compiling_seconds']:.0f}",
    "reconstruction, frames/s": lambda got: f"{got['reconstruction']['frames_per_second']:,.0f}",
    "film to film": lambda got: _rate(got, "film_frames_per_second"),
    "ffmpeg alone": lambda got: _rate(got, "film_frames_per_second_past_the_networks"),
}


def _percent(share: float | None) -> str:
    return "unknown" if share is None else f"{share:.0%}"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f}"


def _device_bytes(memory: dict) -> int:
    """Peak device memory; an estimate on devices that do not report it."""
    estimate = memory["state_bytes"] + (memory["temporary_bytes"] or 0)
    return memory["device_peak_bytes"] or estimate


def _rate(got: dict, name: str) -> str:
    return f"{got['reconstruction'][name]:,.0f}" if name in got["reconstruction"] else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, required=True, help="folder for the results")
    parser.add_argument("--film")
    parser.add_argument("--torch_python", help="a Python with torch")
    parser.add_argument("--minutes", type=float, default=9.0)
    given, flags = parser.parse_known_args()
    end = time.monotonic() + 60 * given.minutes
    given.results.mkdir(parents=True, exist_ok=True)
    rows, missing = {}, []
    for number, (name, own) in enumerate(ROWS.items()):
        path = given.results / f"{number}.json"
        command = [sys.executable, "-m", "vae_gan_jax.main", "--mode=benchmark", "--seconds=8"]
        film = [f"--film={given.film}", f"--run_dir={given.results / 'run'}"]
        command += [f"--output={path}", *(film if given.film and not own else []), *own, *flags]
        if not path.exists() and _run(command, end):
            print(f"{name}: {' '.join(command[3:])}", file=sys.stderr, flush=True)
        if path.exists():
            rows[name] = json.loads(path.read_text())
        else:
            missing.append(name)
    print(_table(rows), flush=True)
    if given.torch_python:
        python = f"--torch_python={given.torch_python}"
        if not _run([sys.executable, "-m", "benchmarks.compare", python, *PEERS], end):
            missing.append("the port")
    if missing:
        print(f"not measured: {', '.join(missing)}")
    return bool(missing)


def _run(command: list[str], end: float) -> bool:
    """Whether the command succeeded in time."""
    try:
        result = subprocess.run(command, check=False, timeout=max(0.1, end - time.monotonic()))
    except subprocess.TimeoutExpired:
        return False
    return result.returncode == 0


def _table(rows: dict[str, dict]) -> str:
    lines = [f"| | {' | '.join(COLUMNS)} |", f"|---|{'---|' * len(COLUMNS)}"]
    for name, got in rows.items():
        lines.append(f"| {name} | {' | '.join(show(got) for show in COLUMNS.values())} |")
    rates: dict[str, float] = {}
    for got in rows.values():
        machine = f"{got['machine']['device']}, jax {got['machine']['jax']}"
        machine += f": a matrix product in {got['settings']['precision']} runs at"
        rate = got["machine"]["matrix_product_gflop_per_second"] / 1000
        rates[machine] = max(rate, rates.get(machine, 0.0))
    speeds = [f"{machine} {rate:,.3g} TFLOP/s" for machine, rate in rates.items()]
    return "\n".join([*lines, "", *speeds])


if __name__ == "__main__":
    sys.exit(main())
