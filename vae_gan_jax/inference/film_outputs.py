"""The films and PNGs that a reconstruction writes."""

import hashlib
import os
from pathlib import Path

import numpy as np

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.film.write import codecs, encode, segments, source_tracks
from vae_gan_jax.film.write.numbered_pngs import NumberedPngs
from vae_gan_jax.run import atomic_io, film_names, provenance

RECORD_NAME_BYTES = 200  # of the name of a film's record, without its extension

LAYOUTS = {
    "output": lambda source_BHWC, output_BHWC: output_BHWC,
    "side_by_side": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=2),
    "stacked": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=1),
}


def film_paths(config: Config, name: str) -> dict[str, Path]:
    """Paths of the films by layout.

    The first film goes to ``--output``, the others beside it with their layout in the name. Without
    ``--output`` all go to the run's ``films``, under ``name``.
    """
    paths, output = {}, Path(config.output)
    for layout in config.layout:
        if not config.output:
            suffix = "" if layout == "output" else f"_{layout}"
            file = codecs.file_name(f"{name}{suffix}", config.codec)
            paths[layout] = Path(config.run_dir) / film_names.FILMS / file
        elif layout not in paths:
            paths[layout] = output.with_stem(f"{output.stem}_{layout}") if paths else output
    return paths


def film_size(layout: str, frame: tuple[int, int]) -> tuple[int, int]:
    """Width and height of a film in a layout; those of each of its frames are given."""
    pixel_BHWC = np.empty((1, 1, 1, 3))
    _, rows, columns, _ = LAYOUTS[layout](pixel_BHWC, pixel_BHWC).shape
    return frame[0] * columns, frame[1] * rows


def record_name(config: Config, film: Path) -> str:
    """The name of a written film's record; films elsewhere may have equal names."""
    name, path = film.name, Path(os.path.abspath(film))
    if str(path.parent) != os.path.abspath(Path(config.run_dir) / film_names.FILMS):
        name += f"_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
    return f"{film_names.FILMS}/{atomic_io.fitting_name(name, RECORD_NAME_BYTES)}"


def check(config: Config) -> None:
    """Raises InputError if a source or a film to write cannot be used; warns of lost sound."""
    for source in film_names.sources(config):
        if config.source:
            video.probe(source, config.video_stream, config.fps)
        paths = film_paths(config, film_names.name_of(source))
        for index, (layout, path) in enumerate(paths.items()):
            size = film_size(layout, config.upscale or (config.width, config.height))
            max_side = codecs.CODECS[config.codec].max_side
            if max_side and max(size) > max_side:
                raise InputError(
                    f"{path} would have {size[0]}x{size[1]} pixels, and {config.codec} encodes no "
                    f"side longer than {max_side}: give a smaller --upscale, or another --codec."
                )
            codecs.picture_arguments(str(path), config.codec, config.quality)
            if config.output:
                encode.require_writable(str(path), source)
            if config.output and index:
                _require_own(config, path)
            if os.path.isfile(source):
                source_tracks.of(source, path, framing_of(config), config.sound_way).warn(path)


def _require_own(config: Config, film: Path) -> None:
    """Raises InputError if a file that the run did not write stands beside ``--output``."""
    if film.exists() and not provenance.recorded(config.run_dir, record_name(config, film)):
        raise InputError(
            f"{film}, where --layout puts a film beside --output, is not of this run: give another "
            "--output, or move it."
        )


class FilmOutputs:
    """The films and PNGs that receive the same frames."""

    def __init__(self, encoders: dict[str, encode.Encoder], pngs: NumberedPngs | None):
        self._encoders, self._pngs = encoders, pngs

    def resume(self) -> int:
        """Truncates films and PNGs to the same whole segments; returns the next frame's number."""
        done = min(encoder.frames for encoder in self._encoders.values())
        if self._pngs:
            done = min(done, self._pngs.frames - self._pngs.frames % segments.SEGMENT_FRAMES)
        for encoder in self._encoders.values():
            encoder.segments.truncate(done)
        if self._pngs:
            self._pngs.truncate(done)
        return done

    def write(self, source_BHWC: np.ndarray, output_BHWC: np.ndarray) -> None:
        """Writes the next frames."""
        for layout, encoder in self._encoders.items():
            encoder.write(LAYOUTS[layout](source_BHWC, output_BHWC))
        if self._pngs:
            self._pngs.write(output_BHWC)
