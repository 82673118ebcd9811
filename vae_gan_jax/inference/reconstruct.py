"""A film through the trained networks, frame for frame (4.6), written as films and as PNGs."""

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store import batches
from vae_gan_jax.film.write import codecs, segments
from vae_gan_jax.film.write.encode import Encoder, FilmFormat
from vae_gan_jax.film.write.numbered_pngs import NumberedPngs
from vae_gan_jax.model import autoencoder, fuse_batch_norm
from vae_gan_jax.run.team import Team

logger = logging.getLogger(__name__)


@partial(jax.jit, static_argnames=("config", "train"))
def reconstruct_batch(config, variables, frames_BHWC, key, noise_std, train: bool):
    """Reconstructs uint8 frames ``[B, H, W, 3]`` as uint8 frames.

    Args:
      config: a ``StepConfig``.
      variables: collections by network.
      frames_BHWC: uint8 frames.
      key: for the noise.
      noise_std: standard deviation of the noise; ``None``: the decoder gets the mean.
      train: normalise with the batch's own statistics. Without, a frame's reconstruction does not
        depend on the other frames of its batch.
    """
    x_BHWC, _ = autoencoder.autoencode(config, variables, frames_BHWC, key, noise_std, train)
    return autoencoder.to_frames(x_BHWC)


def reconstruct_frames(
    config: Config, variables, frames, first_batch: int = 0, through=reconstruct_batch
) -> Iterator[tuple[np.ndarray, Any]]:
    """Pairs of source and reconstructed frames, in order, every frame once.

    Args:
      config: the settings of the run.
      variables: collections by network.
      frames: frames ``[H, W, 3]`` in order.
      first_batch: number of the first batch, which the noise depends on.
      through: what each batch passes through; gives arrays, in any tree, with the axis B in front.

    Yields:
      ``(source_BHWC, reconstructed_BHWC)``, uint8, with B the batch size, at the end fewer; or in
      place of the latter what ``through`` gives.
    """
    key = jax.random.key(config.seed)
    train = config.batch_norm == "batch"
    if not train:
        variables = fuse_batch_norm.fuse(variables)
    noise_std = np.float32(config.reconstruct_noise) if config.reconstruct_noise else None
    before_BHWC, waiting = None, None
    for index, source_BHWC in enumerate(
        batches.prefetch(batches.sequential(frames, config.batch_size)), first_batch
    ):
        filled_BHWC = source_BHWC
        if before_BHWC is not None and len(source_BHWC) < config.batch_size:
            # The last batch is filled up with the frames before it: the same compiled function,
            # and as many frames for statistics of its own as all others have.
            filled_BHWC = np.concatenate([before_BHWC, source_BHWC])[-config.batch_size :]
        before_BHWC = source_BHWC
        batch_key = jax.random.fold_in(key, index)
        result = through(config.step, variables, filled_BHWC, batch_key, noise_std, train)
        if waiting is not None:  # fetched while the device is busy with the next
            yield _fetched(*waiting)
        waiting = source_BHWC, result
    if waiting is not None:
        yield _fetched(*waiting)


def _fetched(source_BHWC: np.ndarray, result) -> tuple[np.ndarray, Any]:
    """A batch and its result, on the host, without the frames that filled it up."""
    return source_BHWC, jax.tree.map(lambda array: np.asarray(array)[-len(source_BHWC) :], result)


LAYOUTS = {
    "output": lambda source_BHWC, output_BHWC: output_BHWC,
    "side_by_side": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=2),
    "stacked": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=1),
}


def film_paths(config: Config, name: str) -> dict[str, Path]:
    """Where each layout's film goes: the first to ``--output``, further ones beside it.

    Without ``--output`` they go to the run's ``films``, under ``name``.
    """
    paths = {}
    for index, layout in enumerate(config.layout):
        suffix = "" if layout == "output" else f"_{layout}"
        if config.output:
            output = Path(config.output)
            paths[layout] = output.with_stem(output.stem + suffix) if index else output
        else:
            extension = codecs.CODECS[config.codec].extensions[0]
            paths[layout] = Path(config.run_dir) / "films" / f"{name}{suffix}.{extension}"
    return paths


def reconstruct(
    config: Config,
    variables,
    source: str,
    framing: video.Framing,
    paths: dict[str, Path],
    made_from: str,
    team: Team = Team(),
) -> int | None:
    """Passes a whole film through the networks and writes it at its own rate, with its sound.

    Decoding, the networks and encoding overlap; memory does not grow with the film. Interrupted,
    the same call goes on where it stopped, with the frames that it would have had.

    Several processes that call this alike, with a disk in common, share the film: each makes a
    stretch of whole segments, as if it had been interrupted before and after it. Then the first goes
    on after the last of them: it makes what is left, the end of the film at least, and puts all
    together. So the film is the one that it would have made alone, on machines that round and
    encode alike; an encoder's bytes depend on the number of its machine's cores.

    Args:
      config: the settings of the run.
      variables: collections by network.
      source: the film.
      framing: what of it becomes frames.
      paths: the films to write, by layout.
      made_from: what an interrupted attempt must have been made from to be continued.
      team: the processes that share the film.

    Returns:
      How many frames the film has; None for all processes but the first.

    Raises:
      InputError: the film cannot be read, or a result cannot be written where it should go.
    """
    make = partial(_make, config, variables, source, framing, paths, made_from)
    if team.count > 1:
        stretch = _stretch(config, source, framing, team)
        name = next(iter(paths.values()))
        ready = partial(team.barrier, f"the parts of {name} can be written")
        if team.index:
            ready()
        if not team.index or stretch:
            make(stretch, (lambda: None) if team.index else ready)
        team.barrier(f"the parts of {name} are written")
    return None if team.index else make()


