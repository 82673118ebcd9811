"""A film through the trained networks (4.6), written as films and as numbered PNGs."""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import logging
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config
from vae_gan_jax.film.read import video
from vae_gan_jax.film.write import codecs, segments
from vae_gan_jax.film.write.encode import Encoder, FilmFormat
from vae_gan_jax.film.write.numbered_pngs import NumberedPngs
from vae_gan_jax.inference import made_from, opened_run
from vae_gan_jax.inference.reconstruct import reconstruct_frames
from vae_gan_jax.inference.trained import Trained
from vae_gan_jax.run import film_names, provenance
from vae_gan_jax.run.team import Team

LAYOUTS = {
    "output": lambda source_BHWC, output_BHWC: output_BHWC,
    "side_by_side": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=2),
    "stacked": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=1),
}

logger = logging.getLogger(__name__)


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


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """The reconstruction of one film.

    Attributes:
      config: the settings of the command.
      source: path of the film.
      framing: which part of it becomes frames.
      paths: the films to write, by layout.
      made_from: what they are made from, as JSON.
      team: the processes that share the film; they need a disk in common.
    """

    config: Config
    source: str
    framing: video.Framing
    paths: dict[str, Path]
    made_from: dict[str, Any]
    team: Team = Team()

    @classmethod
    def of(cls, config: Config, source: str, step: int, team: Team = Team()):
        """The reconstruction of a film by the run's checkpoint of ``step``.

        Raises:
          InputError: the source is no film, or is to be the learnt film and is another one.
        """
        paths = film_paths(config, film_names.name_of(source))
        origin = made_from.output_film(config, source, step)
        return cls(config, source, opened_run.framing_of(config), paths, origin, team)

    def __str__(self) -> str:
        return ", ".join(map(str, self.paths.values()))

    def is_current(self) -> bool:
        """Whether all films and PNGs were made from exactly this before, and are still there."""
        config = self.config
        if config.frames_out and not Path(config.frames_out).is_dir():
            return False
        return all(provenance.is_current(config.run_dir, *record) for record in self._records())

    def record(self) -> None:
        """Records what the finished films were made from."""
        for record in self._records():
            provenance.record(self.config.run_dir, *record)

    def _records(self) -> Iterator[tuple[str, dict[str, Any], list[Path]]]:
        folder = os.path.abspath(Path(self.config.run_dir) / film_names.FILMS)
        for layout, path in self.paths.items():
            name, path = path.name, Path(os.path.abspath(path))
            if str(path.parent) != folder:  # films elsewhere may have equal names
                name += f"_{hashlib.sha256(os.fsencode(path)).hexdigest()[:8]}"
            yield f"{film_names.FILMS}/{name}", self.made_from | {"layout": layout}, [path]

    def write(self, model: Trained) -> int | None:
        """Passes the whole film through the networks and writes it at its own rate with its sound.

        Decoding, networks and encoding overlap; memory does not grow with the film. After an
        interruption the same call resumes, and the frames are the same as without interruption.

        Several processes share the film. Each writes a range of whole segments. Then process 0
        continues after the last of them, writes the rest, at least the end of the film, and joins
        all. The film equals the one of a single process on machines that round and encode equally;
        the encoder's bytes depend on the number of cores.

        Returns:
          The number of frames of the film; None in all processes but the first.

        Raises:
          InputError: the film cannot be read, or a result cannot be written.
        """
        if self.team.count > 1:
            self._write_own_range(model)
        if self.team.index:
            return None
        with self._open() as outputs:
            return self._render(model, outputs)

    def _write_own_range(self, model: Trained) -> None:
        name = next(iter(self.paths.values()))
        own, writable = self._own_range(), f"the segments of {name} can be written"
        if self.team.index == 0:  # its folder must be there before the others open it
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
        """Numbers of the frames that this process writes: segments covered by whole batches.

        Process 0 alone reconstructs a film of unknown length and, with ``--strict``, any film: only
        the process that decodes all frames notices damage.
        """
        batch_size = self.config.batch_size
        covered = (self._expected_frames or 0) // batch_size * batch_size
        own = self.team.own(0 if self.config.strict else covered // segments.SEGMENT_FRAMES)
        return range(own.start * segments.SEGMENT_FRAMES, own.stop * segments.SEGMENT_FRAMES)

    @functools.cached_property
    def _film(self) -> video.Probe:
        return video.probe(self.source, self.framing.video_stream, self.framing.fps)

    @property
    def _expected_frames(self) -> int | None:
        return video.expected_frames(self._film, self.framing)

    @contextlib.contextmanager
    def _open(self, own: range | None = None) -> Iterator["_Outputs"]:
        with contextlib.ExitStack() as stack:
            encoders = {
                layout: stack.enter_context(self._encoder(layout, path, own))
                for layout, path in self.paths.items()
            }
            pngs = None
            if self.config.frames_out:
                pngs = NumberedPngs(self.config.frames_out, self.made_from, own)
                stack.enter_context(pngs)
            yield _Outputs(encoders, pngs)

    def _encoder(self, layout: str, path: Path, own: range | None) -> Encoder:
        config = self.config
        frame_BHWC = np.empty((1, config.height, config.width, 3), np.uint8)
        _, height, width, _ = LAYOUTS[layout](frame_BHWC, frame_BHWC).shape
        upscale = config.upscale
        if upscale:
            upscale = (
                upscale[0] * (width // config.width), upscale[1] * (height // config.height),
            )  # fmt: skip
        return Encoder(
            path, dataclasses.replace(self.framing, width=width, height=height), self._film.rate,
            sound_from=self._film.path,
            film_format=FilmFormat(config.codec, config.quality, upscale),
            resume=self.made_from,
            frame_range=own,
        )  # fmt: skip

    def _render(self, model: Trained, outputs: "_Outputs", own: range | None = None) -> int:
        """Reconstructs from where an earlier attempt stopped; returns the next frame's number."""
        batch_size, stop = self.config.batch_size, None if own is None else own.stop
        done = outputs.resume()
        if own is not None and (outputs.frames_missing.is_set() or done == stop):
            return done
        # The batch before is repeated: a short last batch is filled with its frames.
        first_batch = max(0, done // batch_size - 1)
        repeated = done - first_batch * batch_size  # frames that are written already
        frames = self._decode(first_batch * batch_size, own, outputs.frames_missing)
        total = self._expected_frames if own is None else stop
        with self._progress(total, done, own) as progress:
            for pair_BHWC in reconstruct_frames(model, frames, first_batch):
                if own is not None and outputs.frames_missing.is_set():
                    break  # only a process that counts from the start knows the numbers
                rows = slice(repeated, None if own is None else repeated + stop - done)
                source_BHWC, output_BHWC = (side_BHWC[rows] for side_BHWC in pair_BHWC)
                repeated = max(0, repeated - batch_size)
                outputs.write(source_BHWC, output_BHWC)
                done += len(output_BHWC)
                progress.update(len(output_BHWC))
        if own is not None and done < stop:
            logger.warning(
                "%s lacks frames after number %d: process 0 continues from there alone.",
                self.source, done,
            )  # fmt: skip
        return done

    def _decode(self, skip: int, own: range | None, missing: threading.Event) -> Iterator:
        decode = functools.partial(
            video.decode, self.source, self.framing, on_missing_frames=missing.set
        )
        if own is not None:
            batch_size = self.config.batch_size
            return decode(skip=skip, count=-(-own.stop // batch_size) * batch_size - skip)
        strict = self.config.strict
        if missing.is_set() or self._expected_frames is None:
            return itertools.islice(decode(strict=strict), skip, None)  # numbers come by counting
        return decode(skip=skip, strict=strict)

    def _progress(self, total: int | None, done: int, own: range | None) -> tqdm:
        return tqdm(
            desc="reconstructing", total=total, initial=done, unit="frame", mininterval=1,
            disable=bool(own and own.start),  # process 0 shows its own
        )  # fmt: skip


class _Outputs:
    """The films and PNGs that receive the same frames.

    Attributes:
      frames_missing: set once the source lacks frames, so that later ones take their numbers.
    """

    def __init__(self, encoders: dict[str, Encoder], pngs: NumberedPngs | None):
        self._encoders, self._pngs = encoders, pngs
        self.frames_missing = threading.Event()
        if any(encoder.segments.frames_missing for encoder in encoders.values()):
            self.frames_missing.set()

    def resume(self) -> int:
        """Truncates all to the same whole segments; returns the number of the next frame."""
        done = min(encoder.frames for encoder in self._encoders.values())
        if self._pngs:
            done = min(done, self._pngs.frames - self._pngs.frames % segments.SEGMENT_FRAMES)
        for encoder in self._encoders.values():
            encoder.segments.truncate(done)
        if self._pngs:
            self._pngs.truncate(done)
        return done

    def write(self, source_BHWC: np.ndarray, output_BHWC: np.ndarray) -> None:
        for layout, encoder in self._encoders.items():
            if self.frames_missing.is_set():
                encoder.segments.mark_frames_missing()
            encoder.write(LAYOUTS[layout](source_BHWC, output_BHWC))
        if self._pngs:
            self._pngs.write(output_BHWC)
