"""The training loop: epochs of shuffled mini-batches under the noise schedule (4.5)."""

import contextlib
import logging
import os
import signal
import threading
import time
from functools import partial
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config
from vae_gan_jax.film import batches
from vae_gan_jax.model import autoencoder
from vae_gan_jax.training import metrics_log, noise_schedule, train_state, train_step
from vae_gan_jax.training.checkpoint import Checkpoints

SAMPLES = "samples"
LOG_EVERY = 20  # steps that a line of metrics is the mean of
GRID_COLUMNS = 12

logger = logging.getLogger(__name__)


def train(
    config: Config,
    frames_THWC: np.ndarray,
    run_dir: str | Path,
    training_T: np.ndarray | None = None,
) -> train_state.TrainState:
    """Trains the networks on a film's frames, from the run's newest checkpoint if it has one.

    Writes a checkpoint after each epoch and every ``config.checkpoint_every_minutes``,
    ``metrics.jsonl`` and grids of samples into ``run_dir``. On SIGTERM or SIGINT it finishes the
    step, saves and exits with 128 + signal; on a second one it exits at once.

    Args:
      config: the settings of the run.
      frames_THWC: uint8, ``[T, height, width, 3]``.
      run_dir: the run's folder.
      training_T: numbers of the frames to learn from; default: all.

    Returns:
      The state after the last epoch.

    Raises:
      InputError: there are fewer frames than a mini-batch has, or the checkpoint does not fit.
    """
    run_dir = Path(run_dir)
    if training_T is None:
        training_T = np.arange(len(frames_THWC))
    steps_per_epoch = config.steps_per_epoch(len(training_T))
    total_steps = steps_per_epoch * config.epochs
    init_key, step_key, sample_key = jax.random.split(jax.random.key(config.seed), 3)
    shown_T = training_T[np.linspace(0, len(training_T) - 1, GRID_COLUMNS).round().astype(int)]
    write_samples = partial(_write_samples, config, frames_THWC[shown_T], sample_key, run_dir)

    with Checkpoints(run_dir, steps_per_epoch, config.keep_epochs) as checkpoints:
        state = train_state.create(config, init_key)
        if checkpoints.latest_step is not None:
            state = checkpoints.restore(state)
            logger.info("going on from the checkpoint at step %d", checkpoints.latest_step)
        step = int(state.step)
        if step >= total_steps:
            logger.info("trained already: %d epochs, %d steps", config.epochs, step)
            return state
        logger.info(
            "training: %d frames, %d epochs of %d steps of %d frames",
            len(training_T), config.epochs, steps_per_epoch, config.batch_size,
        )  # fmt: skip

        mini_batches = batches.prefetch(_mini_batches(config, frames_THWC, training_T, step))
        pending, since, saved = [], time.perf_counter(), time.perf_counter()
        with (
            contextlib.closing(mini_batches),
            tqdm(total=total_steps, initial=step, unit="step", mininterval=1) as progress,
            metrics_log.MetricsLog(run_dir, step) as log,
            _Signals() as signals,
        ):
            for epoch, noise_std, frames_BHWC in mini_batches:
                # The host may be one step ahead of the device, so that neither waits, no more.
                jax.block_until_ready(pending[-1:])
                with jax.transfer_guard("disallow"):
                    state, metrics = train_step.train_step(
                        state, frames_BHWC, step_key, noise_std, config
                    )
                step += 1
                pending.append(metrics)
                progress.set_description(f"epoch {epoch + 1}/{config.epochs}", refresh=False)
                progress.update()
                ends_epoch = step % steps_per_epoch == 0

                if step % LOG_EVERY == 0 or ends_epoch or signals.received:
                    line = {
                        "step": step,
                        "epoch": epoch + 1,
                        "noise_std": noise_schedule.noise_std(config.noise_schedule, epoch),
                        **_mean(pending),
                    }
                    seconds = time.perf_counter() - since
                    line["time/frames_per_second"] = len(pending) * config.batch_size / seconds
                    log.write(line)
                    losses = {name: f"{line[f'loss/{name}']:.3g}" for name in state.params}
                    progress.set_postfix(losses, refresh=False)
                    pending, since = [], time.perf_counter()
                if config.sample_every and step % config.sample_every == 0:
                    write_samples(state, f"step_{step:08d}")
                if ends_epoch:
                    write_samples(state, f"epoch_{epoch + 1:03d}")
                # Between epochs only where a line of metrics ends: resumed, the next is as long.
                due = time.perf_counter() - saved > 60 * config.checkpoint_every_minutes
                if ends_epoch or signals.received or (due and not pending):
                    checkpoints.save(state)
                    saved = time.perf_counter()
                if signals.received:
                    logger.info("stopped by a signal at step %d: the same command goes on", step)
                    raise SystemExit(128 + signals.received)
    logger.info("trained: %d epochs, %d steps", config.epochs, total_steps)
    return state


def _mini_batches(config: Config, frames_THWC, training_T, first_step: int):
    """Epoch, noise and frames of every mini-batch after ``first_step``, fetched to the device."""
    first = noise_schedule.position(first_step, config.steps_per_epoch(len(training_T)))
    for epoch in range(first.epoch, config.epochs):
        noise_std = jax.device_put(
            np.float32(noise_schedule.noise_std(config.noise_schedule, epoch))
        )
        skipped = first.batch if epoch == first.epoch else 0
        for frames_BHWC in batches.shuffled(
            frames_THWC, training_T, config.seed, epoch, config.batch_size, skipped
        ):
            yield epoch, noise_std, jax.device_put(frames_BHWC)


class _Signals:
    """Holds back SIGTERM and SIGINT until the loop asks; a second one ends the program at once."""

    received = 0

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            for number in (signal.SIGTERM, signal.SIGINT):
                self._before[number] = signal.signal(number, self._receive)
        return self

    def _receive(self, number, _):
        if self.received:
            os._exit(128 + number)
        self.received = number

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _mean(metrics: list[dict]) -> dict[str, float]:
    """The mean of each metric over some steps, fetched from the device at once."""
    metrics = jax.device_get(metrics)
    return {name: float(np.mean([step[name] for step in metrics])) for name in metrics[0]}


@partial(jax.jit, static_argnames="config")
def _samples(config, params, batch_stats, frames_BHWC, key):
    """The reconstruction of a batch and as many samples from the prior, as uint8 frames."""
    shape = (frames_BHWC.shape[0], config.z_dim)
    sampled_z_BZ = autoencoder.sample_prior(config.prior, key, shape)
    reconstructed_BHWC, _ = autoencoder.autoencode(
        config, params, batch_stats, frames_BHWC, key, 0.0, train=True
    )
    sampled_BHWC, _ = autoencoder.decode(config, params, batch_stats, sampled_z_BZ, train=True)
    return autoencoder.to_frames(reconstructed_BHWC), autoencoder.to_frames(sampled_BHWC)


def _write_samples(config, frames_BHWC, key, run_dir: Path, state, name: str) -> None:
    """Writes the grid of figures 5.1 to 5.14: rows x, its reconstruction, samples of the prior.

    The same frames, from all over the film, and the same latents each time, so that one sees them
    improve; normalised by their own statistics, as the mini-batches of training are.
    """
    rows_BHWC = _samples(config, state.params, state.batch_stats, jax.device_put(frames_BHWC), key)
    grid_HWC = metrics_log.sample_grid([frames_BHWC, *jax.device_get(rows_BHWC)])
    metrics_log.write_png(run_dir / SAMPLES / f"{name}.png", grid_HWC)
