"""Compares settings with the thesis's recipe after the same number of steps, in one table.

    python -m benchmarks.pictures --films=FOLDER [--only=NAME;NAME] [--seeds=0,1,2] [--film=bunny]
    python -m benchmarks.pictures --films=FOLDER --size=256x144x80 [--schedule=0.25,0.05]
    python -m benchmarks.pictures --films=FOLDER --hold_out=10s/50s
    python -m benchmarks.pictures            # writes the tables from the existing measurements

FOLDER holds a 24 fps Big Buck Bunny and the Sintel trailer (Blender Foundation). Each candidate
learns each film with the same steps, seed and size and is measured by ``--mode=evaluate``. A row
takes three minutes at the smallest size; larger sizes run only the finalists, unless --only names
others. Measurements are stored in ``pictures.json`` beside this file and are not repeated, so the
same command resumes after an interruption. With --hold_out, frames are kept from training and
measured apart; an epoch then has fewer steps, which the tables tell. At the end it writes
``results/pictures_tables.md``. Rows of earlier presets, which are no longer listed here, stay.
"""

import argparse
import datetime
import itertools
import json
import statistics
import subprocess
import sys
from pathlib import Path

from vae_gan_jax.run import atomic_io

HERE = Path(__file__).parent
MEASUREMENTS = HERE / "pictures.json"
TABLES = HERE / "results" / "pictures_tables.md"
TABLES_HEAD = """\
# Pictures: all measurements

`python -m benchmarks.pictures` writes this file from `benchmarks/pictures.json`.
[pictures.md](pictures.md) says what the rows mean and what was learnt from them.
"""
# Width, height, filters; the last is the thesis's size.
SIZES = ("64x36x16", "128x72x16", "256x144x16", "256x144x80")
SMALLEST_SIZE = SIZES[0]
# Name: file, flags, and the thesis's noise schedule, stretched to about 1,200 steps of 12 frames.
FILMS = {
    "bunny": (
        "big_buck_bunny*.mp4",  # 100 s around the black frames at 299 s: 200 steps an epoch
        ["--trim_start=240", "--trim_end=340"],
        "0.25,0.1,0.1,0.05,0.05,0.05",
    ),
    "sintel": (
        "sintel_trailer*.mp4",  # 52 s, a fifth of them nearly black: 104 steps an epoch
        [],
        "0.25,0.25,0.1,0.1,0.1,0.1,0.05,0.05,0.05,0.05,0.05,0.05",
    ),
}
THESIS = "the thesis's recipe"
FINALISTS = (THESIS, "best.flags")
PRESET = (HERE.parent / "experiments" / "best.flags").read_text(encoding="utf-8")
# Name: flags.
CANDIDATES = {
    THESIS: [],
    # One setting at a time.
    "KL weight 0.1": ["--kl_weight=0.1"],
    "KL weight 0.01": ["--kl_weight=0.01"],
    "adversarial weight 0": ["--adversarial_weight=0"],
    "z 400": ["--z_dim=400"],
    "learning rate 5e-4": ["--learning_rate=5e-4"],
    "pixel share 0.1": ["--pixel_share=0.1"],
    "pixel share 0.5": ["--pixel_share=0.5"],
    # The usual alternative without a discriminator.
    "plain VAE on pixels": ["--pixel_share=1", "--adversarial_weight=0", "--kl_weight=0.01"],
    "best.flags": [line for line in PRESET.splitlines() if line.startswith("--")],
}
# Key in the measures of the whole film, column, decimals.
COLUMNS = (
    ("psnr", "PSNR", 2),
    ("psnr_darkest_fifth", "darkest fifth", 2),
    ("black_error", "black", 1),
    ("recognised_half_second", "half second", 3),
    ("retention", "R", 2),
    ("aligned_retention", "β", 3),
    ("sharpness", "sharpness", 2),
    ("active_units", "units", 0),
    ("half_way_ratio", "half-way ratio", 2),
    ("film_path_ratio", "film-path ratio", 2),
    ("prior_ratio", "prior ratio", 2),
    ("mixture_ratio", "mixture ratio", 2),
)
# Part of the film whose PSNR is a column, column.
PARTS = (("held_out", "held-out PSNR"), ("gap", "gap"))


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pictures", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--films", type=Path, help="folder of the films; default: tables only")
    parser.add_argument("--runs", type=Path, default=Path("runs/pictures"), help="folder of runs")
    parser.add_argument("--only", help="names of candidates, separated by semicolons")
    parser.add_argument("--film", choices=FILMS, help="only this film")
    parser.add_argument("--size", choices=SIZES, default=SMALLEST_SIZE, help="WxHxFILTERS")
    parser.add_argument("--schedule", help="noise schedule, instead of the film's own")
    parser.add_argument("--hold_out", default="", help="frames to keep from training")
    parser.add_argument("--seeds", default="0", help="separated by commas")
    arguments = parser.parse_args()
    listed = CANDIDATES if arguments.size == SMALLEST_SIZE else FINALISTS
    arguments.only = arguments.only.split(";") if arguments.only else list(listed)
    if unknown := set(arguments.only) - set(CANDIDATES):
        parser.error(f"--only: unknown candidate {', '.join(sorted(unknown))}")
    return arguments


