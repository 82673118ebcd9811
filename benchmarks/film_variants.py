"""Films of every kind through the passthrough, as a table: what went in and what came out.

    python -m benchmarks.film_variants [FILM...]

The films that the tests make, one of ten thousand frames, and the given ones. For each: frames in
and out; by how much the durations differ, in frames; size as shown, in and out; the largest
difference of a known colour (of 255); sound tracks in and out; by how many frames the beep comes
before (-) or after the flash; the end of the sound against that of the picture, in frames.
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
TURNS = {90: [1, 3, 0, 2], 180: [3, 2, 1, 0]}


def row(path: Path, output: Path, variant: films.Variant | None) -> str:
    """Passes a film through and describes both."""
    film = probe(path)
    whole = Framing(film.width, film.height, crop="none")
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        passthrough(path, output, whole)
    out = probe(output)
    colour = step = end = "-"
    if variant is not None:
        first_HWC = next(decode(output, whole))
        painted = films.COLOURS[TURNS.get(variant.rotation, [0, 1, 2, 3])]
        colour = np.abs(films.quarters(first_HWC) - painted).max()
    if variant is not None and out.audio_streams:
        late = beep_start(output) - flash_start(decode(output, whole), out.rate)
        step = f"{late * float(out.rate):+.2f}"
    if out.audio_streams:
        end = f"{(sound_seconds(output) - out.duration) * float(out.rate):+.2f}"
    return COLUMNS.format(
        path.name,
        film.frames,
        out.frames,
        f"{(out.duration - film.duration) * float(out.rate):+.2f}",
        f"{film.width}x{film.height}",
        f"{out.width}x{out.height}",
        str(colour),
        f"{film.audio_streams}/{out.audio_streams}",
        step,
        end,
    )


def main() -> None:
    """Prints the table."""
    print(
        COLUMNS.format(
            *("film", "frames", "out", "length", "shown", "out", "colour", "sounds", "in step"),
            "sound end",
        )
    )
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for variant in (*films.VARIANTS, LONG):
            made = Path(variant.make(folder))
            print(row(made, folder / "out.mp4", variant), flush=True)
        for film in map(Path, sys.argv[1:]):
            print(row(film, folder / "out.mp4", None), flush=True)


if __name__ == "__main__":
    main()
