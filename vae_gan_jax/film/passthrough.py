"""Writes a film as the network would see it, so that users can check the framing."""

import dataclasses
import logging
import os
from pathlib import Path

import tqdm

from vae_gan_jax.config import Config
from vae_gan_jax.film import demo_film, source_films
from vae_gan_jax.film.read.framing import Framing, section
from vae_gan_jax.film.read.probe import probe
from vae_gan_jax.film.read.video import decode_blocks
from vae_gan_jax.film.store.batches import prefetch
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.film.write import codecs
from vae_gan_jax.film.write.encode import Encoder, FilmFormat
from vae_gan_jax.run import film_names, run_folder

logger = logging.getLogger(__name__)


def write_films(config: Config) -> None:
    """Writes the source films as the networks would see them, to ``--output`` or into the run."""
    if not config.source:
        demo_film.require(config)
    framing = framing_of(config)
    film_format = FilmFormat(config.codec, config.quality, config.upscale, config.sound_way)
    for source in film_names.sources(config):
        output = Path(config.output)
        if not config.output:
            name = f"{source_films.name(config, source)}_passthrough"
            name = codecs.file_name(name, config.codec)
            output = Path(config.run_dir) / film_names.FILMS / name
            probe(source, config.video_stream, config.fps)
            run_folder.open_run(config)
            output.parent.mkdir(exist_ok=True)
        count = passthrough(source, output, framing, film_format, config.strict, config.sound_file)
        logger.info("%d frames in %s", count, output)


def passthrough(
    source: str | os.PathLike,
    output: str | os.PathLike,
    framing: Framing,
    film_format: FilmFormat = FilmFormat(),  # noqa: B008
    strict: bool = False,
    sound_file: str | os.PathLike = "",
) -> int:
    """Writes the frames that would be learnt as a film with sound; returns their number.

    The sound is that of ``sound_file``, from its start, or else that of the source.

    Raises InputError if the source cannot be read, or is damaged while ``strict``; or the output
    cannot be written.
    """
    film = probe(source, framing.video_stream, framing.fps)
    total = section(film, framing).count
    of_sound = (
        dataclasses.replace(framing, trim_start=None, trim_end=None) if sound_file else framing
    )
    with (
        Encoder(
            output, of_sound, film.rate, sound_file or source, film_format=film_format
        ) as encoder,
        tqdm.tqdm(total=total, desc="frames", unit="frame", mininterval=0.5) as progress,
    ):
        for frames_BHWC in prefetch(decode_blocks(source, framing, strict=strict)):
            encoder.write(frames_BHWC)
            progress.update(len(frames_BHWC))
    return encoder.frames