def measure(arguments: argparse.Namespace, row: dict) -> dict:
    """Trains a candidate on a film and returns its row with the measures."""
    pattern, film_flags, _ = FILMS[row["film"]]
    paths = sorted(arguments.films.glob(pattern))
    if not paths:
        sys.exit(f"{arguments.films} has no {pattern}: give the folder of the films with --films.")
    width, height, filters = row["size"].split("x")
    name = "_".join(str(value) for value in row.values() if value != "")
    run = arguments.runs / name.translate(str.maketrans(" ,/", "_--"))
    flags = [
        f"--run_dir={run}",
        f"--film={paths[0]}",
        f"--frames_dir={arguments.runs / 'frames'}",
        *film_flags,
        *(f"--width={width}", f"--height={height}", f"--filters={filters}"),
        *(f"--noise_schedule={row['schedule']}", f"--seed={row['seed']}"),
        *CANDIDATES[row["name"]],
        *([f"--hold_out={row['hold_out']}"] if row["hold_out"] else []),
        *("--sample_every=0", "--keep_epochs=1"),
    ]
    for mode in ("prepare", "train", "evaluate"):
        run_mode(mode, flags)
    measures = json.loads((run / "measures" / f"{paths[0].stem}.json").read_text())
    return {
        **row,
        "flags": CANDIDATES[row["name"]],
        "day": datetime.date.today().isoformat(),
        "steps": measures["step"],
        **{key: measures["whole"][key] for key, *_ in COLUMNS},
        **{f"psnr_{part}": measures[part]["psnr"] for part, _ in PARTS if part in measures},
    }


def run_mode(mode: str, flags: list[str]) -> None:
    """Runs the program in a process of its own; its last message ends this one if it fails."""
    command = [sys.executable, "-m", "vae_gan_jax.main", f"--mode={mode}", *flags]
    process = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    if process.returncode:
        sys.exit("\n".join([" ".join(command), *process.stderr.splitlines()[-1:]]))


def read_measurements() -> list[dict]:
    return json.loads(MEASUREMENTS.read_text()) if MEASUREMENTS.exists() else []


def add_measurement(row: dict) -> None:
    """Adds a row to what the file holds by now, one row on each line."""
    rows = [json.dumps(each, ensure_ascii=False) for each in (*read_measurements(), row)]
    atomic_io.write(MEASUREMENTS, "[\n" + ",\n".join(rows) + "\n]\n")


def is_measured(row: dict, measurements: list[dict]) -> bool:
    """Whether a row is measured; the older measurements name no hold-out and had none."""
    return any(row.items() <= ({"hold_out": ""} | other).items() for other in measurements)


def format_tables(rows: list[dict]) -> str:
    """One table for each size, film and hold-out, one line for each candidate and schedule.

    Measures are means over seeds, ± their standard deviation.
    """
    columns = [*COLUMNS, *((f"psnr_{part}", title, 2) for part, title in PARTS)]
    hold_outs = dict.fromkeys(row.get("hold_out", "") for row in rows)
    lines = []
    for size, film, hold_out in itertools.product(SIZES, FILMS, hold_outs):
        candidates = {}
        for row in rows:
            if (row["size"], row["film"], row.get("hold_out", "")) == (size, film, hold_out):
                candidates.setdefault((row["name"], row["schedule"]), []).append(row)
        if not candidates:
            continue
        width, height, filters = size.split("x")
        held_out = f", {hold_out} held out" if hold_out else ""
        shown = columns if hold_out else columns[: len(COLUMNS)]
        titles = ["candidate", "flags", "steps", "seeds", *(title for _, title, _ in shown)]
        lines += ["", f"**{film}, {width}×{height}, {filters} filters{held_out}**", ""]
        lines += [_format_line(titles), _format_line(["---"] * len(titles))]
        for (name, _), seeds in candidates.items():
            flags = " ".join(flag.removeprefix("--") for flag in seeds[0]["flags"])
            cells = [
                _format_cell([row.get(key) for row in seeds], digits) for key, _, digits in shown
            ]
            counts = [f"{seeds[0]['steps']:,}", str(len(seeds))]
            lines.append(_format_line([name, f"`{flags}`" if flags else "", *counts, *cells]))
    return "\n".join(lines) + "\n"


def _format_line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _format_cell(values: list[float | None], digits: int) -> str:
    if None in values:
        return "–"
    spread = f" ±{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main() -> None:
    arguments = parse_arguments()
    seeds = map(int, arguments.seeds.split(","))
    films = [arguments.film] if arguments.film else FILMS
    for seed, name, film in itertools.product(seeds, arguments.only, films):
        schedule = arguments.schedule or FILMS[film][2]
        row = dict(film=film, name=name, seed=seed, size=arguments.size, schedule=schedule)
        row["hold_out"] = arguments.hold_out
        if arguments.films and not is_measured(row, read_measurements()):
            row = measure(arguments, row)
            add_measurement(row)
            print(json.dumps(row, ensure_ascii=False), flush=True)
    atomic_io.write(TABLES, TABLES_HEAD + format_tables(read_measurements()))


if __name__ == "__main__":
    main()