def _stretch(config: Config, source: str, framing: video.Framing, team: Team) -> range:
    """Numbers of the frames that a process makes: of whole parts that whole batches cover.

    A film whose length is not known is left to the first process; one that must be undamaged, too,
    as only who decodes all of it can tell.
    """
    film = video.probe(source, framing.video_stream, framing.fps)
    covered = (video.expected_frames(film, framing) or 0) // config.batch_size * config.batch_size
    whole = 0 if config.strict else covered // segments.SEGMENT_FRAMES
    own = team.own(whole)
    return range(own.start * segments.SEGMENT_FRAMES, own.stop * segments.SEGMENT_FRAMES)


def _make(
    config: Config,
    variables,
    source: str,
    framing: video.Framing,
    paths: dict[str, Path],
    made_from: str,
    stretch: range | None = None,
    ready: Callable[[], None] = lambda: None,
) -> int:
    """Makes a film, or only the parts of a stretch of it, from where an earlier attempt stopped.

    Args:
      config, variables, source, framing, paths, made_from: as for ``reconstruct``.
      stretch: numbers of the frames to make; default: all, and the films of them.
      ready: called when others can write theirs.

    Returns:
      The number of the frame after the last.
    """
    film = video.probe(source, framing.video_stream, framing.fps)
    expected = video.expected_frames(film, framing)
    with contextlib.ExitStack() as stack:
        encoders = _open_encoders(config, film, framing, paths, made_from, stretch)
        for encoder in encoders.values():
            stack.enter_context(encoder)
        stills = stack.enter_context(NumberedPngs(config.frames_out, made_from, stretch))
        ready()
        pictures = [encoder.segments for encoder in encoders.values()]
        done = min(picture.frames for picture in pictures)
        done = (
            min(done, stills.frames - stills.frames % segments.SEGMENT_FRAMES)
            if config.frames_out
            else done
        )
        for written in (*pictures, stills):
            written.truncate(done)
        late = threading.Event()  # frames of the source are missing, and later ones in their place
        if any(picture.frames_missing for picture in pictures):
            late.set()
        if stretch is not None and (late.is_set() or done == stretch.stop):
            return done
        # The batches of the first attempt, one of them again: a short last one is filled from it.
        first_batch = max(0, done // config.batch_size - 1)
        skipped = first_batch * config.batch_size
        decode = partial(video.decode, source, framing, on_missing_frames=late.set)
        if stretch is not None:
            batched = -(-stretch.stop // config.batch_size) * config.batch_size
            frames = decode(skip=skipped, count=batched - skipped)
        elif late.is_set() or expected is None:  # where to go on is known by counting alone
            frames = itertools.islice(decode(strict=config.strict), skipped, None)
        else:
            frames = decode(skip=skipped, strict=config.strict)
        end = expected if stretch is None else stretch.stop
        progress = stack.enter_context(
            tqdm(
                total=end,
                initial=done,
                unit="frame",
                desc="reconstructing",
                mininterval=1,
                disable=bool(stretch and stretch.start),  # the first process's is enough
            )
        )
        again = done - skipped
        for source_BHWC, output_BHWC in reconstruct_frames(config, variables, frames, first_batch):
            if late.is_set() and stretch is not None:  # how far, the processes before it know
                break
            rows = slice(again, None if stretch is None else again + stretch.stop - done)
            source_BHWC, output_BHWC = source_BHWC[rows], output_BHWC[rows]
            again = max(0, again - config.batch_size)
            for layout, encoder in encoders.items():
                if late.is_set():
                    encoder.segments.mark_frames_missing()
                encoder.write(LAYOUTS[layout](source_BHWC, output_BHWC))
            stills.write(output_BHWC)
            done += len(output_BHWC)
            progress.update(len(output_BHWC))
    if stretch is not None and done < stretch.stop:
        logger.warning(
            "%s lacks frames after number %d: one process goes on from there alone.", source, done
        )
    return done


def _open_encoders(
    config: Config,
    film: video.Probe,
    framing: video.Framing,
    paths: dict[str, Path],
    made_from: str,
    stretch: range | None,
) -> dict[str, Encoder]:
    """The writer of each layout's film."""
    encoders, upscale = {}, config.upscale
    for layout, path in paths.items():
        pair = 2 * [np.empty((1, config.height, config.width, 3), np.uint8)]
        _, height, width, _ = LAYOUTS[layout](*pair).shape
        across, down = width // config.width, height // config.height
        encoders[layout] = Encoder(
            path,
            width,
            height,
            film.rate,
            sound_from=film.path,
            framing=framing,
            film_format=FilmFormat(
                config.codec,
                config.quality,
                upscale and (upscale[0] * across, upscale[1] * down),
            ),
            resume=made_from,
            frame_range=stretch,
        )
    return encoders
