"""A film through the trained networks, frame for frame (4.6), written as films and as PNGs."""

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config
from vae_gan_jax.film import batches, codecs, video
from vae_gan_jax.film.encode import PART
from vae_gan_jax.model import autoencoder, folding
from vae_gan_jax.output.stills import Stills


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
    config: Config, params, batch_stats, frames, first_batch: int = 0, through=reconstruct_batch
) -> Iterator[tuple[np.ndarray, Any]]:
    """Pairs of source and reconstructed frames, in order, every frame once.

    Args:
      config: the settings of the run.
      params: of the networks, by name.
      batch_stats: of encoder and decoder, by name.
      frames: frames ``[H, W, 3]`` in order.
      first_batch: number of the first batch, which the noise depends on.
      through: what each batch passes through; gives arrays, in any tree, with the axis B in front.

    Yields:
      ``(source_BHWC, reconstructed_BHWC)``, uint8, with B the batch size, at the end fewer; or in
      place of the latter what ``through`` gives.
    """
    key = jax.random.key(config.seed)
    if config.batch_norm == "running":
        params, batch_stats = folding.fold(params, batch_stats)
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
        result = through(config, params, batch_stats, filled_BHWC, jax.random.fold_in(key, index))
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
        stills = stack.enter_context(Stills(config.frames_out, made_from))
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
