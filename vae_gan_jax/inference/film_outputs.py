"""The films and PNGs that a reconstruction writes."""

import os
from pathlib import Path

import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.film.write import codecs, encode, segments, source_tracks
from vae_gan_jax.film.write.numbered_pngs import NumberedPngs
from vae_gan_jax.run import film_names

LAYOUTS = {
    "output": lambda source_BHWC, output_BHWC: output_BHWC,
    "side_by_side": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=2),
    "stacked": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=1),
}


def film_paths(config: Config, name: str) -> dict[str, Path]:
    """Paths of the films by layout.

    The first film goes to ``--output``, the others beside it. Without ``--output`` all go to the
    run's ``films``, under ``name``.
    """
    paths = {}
    for index, layout in enumerate(config.layout):
        suffix = "" if layout == "output" else f"_{layout}"
        if config.output:
            output = Path(config.output)
            paths[layout] = output.with_stem(output.stem + suffix) if index else output
        else:
            extension = codecs.CODECS[config.codec].extensions[0]
            paths[layout] = Path(config.run_dir) / film_names.FILMS / f"{name}{suffix}.{extension}"
    return paths


def check(config: Config) -> None:
    """Raises InputError if a source or a film to write cannot be used; warns of lost sound."""
    for source in film_names.sources(config):
        if config.source:
            video.probe(source, config.video_stream, config.fps)
        for path in film_paths(config, film_names.name_of(source)).values():
            codecs.picture_arguments(str(path), config.codec, config.quality)
            if config.output:
                encode.require_writable(str(path), source)
            if os.path.isfile(source):
                source_tracks.of(source, path, framing_of(config), config.sound_way).warn(path)


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
