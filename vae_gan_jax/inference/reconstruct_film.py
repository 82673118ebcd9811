"""A film through the trained networks (4.6), written as films and as numbered PNGs."""

import contextlib
import dataclasses
import functools
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import source_films
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.framing import section
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.film.write import segments
from vae_gan_jax.film.write.encode import Encoder, FilmFormat
from vae_gan_jax.film.write.numbered_pngs import NumberedPngs
from vae_gan_jax.inference import made_from, opened_run
from vae_gan_jax.inference.film_outputs import FilmOutputs, film_paths, film_size, record_name
from vae_gan_jax.inference.reconstruct import reconstruct_frames
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import atomic_io, film_names, provenance, run_folder, storage
from vae_gan_jax.run.team import ALONE, Team
from vae_gan_jax.training import checkpoint
from vae_gan_jax.training.distributed import processes

logger = logging.getLogger(__name__)


def reconstruct_films(config: Config, again: bool, kind: type | None = None) -> None:
    """Passes the source films through the run's newest model; several processes share each film.

    ``again`` also writes films that are current. ``kind`` is a subclass of ``Reconstruction``, by
    default that class. With ``--output`` the run's folder may be read-only. Raises InputError as
    ``Reconstruction.of``, ``trained_model.load`` and ``Reconstruction.write`` do.
    """
    newest = checkpoint.newest_step(config.run_dir)
    sources = film_names.sources(config)
    in_run = not config.output or atomic_io.is_writable(config.run_dir)
    if in_run:
        processes.run_on_first(_open_run, config)

    def films_to_write(step: int) -> list[Reconstruction]:
        of = (kind or Reconstruction).of
        films = [of(config, film, step, processes.team()) for film in sources]
        return [film for film in films if again or not is_current(film)]

    def is_current(film: Reconstruction) -> bool:
        current = processes.broadcast_from_first(film.is_current())
        if current and processes.index() == 0:
            film.record()  # updates the path of a source that was moved
            logger.info("reconstructed already: %s", film)
        return current

    if not (films := films_to_write(newest)):
        return
    for film in films:
        film_names.require(config, film.source)
    model = opened_run.open_model(config)
    if model.step != newest:  # the newest checkpoint is damaged
        films = films_to_write(model.step)
    if in_run:
        Path(config.run_dir, film_names.FILMS).mkdir(exist_ok=True)
    for film in films:
        count = film.write(model)
        if processes.index() == 0:
            film.record()
            logger.info("%d frames in %s", count, film)


