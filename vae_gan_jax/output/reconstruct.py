"""A film through the trained networks, frame for frame (4.6), written as films and as PNGs."""

import contextlib
import logging
import re
import shutil
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import serialization
from flax.traverse_util import flatten_dict, unflatten_dict
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import batches, video
from vae_gan_jax.model import autoencoder, networks
from vae_gan_jax.training import metrics_log
from vae_gan_jax.training.train_state import TrainState

STATISTICS = "running_statistics"
STATISTICS_BATCHES = 100
PNG_NAME = "{:08d}.png"

logger = logging.getLogger(__name__)


@partial(jax.jit, static_argnames="config")
def _batch_statistics(config: Config, params, batch_stats, frames_BHWC):
    """Means and variances of one batch in every batch norm of encoder and decoder, noise 0."""
    zeros = jax.tree.map(jnp.zeros_like, batch_stats)
    _, moved = autoencoder.autoencode(
        config, params, zeros, frames_BHWC, jax.random.key(0), 0.0, train=True
    )
    # A moving average that starts from 0 holds the batch's statistics times its share.
    return jax.tree.map(lambda average: average / (1 - networks.BATCH_NORM_MOMENTUM), moved)


def running_statistics(
    config: Config, state: TrainState, frames_THWC: np.ndarray, training_T: np.ndarray
):
    """Statistics of the training film for encoder and decoder, estimated anew with noise 0.

    The moving averages of training lag behind the weights and hold the noise of the schedule; these
    do neither. Mini-batches are shuffled as in training, 100 of them or as many as the film has.

    Args:
      config: the settings of the run.
      state: the trained state.
      frames_THWC: the film it was trained on, uint8.
      training_T: numbers of the frames that it was trained on.

    Returns:
      ``batch_stats`` by network: mean and variance over all frames of those mini-batches.
    """
    shuffled = batches.shuffled(
        frames_THWC, training_T, config.seed, config.epochs, config.batch_size
    )
    collected = [
        flatten_dict(
            jax.device_get(_batch_statistics(config, state.params, state.batch_stats, frames_BHWC))
        )
        for frames_BHWC in islice(shuffled, STATISTICS_BATCHES)
    ]
    stacked = {path: np.stack([batch[path] for batch in collected]) for path in collected[0]}
    statistics = {path: values.mean(axis=0) for path, values in stacked.items()}
    for *layer, name in stacked:
        if name == "var":  # law of total variance: within the batches, and between them
            statistics[*layer, "var"] += stacked[*layer, "mean"].var(axis=0)
    return unflatten_dict(statistics)


def stored_statistics(config: Config, state: TrainState, run_dir: Path, read_frames):
    """``running_statistics``, kept in the run folder: a run reconstructs without its frames.

    Args:
      config, state: of the run.
      run_dir: the run's folder.
      read_frames: called for the film and the numbers of its training frames, where the statistics
        are not there yet.
    """
    path = Path(run_dir) / STATISTICS / f"{int(state.step)}.msgpack"
    template = {name: state.batch_stats[name] for name in ("encoder", "decoder")}
    if path.exists():
        return serialization.from_bytes(template, path.read_bytes())
    statistics = running_statistics(config, state, *read_frames())
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".partial")
    unfinished.write_bytes(serialization.to_bytes(statistics))
    unfinished.replace(path)
    return statistics


@partial(jax.jit, static_argnames="config")
def reconstruct_batch(config: Config, params, batch_stats, frames_BHWC, key):
    """Frames as the networks see them: uint8 in, uint8 out, ``[B, H, W, 3]``.

    With ``config.batch_norm`` "running" a frame's result does not depend on its neighbours.
    """
    x_BHWC, _ = autoencoder.autoencode(
        config,
        params,
        batch_stats,
        frames_BHWC,
        key,
        config.reconstruct_noise,
        train=config.batch_norm == "batch",
    )
    return autoencoder.to_frames(x_BHWC)


