"""Passes films of many kinds through the decoder and the encoder, and compares input and output.

    python -m benchmarks.film_variants [FILM...]

The films are those that the tests generate, also those whose sound is hard to write, one of ten
thousand frames, and the given ones.

Columns: frames in and out; difference of the durations, in frames; displayed size in and out;
largest difference of a known colour (0..255); audio tracks in and out; by how many frames the beep
comes before (-) or after the flash; by how many frames the sound ends before (-) or after the
picture.
"""

import contextlib
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from tests.film import films
from tests.film.test_variants import beep_start, flash_start, sound_seconds
from vae_gan_jax.film.passthrough import passthrough
from vae_gan_jax.film.read.video import Framing, decode, probe

COLUMNS = "{:36} {:>6} {:>6} {:>6} {:>9} {:>9} {:>6} {:>6} {:>7} {:>9}"
LONG = films.Variant("ten_thousand.mp4", seconds=400)


def row(path: Path, output: Path, variant: films.Variant | None) -> str:
    """Passes a film through and describes input and output."""
    film = probe(path)
    framing = Framing(film.width, film.height, crop="none")
    with open(os.devnull, "w") as devnull, contextlib.redirect_stderr(devnull):
        passthrough(path, output, framing)
    out = probe(output)
    colour = beep_delay = sound_end = "-"
    if variant is not None:
        first_HWC = next(decode(output, framing))
        colour = np.abs(films.quarters(first_HWC) - variant.shown_colours).max()
    if variant is not None and out.audio_streams:
        delay = beep_start(output) - flash_start(decode(output, framing), out.rate)
        beep_delay = f"{delay * float(out.rate):+.2f}"
    if out.audio_streams:
        sound_end = f"{(sound_seconds(output) - out.duration) * float(out.rate):+.2f}"
    return COLUMNS.format(
        path.name,
        film.frames,
        out.frames,
        f"{(out.duration - film.duration) * float(out.rate):+.2f}",
        f"{film.width}x{film.height}",
        f"{out.width}x{out.height}",
        str(colour),
        f"{film.audio_streams}/{out.audio_streams}",
        beep_delay,
        sound_end,
    )


def main() -> None:
    print(
        COLUMNS.format(
            *("film", "frames", "out", "length", "shown", "out", "colour", "sounds", "in step"),
            "sound end",
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for variant in (*films.VARIANTS, LONG):
            path = Path(variant.make(folder))
            print(row(path, folder / "out.mp4", variant), flush=True)
        for make in films.HARD_SOUND:
            plain = films.Variant(make.__name__)
            print(row(Path(make(folder)), folder / "out.mp4", plain), flush=True)
        for path in map(Path, sys.argv[1:]):
            print(row(path, folder / "out.mp4", None), flush=True)


if __name__ == "__main__":
    main()
