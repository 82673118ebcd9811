"""Which settings make better pictures than the thesis's, at the same steps: one table.

    python -m benchmarks.pictures --films=FOLDER [--only=NAME;NAME] [--seeds=0,1,2] [--film=bunny]
    python -m benchmarks.pictures --films=FOLDER --size=256x144x80 [--schedule=0.25,0.05]

FOLDER holds a 24 fps Big Buck Bunny and the Sintel trailer (Blender Foundation). Each candidate
learns each film with the same steps, seed and size, and is measured by ``--mode=evaluate``; larger
than the smallest size, where a row takes three minutes, the finalists alone unless others are
named. What is measured is kept in ``pictures.json`` beside this file and not measured again, so the
same command goes on where it stopped; at the end the tables in ``RESULTS.md`` are written anew. A
row of a candidate that is no longer listed here stays: what did not pay was deleted, its measures
were not.
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
KEPT, RESULTS = HERE / "pictures.json", HERE / "RESULTS.md"
BEGIN, END = "<!-- pictures: begin -->", "<!-- pictures: end -->"
# Width, height, filters; the last is the thesis's.
SIZES = ("64x36x16", "128x72x16", "256x144x16", "256x144x80")
SMALLEST = SIZES[0]
# Name: file, its flags, its schedule: the thesis's, drawn out to some 1,200 steps of 12.
FILMS = {
    "bunny": (
        "big_buck_bunny*.mp4",  # 100 s around the black at 299: 200 steps an epoch
        ["--trim_start=240", "--trim_end=340"],
        "0.25,0.1,0.1,0.05,0.05,0.05",
    ),
    "sintel": (
        "sintel_trailer*.mp4",  # 52 s, a fifth of it all but black: 104 steps an epoch
        [],
        "0.25,0.25,0.1,0.1,0.1,0.1,0.05,0.05,0.05,0.05,0.05,0.05",
    ),
}
DEFAULT = "the thesis's recipe"
FINALISTS = (DEFAULT, "best.flags")
# Name: flags, and why it might help.
CANDIDATES = {
    DEFAULT: ([], ""),
    "KL weight 0.1": (["--kl_weight=0.1"], "the KL pulls all codes together"),
    "KL weight 0.01": (["--kl_weight=0.01"], "the same, further"),
    "β₁ 0.9": (["--adam_b1=0.9"], "steadier steps"),
    "adversarial weight 0": (["--adversarial_weight=0"], "its noise; what it brings"),
    "z 400": (["--z_dim=400"], "room for more"),
    "learning rate 5e-4": (["--learning_rate=5e-4"], "few steps"),
    "plain VAE on pixels": (
        ["--pixel_share=1", "--adversarial_weight=0", "--kl_weight=0.01"],
        "the peer without a discriminator",
    ),
    "pixels 0.1": (["--pixel_share=0.1"], "colour and brightness as they are"),
    "pixels 0.5": (["--pixel_share=0.5"], "the same, further"),
    "average 0.1": (["--ema_span=0.1"], "the noise of the last steps"),
}
# The codes' freedom, pixels beside the discriminator's layers, averaged weights: in other doses.
TOGETHER = ["--kl_weight=0.01", "--ema_span=0.1"]
CANDIDATES |= {
    f"KL 0.01, average 0.1, {name}": ([*TOGETHER, *flags], "what paid, together")
    for name, flags in {
        "pixels 0.5, rate 5e-4": ["--pixel_share=0.5", "--learning_rate=5e-4"],
        "pixels 0.8, rate 5e-4": ["--pixel_share=0.8", "--learning_rate=5e-4"],
        "pixels 0.8, rate 1e-3": ["--pixel_share=0.8", "--learning_rate=1e-3"],
        "pixels 0.95, rate 5e-4": ["--pixel_share=0.95", "--learning_rate=5e-4"],
    }.items()
}
# Frames by novelty, black within the decoder's reach; pixels as means of squares.
NOVEL = [*TOGETHER, "--frame_reweighting=0.5", "--tanh_scale=1.25"]
SQUARES = ["--pixel_share=0.95", "--luma_pool=2"]
SQUARED = "KL 0.01, average 0.1, pixels 0.95 in squares 2"
CANDIDATES |= {
    "without the linear path": (
        [*NOVEL, "--pixel_share=0.75", "--learning_rate=3e-4"],
        "the preset before it had one",
    ),
    f"{SQUARED}, novelty 0.5, output range 1.25": ([*NOVEL, *SQUARES], "movement before calm"),
    f"{SQUARED}, output range 1.25": (
        [*TOGETHER, *SQUARES, "--tanh_scale=1.25"],
        "what novelty brings",
    ),
    f"{SQUARED}, novelty 0.5": (
        [*TOGETHER, *SQUARES, "--frame_reweighting=0.5"],
        "what the range brings",
    ),
}
# The film's principal components past the convolutions, which leave room for detail.
BRIGHT = ["--pixel_share=0.75", "--luma_pool=2", "--learning_rate=3e-4", "--linear_skip"]
CANDIDATES |= {
    "best.flags": ([*NOVEL, *BRIGHT, "--logit_fan_in=4096"], "what pays, together"),
    "best.flags, the logit of 1,024 features": (
        [*NOVEL, *BRIGHT, "--logit_fan_in=1024"],
        "the same, further",
    ),
    "best.flags, the logit undivided": ([*NOVEL, *BRIGHT], "what its scale brings"),
    "best.flags, the logit undivided, z 400": ([*NOVEL, *BRIGHT, "--z_dim=400"], "room for more"),
    "the linear path alone": (["--linear_skip"], "low frequencies from the first step on"),
}
# Key in the measures, column, decimals.
COLUMNS = (
    ("psnr", "PSNR", 2),
    ("psnr_darkest_fifth", "darkest fifth", 2),
    ("black_error", "black", 1),
    ("recognised_half_second", "half second", 3),
    ("retention", "R", 2),
    ("aligned_retention", "β", 3),
    ("sharpness", "sharpness", 2),
    ("active_units", "units", 0),
)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--films", type=Path, help="the folder of films; without: the table alone")
    parser.add_argument("--runs", type=Path, default=Path("runs/pictures"))
    parser.add_argument("--only", help="names of candidates, separated by semicolons")
    parser.add_argument("--film", choices=FILMS, help="only this one")
    parser.add_argument("--size", choices=SIZES, default=SMALLEST)
    parser.add_argument("--schedule", help="--noise_schedule in place of the film's own")
    parser.add_argument("--seeds", default="0", help="separated by commas")
    return parser.parse_args()


def setting(given, film: str, name: str, seed: int) -> dict:
    """What a row is known by."""
    schedule = given.schedule or FILMS[film][2]
    return dict(film=film, name=name, seed=seed, size=given.size, schedule=schedule)


def measure(given, row: dict) -> dict:
    """Trains a candidate on a film and measures it: a row, whose setting is given."""
    pattern, film_flags, _ = FILMS[row["film"]]
    paths = sorted(given.films.glob(pattern))
    if not paths:
        sys.exit(f"there is no {pattern} in {given.films}.")
    candidate, reason = CANDIDATES[row["name"]]
    width, height, filters = row["size"].split("x")
    size = [f"--width={width}", f"--height={height}", f"--filters={filters}"]
    run = given.runs / "_".join(map(str, row.values())).translate(str.maketrans(" ,", "_-"))
    places = [f"--run_dir={run}", f"--film={paths[0]}", f"--frames_dir={given.runs / 'frames'}"]
    learning = [f"--noise_schedule={row['schedule']}", f"--seed={row['seed']}", *candidate]
    kept = ["--sample_every=0", "--keep_epochs=1"]
    for mode in ("prepare", "train", "evaluate"):
        flags = [f"--mode={mode}", *places, *film_flags, *size, *learning, *kept]
        subprocess.run(
            [sys.executable, "-m", "vae_gan_jax.main", *flags],
            check=True,
            stderr=subprocess.DEVNULL,  # it is in the run's log.txt
        )
    measured = json.loads((run / "measures" / f"{paths[0].stem}.json").read_text())
    return {
        **row,
        "flags": candidate,
        "reason": reason,
        "day": datetime.date.today().isoformat(),
        "steps": measured["step"],
        **{key: measured["whole"][key] for key, *_ in COLUMNS},
    }


def tables(rows: list[dict]) -> str:
    """All that is measured, a table for each size and film, a line for each candidate and schedule.

    Measures are means over seeds, with their spread.
    """
    titles = ["candidate", "flags", "steps", "seeds", *(title for _, title, _ in COLUMNS)]
    lines = []
    for size, film in itertools.product(SIZES, FILMS):
        alike = {}
        for row in rows:
            if (row["size"], row["film"]) == (size, film):
                alike.setdefault((row["name"], row["schedule"]), []).append(row)
        if not alike:
            continue
        width, height, filters = size.split("x")
        lines += ["", f"**{film}, {width}×{height}, {filters} filters**", ""]
        lines += [_line(titles), _line(["---"] * len(titles))]
        for (name, _), seeds in alike.items():
            flags = " ".join(flag.removeprefix("--") for flag in seeds[0]["flags"])
            cells = [_cell([row[key] for row in seeds], digits) for key, _, digits in COLUMNS]
            count = [f"{seeds[0]['steps']:,}", str(len(seeds))]
            lines.append(_line([name, f"`{flags}`" if flags else "", *count, *cells]))
    return "\n".join(lines[1:])


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(values: list[float | None], digits: int) -> str:
    if None in values:
        return "–"
    spread = f" ±{statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{spread}"


def main() -> None:
    given = parse()
    rows = json.loads(KEPT.read_text()) if KEPT.exists() else []
    listed = CANDIDATES if given.size == SMALLEST else FINALISTS
    names = given.only.split(";") if given.only else listed
    films = [given.film] if given.film else FILMS
    for seed, name, film in itertools.product(map(int, given.seeds.split(",")), names, films):
        wanted = setting(given, film, name, seed)
        if given.films is None or any(wanted.items() <= row.items() for row in rows):
            continue
        row = measure(given, wanted)
        rows = json.loads(KEPT.read_text()) if KEPT.exists() else []
        rows.append(row)
        atomic_io.write(KEPT, json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
        print(json.dumps(row, ensure_ascii=False), flush=True)
    before, _, rest = RESULTS.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest:
        sys.exit(f"{RESULTS} has no {BEGIN}.")
    atomic_io.write(RESULTS, f"{before}{BEGIN}\n{tables(rows)}\n{END}{after}")


if __name__ == "__main__":
    main()
