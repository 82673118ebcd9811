"""How fast films become frames and frames films, against ffmpeg doing the same by itself.

    python -m benchmarks.film_io FILM [--seconds=60] [--rounds=3]

Each job is done in turn with ffmpeg's own, so that whatever else the machine is busy with slows
both; the rates are of the medians.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import imageio_ffmpeg

from vae_gan_jax.film.passthrough import passthrough
from vae_gan_jax.film.read.video import Framing, probe
from vae_gan_jax.film.store import preparation

FRAMING = Framing(256, 144)


def run_ffmpeg(*arguments) -> None:
    """Runs the bundled ffmpeg as a user would."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]
    subprocess.run([*command, *map(str, arguments)], check=True)


def seconds_of(job) -> float:
    """How long a job takes, its progress bar unseen."""
    start = time.perf_counter()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        job()
    return time.perf_counter() - start


def compare(name: str, film: Path, ours, plain, rounds: int) -> None:
    """Prints both rates, in frames a second, and their ratio."""
    times = [(seconds_of(ours), seconds_of(plain)) for _ in range(rounds)]
    our_seconds, plain_seconds = map(statistics.median, zip(*times, strict=True))
    frames = probe(film).frames
    print(
        f"{name:32} {frames / our_seconds:8.0f} {frames / plain_seconds:8.0f} "
        f"{plain_seconds / our_seconds:6.2f}",
        flush=True,
    )


def main() -> None:
    """Measures a film as it is, and scaled up to 1280x720."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("film", type=Path)
    parser.add_argument("--seconds", type=float, default=60, help="of the film")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        part, large = folder / "part.mp4", folder / "large.mp4"
        run_ffmpeg("-i", given.film, "-t", given.seconds, "-c", "copy", part)
        run_ffmpeg(
            *("-i", part, "-vf", "scale=1280:720", "-c:v", "libx264", "-preset", "fast"),
            *("-crf", 20, "-c:a", "copy", large),
        )
        print(f"{'frames a second':32} {'ours':>8} {'ffmpeg':>8} {'ratio':>6}")
        scale = ("-vf", f"scale={FRAMING.width}:{FRAMING.height}")
        for film in (part, large):
            shown = probe(film)

            def prepare(film=film):
                shutil.rmtree(folder / "frames", ignore_errors=True)
                preparation.prepare([film], folder / "frames", FRAMING)

            def pass_through(film=film):
                passthrough(film, folder / "out.mp4", FRAMING)

            def decode_plainly(film=film):
                raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", folder / "frames.raw")
                run_ffmpeg("-i", film, "-an", *scale, *raw)

            def recode_plainly(film=film):
                encoding = ("-c:v", "libx264", "-crf", 18, "-pix_fmt", "yuv420p", "-c:a", "copy")
                out = ("-movflags", "+faststart", folder / "plain.mp4")
                run_ffmpeg("-i", film, *scale, *encoding, *out)

            size = f"{shown.width}x{shown.height}"
            compare(f"prepare, {size}", film, prepare, decode_plainly, given.rounds)
            compare(f"passthrough, {size}", film, pass_through, recode_plainly, given.rounds)


if __name__ == "__main__":
    main()