def reconstruct_frames(
    config: Config, params, batch_stats, frames
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of source and reconstructed frames, in order, every frame once.

    Args:
      config: the settings of the run.
      params: of the networks, by name.
      batch_stats: of encoder and decoder, by name.
      frames: frames ``[H, W, 3]`` in order.

    Yields:
      ``(source_BHWC, reconstructed_BHWC)``, uint8, with B the batch size, at the end fewer.
    """
    key = jax.random.key(config.seed)
    before_BHWC, waiting = None, None
    for index, source_BHWC in enumerate(
        batches.prefetch(batches.sequential(frames, config.batch_size))
    ):
        filled_BHWC = source_BHWC
        if before_BHWC is not None and len(source_BHWC) < config.batch_size:
            # The last batch is filled up with the frames before it: the same compiled function,
            # and as many frames for statistics of its own as all others have.
            filled_BHWC = np.concatenate([before_BHWC, source_BHWC])[-config.batch_size :]
        before_BHWC = source_BHWC
        result = reconstruct_batch(
            config, params, batch_stats, filled_BHWC, jax.random.fold_in(key, index)
        )
        if waiting is not None:  # fetched while the device is busy with the next
            yield waiting[0], np.asarray(waiting[1])[-len(waiting[0]) :]
        waiting = source_BHWC, result
    if waiting is not None:
        yield waiting[0], np.asarray(waiting[1])[-len(waiting[0]) :]


LAYOUTS = {
    "output": lambda source_BHWC, output_BHWC: output_BHWC,
    "side_by_side": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=2),
    "stacked": lambda *pair_BHWC: np.concatenate(pair_BHWC, axis=1),
}


def film_paths(config: Config, source: str) -> dict[str, Path]:
    """Where each layout's film goes: the first to ``--output``, further ones beside it.

    Without ``--output`` they go to the run's ``films``, under the source's name.
    """
    stem = Path(source).stem
    paths = {}
    for index, layout in enumerate(config.layout):
        suffix = "" if layout == "output" else f"_{layout}"
        if config.output:
            output = Path(config.output)
            paths[layout] = output.with_stem(output.stem + suffix) if index else output
        else:
            paths[layout] = Path(config.run_dir) / "films" / f"{stem}{suffix}.mp4"
    return paths


def reconstruct(
    config: Config, params, batch_stats, source: str, framing: video.Framing
) -> dict[str, Path]:
    """Passes a whole film through the networks and writes it at its own rate, with its sound.

    Args:
      config: the settings of the run.
      params: of the networks, by name.
      batch_stats: of encoder and decoder, by name.
      source: the film.
      framing: what of it becomes frames.

    Returns:
      The films written, by layout.

    Raises:
      InputError: the film cannot be read, or a result cannot be written where it should go.
    """
    probe = video.probe(source)
    paths = film_paths(config, source)
    if not config.output:
        (Path(config.run_dir) / "films").mkdir(parents=True, exist_ok=True)
    count = 0
    with contextlib.ExitStack() as stack:
        encoders = {}
        for layout, path in paths.items():
            shape = LAYOUTS[layout](*2 * [np.empty((1, config.height, config.width, 3))]).shape
            encoders[layout] = stack.enter_context(
                video.Encoder(
                    path,
                    width=shape[2],
                    height=shape[1],
                    rate=probe.rate,
                    sound_from=source,
                    trim_start=framing.trim_start,
                    trim_end=framing.trim_end,
                )
            )
        write_stills = stack.enter_context(_stills(config.frames_out))
        progress = stack.enter_context(
            tqdm(total=video.expected_frames(probe, framing), unit="frame", desc="reconstructing")
        )
        frames = video.decode(source, framing)
        for source_BHWC, output_BHWC in reconstruct_frames(config, params, batch_stats, frames):
            for layout, encoder in encoders.items():
                encoder.write(LAYOUTS[layout](source_BHWC, output_BHWC))
            write_stills(output_BHWC)
            count += len(output_BHWC)
            progress.update(len(output_BHWC))
        if count == 0:
            raise InputError(f"{source} has no frames between the trims: widen them.")
    logger.info("reconstructed %d frames of %s", count, source)
    return paths


@contextlib.contextmanager
def _stills(folder: str):
    """A function that writes frames as PNGs numbered from 1; the folder appears whole.

    An earlier reconstruction's folder is replaced; one that holds anything else is refused.
    """
    if not folder:
        yield lambda frames_BHWC: None
        return
    folder = Path(folder)
    if folder.exists() and not (
        folder.is_dir() and all(re.fullmatch(r"\d{8}\.png", item.name) for item in folder.iterdir())
    ):
        raise InputError(f"--frames_out={folder} holds other files: give a new folder.")
    unfinished = folder.with_name(folder.name + ".partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    count = 0

    def write(frames_BHWC):
        nonlocal count
        for frame_HWC in frames_BHWC:
            count += 1
            metrics_log.write_png(unfinished / PNG_NAME.format(count), frame_HWC)

    try:
        yield write
        if folder.exists():
            shutil.rmtree(folder)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
