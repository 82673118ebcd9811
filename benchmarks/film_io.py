"""Compares the speed of decoding and encoding films with that of ffmpeg alone.

    python -m benchmarks.film_io FILM [--seconds=60] [--rounds=3]

Each job alternates with the same job done by ffmpeg, so that other load on the machine slows both.
The rates come from median times.
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
    """Runs the bundled ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-nostdin", "-y"]
    subprocess.run([*command, *map(str, arguments)], check=True)


def time_job(job) -> float:
    """Seconds that a job takes; its progress bar is hidden."""
    start = time.perf_counter()
    with open(os.devnull, "w") as devnull, contextlib.redirect_stderr(devnull):
        job()
    return time.perf_counter() - start


def compare(name: str, film: Path, job, ffmpeg_job, rounds: int) -> None:
    """Prints both rates in frames a second, and their ratio."""
    times = [(time_job(job), time_job(ffmpeg_job)) for _ in range(rounds)]
    job_seconds, ffmpeg_seconds = map(statistics.median, zip(*times, strict=True))
    frames = probe(film).frames
    print(
        f"{name:32} {frames / job_seconds:12.0f} {frames / ffmpeg_seconds:8.0f} "
        f"{ffmpeg_seconds / job_seconds:6.2f}",
        flush=True,
    )


def main() -> None:
    """Measures a film at its own size and scaled up to 1280x720."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("film", type=Path, help="any film that ffmpeg opens")
    parser.add_argument("--seconds", type=float, default=60, help="how much of the film")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of each job")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        excerpt, large = folder / "excerpt.mp4", folder / "large.mp4"
        run_ffmpeg("-i", options.film, "-t", options.seconds, "-c", "copy", excerpt)
        run_ffmpeg(
            *("-i", excerpt, "-vf", "scale=1280:720", "-c:v", "libx264", "-preset", "fast"),
            *("-crf", 20, "-c:a", "copy", large),
        )
        print(f"{'frames a second':32} {'this project':>12} {'ffmpeg':>8} {'ratio':>6}")
        scale = ("-vf", f"scale={FRAMING.width}:{FRAMING.height}")
        for film in (excerpt, large):

            def prepare(film=film):
                shutil.rmtree(folder / "frames", ignore_errors=True)
                preparation.prepare([film], folder / "frames", FRAMING)

            def pass_through(film=film):
                passthrough(film, folder / "out.mp4", FRAMING)

            def decode_with_ffmpeg(film=film):
                raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", folder / "frames.raw")
                run_ffmpeg("-i", film, "-an", *scale, *raw)

            def recode_with_ffmpeg(film=film):
                encoding = ("-c:v", "libx264", "-crf", 18, "-pix_fmt", "yuv420p", "-c:a", "copy")
                out = ("-movflags", "+faststart", folder / "ffmpeg.mp4")
                run_ffmpeg("-i", film, *scale, *encoding, *out)

            size = f"{probe(film).width}x{probe(film).height}"
            compare(f"prepare, {size}", film, prepare, decode_with_ffmpeg, options.rounds)
            compare(f"passthrough, {size}", film, pass_through, recode_with_ffmpeg, options.rounds)


if __name__ == "__main__":
    main()