def _open_run(config: Config) -> None:
    if not atomic_io.is_writable(config.run_dir):
        raise InputError(
            f"the run folder {config.run_dir} is read-only: give --output=FILE in another folder."
        )
    run_folder.open_run(config)


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """The reconstruction of one film."""

    config: Config
    source: str  # path of the film
    framing: video.Framing
    paths: dict[str, Path]  # the films to write, by layout
    # What the written films depend on, as JSON; None: an interrupted film is not resumed.
    made_from: dict[str, Any] | None = None
    team: Team = ALONE  # the processes that share the film; they need a common disk

    job = "reconstructing"  # in the progress bar

    @classmethod
    def of(cls, config: Config, source: str, step: int, team: Team = ALONE):
        """The reconstruction of a film by the run's checkpoint of ``step``.

        Raises InputError as ``made_from.source_frames`` does.
        """
        paths = film_paths(config, source_films.name(config, source))
        origin = made_from.output_film(config, source, step)
        return cls(config, source, framing_of(config), paths, origin, team)

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths.values()))

    def is_current(self) -> bool:
        """Whether all films and PNGs are finished and current; the source may have moved."""
        config = self.config
        if config.frames_out and not Path(config.frames_out).is_dir():
            return False
        return all(
            provenance.is_current(config.run_dir, *record, ignored=("source",))
            for record in self._records()
        )

    def record(self) -> None:
        """Records what the finished films were made from, and the path of the source."""
        for record in self._records():
            provenance.record(self.config.run_dir, *record)

    def _records(self) -> Iterator[tuple[str, dict[str, Any], list[Path]]]:
        origin = self.made_from | {"source": storage.address(self.source)}
        for layout, path in self.paths.items():
            yield record_name(self.config, path), origin | {"layout": layout}, [path]

    def write(self, model: Model) -> int | None:
        """Writes the reconstructed film at the source's frame rate and with its sound.

        Decoding, networks and encoding overlap; memory does not grow with the film. After an
        interruption the same call resumes and gives the same frames.

        Several processes share the film: each writes a range of whole segments, then process 0
        writes the frames after the last range and joins all segments. The film equals that of a
        single process on equal machines; the encoder's bytes depend on the number of cores.

        Returns the number of frames of the film; None in all processes but process 0. Raises
        InputError if the film cannot be read, or a result cannot be written.
        """
        if self.team.count > 1:
            self._write_own_range(model)
        if self.team.index:
            return None
        with self._open() as outputs:
            return self._render(model, outputs)

    def _write_own_range(self, model: Model) -> None:
        name = next(iter(self.paths.values()))
        own, writable = self._own_range(), f"the segments of {name} can be written"
        if self.team.index == 0:  # creates the folder that the others open
            with self._open(own) as outputs:
                self.team.barrier(writable)
                self._render(model, outputs, own)
        else:
            self.team.barrier(writable)
            if own:
                with self._open(own) as outputs:
                    self._render(model, outputs, own)
        self.team.barrier(f"the segments of {name} are written")

    def _own_range(self) -> range:
        """Numbers of the frames that this process writes: whole segments of whole batches."""
        batch_size = self.config.batch_size
        covered = self._expected_frames // batch_size * batch_size
        if self.config.strict:  # only a process that decodes all frames notices damage
            covered = 0
        own = self.team.own(covered // segments.SEGMENT_FRAMES)
        return range(own.start * segments.SEGMENT_FRAMES, own.stop * segments.SEGMENT_FRAMES)

    @functools.cached_property
    def _film(self) -> video.Probe:
        return video.probe(self.source, self.framing.video_stream, self.framing.fps)

    @property
    def _rate(self) -> Fraction:
        return self._film.rate

    @property
    def _expected_frames(self) -> int:
        return section(self._film, self.framing).count

    @contextlib.contextmanager
    def _open(self, own: range | None = None) -> Iterator[FilmOutputs]:
        with contextlib.ExitStack() as stack:
            encoders = {
                layout: stack.enter_context(self._encoder(layout, path, own))
                for layout, path in self.paths.items()
            }
            pngs = None
            if self.config.frames_out:
                pngs = NumberedPngs(self.config.frames_out, self.made_from, own)
                stack.enter_context(pngs)
            yield FilmOutputs(encoders, pngs)

    def _encoder(self, layout: str, path: Path, own: range | None) -> Encoder:
        config, origin = self.config, self.made_from
        if origin is not None:  # the picture in the segments does not depend on the sound
            origin = {name: value for name, value in origin.items() if name != "sound"}
        width, height = film_size(layout, (config.width, config.height))
        upscale = config.upscale and film_size(layout, config.upscale)
        framing = dataclasses.replace(self.framing, width=width, height=height)
        if config.sound_file:  # it starts with the film
            framing = dataclasses.replace(framing, trim_start=None, trim_end=None)
        return Encoder(
            path, framing, self._rate,
            sound_from=config.sound_file or self.source or None,
            film_format=FilmFormat(config.codec, config.quality, upscale, config.sound_way),
            resume=origin, frame_range=own,
        )  # fmt: skip

    def _render(self, model: Model, outputs: FilmOutputs, own: range | None = None) -> int:
        """Reconstructs from where an earlier attempt stopped; returns the next frame's number."""
        batch_size, stop = self.config.batch_size, None if own is None else own.stop
        done = outputs.resume()
        if own is not None and done == stop:
            return done
        # The batch before is repeated, because its frames pad a short last batch.
        first_batch = max(0, done // batch_size - 1)
        repeated = done - first_batch * batch_size  # reconstructed again, but not written again
        total = self._expected_frames if own is None else stop
        hidden = bool(own and own.start)  # only process 0 shows progress
        with tqdm(
            desc=self.job, total=total, initial=done, unit="frame", mininterval=1, disable=hidden
        ) as progress:
            for pair_BHWC in self._pairs(model, first_batch, own):
                rows = slice(repeated, None if own is None else repeated + stop - done)
                source_BHWC, output_BHWC = (side_BHWC[rows] for side_BHWC in pair_BHWC)
                repeated = max(0, repeated - batch_size)
                outputs.write(source_BHWC, output_BHWC)
                done += len(output_BHWC)
                progress.update(len(output_BHWC))
        return done

    def _pairs(self, model: Model, first_batch: int, own: range | None) -> Iterator:
        """Batches of source frames and output frames, from number ``first_batch`` on."""
        frames = self._decode(first_batch * self.config.batch_size, own)
        return reconstruct_frames(model, frames, first_batch)

    def _decode(self, skip: int, own: range | None) -> Iterator:
        decode = functools.partial(video.decode, self.source, self.framing, skip=skip)
        if own is not None:
            batch_size = self.config.batch_size
            return decode(count=-(-own.stop // batch_size) * batch_size - skip)
        return decode(strict=self.config.strict)
