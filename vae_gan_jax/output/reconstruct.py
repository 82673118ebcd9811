"""A film through the trained networks, frame for frame (4.6), written as films and as PNGs."""

import contextlib
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
from vae_gan_jax.film import batches, codecs, video
from vae_gan_jax.film.encode import PART
from vae_gan_jax.model import autoencoder, networks
from vae_gan_jax.training import metrics_log
from vae_gan_jax.training.train_state import TrainState

STATISTICS = "running_statistics"
STATISTICS_BATCHES = 100
PNG_NAME = "{:08d}.png"


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
    config: Config, params, batch_stats, frames, first_batch: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of source and reconstructed frames, in order, every frame once.

    Args:
      config: the settings of the run.
      params: of the networks, by name.
      batch_stats: of encoder and decoder, by name.
      frames: frames ``[H, W, 3]`` in order.
      first_batch: number of the first batch, which the noise depends on.

    Yields:
      ``(source_BHWC, reconstructed_BHWC)``, uint8, with B the batch size, at the end fewer.
    """
    key = jax.random.key(config.seed)
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
    params,
    batch_stats,
    source: str,
    framing: video.Framing,
    paths: dict[str, Path],
    made_from: str,
) -> int:
    """Passes a whole film through the networks and writes it at its own rate, with its sound.

    Decoding, the networks and encoding overlap; memory does not grow with the film. Interrupted,
    the same call goes on where it stopped, with the frames that it would have had.

    Args:
      config: the settings of the run.
      params: of the networks, by name.
      batch_stats: of encoder and decoder, by name.
      source: the film.
      framing: what of it becomes frames.
      paths: the films to write, by layout.
      made_from: what an interrupted attempt must have been made from to be continued.

    Returns:
      How many frames the film has.

    Raises:
      InputError: the film cannot be read, or a result cannot be written where it should go.
    """
    probe = video.probe(source, framing.video_stream, framing.fps)
    upscale = config.upscale
    with contextlib.ExitStack() as stack:
        encoders = {}
        for layout, path in paths.items():
            pair = 2 * [np.empty((1, config.height, config.width, 3), np.uint8)]
            _, height, width, _ = LAYOUTS[layout](*pair).shape
            across, down = width // config.width, height // config.height
            encoders[layout] = stack.enter_context(
                video.Encoder(
                    path,
                    width,
                    height,
                    probe.rate,
                    sound_from=source,
                    trim_start=framing.trim_start,
                    trim_end=framing.trim_end,
                    video_stream=framing.video_stream,
                    quality=config.quality,
                    codec=config.codec,
                    upscale=upscale and (upscale[0] * across, upscale[1] * down),
                    resume=made_from,
                )
            )
        stills = stack.enter_context(_Stills(config.frames_out, made_from))
        done = min(encoder.frames for encoder in encoders.values())
        done = min(done, stills.frames - stills.frames % PART) if config.frames_out else done
        for encoder in encoders.values():
            encoder.go_back(done)
        stills.frames = done
        # The batches of the first attempt, one of them again: a short last one is filled from it.
        first_batch = max(0, done // config.batch_size - 1)
        skipped = first_batch * config.batch_size
        frames = video.decode(source, framing, skip=skipped, strict=config.strict)
        progress = stack.enter_context(
            tqdm(
                total=video.expected_frames(probe, framing),
                initial=done,
                unit="frame",
                desc="reconstructing",
                mininterval=1,
            )
        )
        again = done - skipped
        for source_BHWC, output_BHWC in reconstruct_frames(
            config, params, batch_stats, frames, first_batch
        ):
            source_BHWC, output_BHWC = source_BHWC[again:], output_BHWC[again:]
            again = max(0, again - config.batch_size)
            for layout, encoder in encoders.items():
                encoder.write(LAYOUTS[layout](source_BHWC, output_BHWC))
            stills.write(output_BHWC)
            done += len(output_BHWC)
            progress.update(len(output_BHWC))
    return done


class _Stills:
    """Frames as PNGs numbered from 1 in a folder that appears whole; a context manager.

    Unfinished, it is called ``folder.partial`` and is continued if made from the same. An earlier
    reconstruction's folder is replaced; one that holds anything else is refused.

    Args:
      folder: where they go; with "" nothing is written.
      made_from: what they are made from.

    Raises:
      InputError: the folder holds something else, or cannot be made.
    """

    def __init__(self, folder: str, made_from: str):
        self.frames = 0
        self._folder = Path(folder) if folder else None
        if self._folder is None:
            return
        if self._folder.exists() and not _holds_stills_alone(self._folder):
            raise InputError(f"--frames_out={folder} holds other files: give a new folder.")
        self._unfinished = self._folder.with_name(self._folder.name + ".partial")
        label = self._unfinished / "made_from.json"
        if not label.exists() or label.read_text() != made_from:
            shutil.rmtree(self._unfinished, ignore_errors=True)
            self._unfinished.mkdir(parents=True)
            label.write_text(made_from)
        while self._still(self.frames + 1).exists():
            self.frames += 1

    def _still(self, number: int) -> Path:
        return self._unfinished / PNG_NAME.format(number)

    def write(self, frames_BHWC: np.ndarray) -> None:
        """Writes the next frames."""
        for frame_HWC in frames_BHWC if self._folder else ():
            self.frames += 1
            metrics_log.write_png(self._still(self.frames), frame_HWC)

    def __enter__(self):
        return self

    def __exit__(self, exception, *_):
        if self._folder is None:
            return
        if exception is not None:
            if not self.frames:
                shutil.rmtree(self._unfinished, ignore_errors=True)
            return
        (self._unfinished / "made_from.json").unlink()
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._unfinished.rename(self._folder)


def _holds_stills_alone(folder: Path) -> bool:
    return folder.is_dir() and all(
        re.fullmatch(r"\d{8}\.png", item.name) for item in folder.iterdir()
    )
