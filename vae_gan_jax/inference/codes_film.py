"""The modes encode and decode: the codes of a film as a file, and the film of such a file."""

import dataclasses
import functools
import logging
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.film.write import codecs
from vae_gan_jax.inference import made_from, opened_run
from vae_gan_jax.inference.codes import EXTENSION, Codes, latents
from vae_gan_jax.inference.reconstruct_film import Reconstruction
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import film_names, provenance, run_folder, storage

FOLDER = "codes"  # in a run
DEFAULT_RATE = Fraction(24)  # frames per second of codes that have none

logger = logging.getLogger(__name__)


def encode_films(config: Config, again: bool) -> None:
    """Writes the codes of the source films to ``--output`` or into the run's folder.

    ``again`` also writes codes that are current. Raises InputError if the run has no checkpoint, a
    film cannot be read, or a file cannot be written.
    """
    if config.output and not config.output.endswith(EXTENSION):
        raise InputError(
            f"--output={config.output} does not end with {EXTENSION}: give such a name."
        )
    films = opened_run.open_sources(config)
    for film in films:
        film_names.require(config, film.path)
    if not config.output:
        opened_run.results_folder(config, FOLDER)
    model = opened_run.open_model(config, read_only=bool(config.output))
    for film in films:
        if not config.output:
            run_codes(model, film, again)
            continue
        codes = model.encode_film(film)
        codes.made_from |= made_from.source_frames(config, film.path)
        codes.save(config.output)
        logger.info("codes of %d frames in %s", len(codes), config.output)


def run_codes(
    model: Model,
    film: FilmReader,
    again: bool = False,
    progress: Callable[[float], None] | None = None,
) -> Codes:
    """The codes of a film from the run's folder, where they are written unless they are current.

    ``again`` also writes codes that are current. Progress and errors are as for
    ``Model.encode_film``; InputError also if the file cannot be written.
    """
    run_dir = model.config.run_dir
    path = Path(run_dir, FOLDER, f"{film.name}{EXTENSION}")
    origin = made_from.source_frames(model.config, film.path)
    record = f"{FOLDER}/{path.name}", origin | {"checkpoint": model.checkpoint}, [path]
    if not again and provenance.is_current(run_dir, *record):
        logger.info("encoded already: %s", path)
        return Codes.load(path)
    codes = model.encode_film(film, progress)
    codes.made_from |= origin
    path.parent.mkdir(exist_ok=True)
    codes.save(path)
    provenance.record(run_dir, *record)
    logger.info("codes of %d frames in %s", len(codes), path)
    return codes


def decode_film(config: Config) -> None:
    """Writes the film of ``--codes``, with the sound of ``--source``.

    Raises InputError if the codes cannot be read or are not of this model, or the film cannot be
    written.
    """
    if not config.codes:
        raise InputError("--codes is missing: give a file of codes, such as one of --mode=encode.")
    codes, record = Codes.load(config.codes), None
    if not config.output:
        run_folder.open_run(config)
        Path(config.run_dir, FOLDER).mkdir(exist_ok=True)
        name = codecs.file_name(film_names.name_of(config.codes), config.codec)
        config = dataclasses.replace(config, output=str(Path(config.run_dir, FOLDER, name)))
        record = f"{FOLDER}/{name}"
    model = opened_run.open_model(config, read_only=record is None)
    origin = {"codes": provenance.checksum([config.codes]), "checkpoint": model.checkpoint}
    film = CodesFilm.of(model, config, codes, storage.local(config.source), origin)
    count = film.write(model)
    if record:
        provenance.record(config.run_dir, record, origin, film.paths.values())
    logger.info("%d frames in %s", count, film)


@dataclasses.dataclass(frozen=True)
class CodesFilm(Reconstruction):
    """The film of codes; ``source`` is a film or file with its sound, or empty."""

    codes: Codes | None = None
    job = "decoding"

    @classmethod
    def of(
        cls, model: Model, config: Config, codes: Codes, sound: str, made_from: dict | None = None
    ) -> "CodesFilm":
        """The film of codes that ``config.output`` names.

        Raises InputError if the codes are not of this model, or there is no such file of sound.
        """
        latents(codes.mean, "mean of codes", config.z_dim)
        if config.layout != ("output",):
            raise InputError("--layout is for films with source frames: leave it out.")
        checkpoint = codes.made_from.get("checkpoint")
        if checkpoint and model.checkpoint and checkpoint != model.checkpoint:
            logger.warning(
                "the codes were made with another checkpoint, so this film can differ from that "
                "checkpoint's: encode the film again with --mode=encode"
            )
        if sound:
            ffmpeg.require_file(sound)
        rate = _learnt_rate(config) if codes.rate is None else codes.rate
        start = None if codes.times is None or not len(codes) else float(codes.times[0])
        framing = dataclasses.replace(framing_of(config), trim_start=start, trim_end=None)
        codes = dataclasses.replace(codes, rate=rate)
        return cls(config, sound, framing, {"output": Path(config.output)}, made_from, codes=codes)

    @functools.cached_property
    def _latents_TZ(self) -> np.ndarray:
        return self.codes.mean[self.codes.film_frames(self.codes.rate)]

    @property
    def _rate(self) -> Fraction:
        return self.codes.rate

    @property
    def _expected_frames(self) -> int:
        return len(self._latents_TZ)

    def _pairs(self, model: Model, first_batch: int, own: range | None) -> Iterator:
        for frames_BHWC in model.decode_batches(
            self._latents_TZ[first_batch * self.config.batch_size :]
        ):
            yield frames_BHWC, frames_BHWC


def _learnt_rate(config: Config) -> Fraction:
    entries = film_names.learnt_entries(config.run_dir)
    return Fraction(entries[0]["rate"] if entries else DEFAULT_RATE)
