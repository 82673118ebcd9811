"""The training loop: epochs of shuffled mini-batches under the noise schedule (4.5)."""

import logging
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import batches
from vae_gan_jax.model import autoencoder
from vae_gan_jax.training import metrics_log, noise_schedule, train_state, train_step
from vae_gan_jax.training.checkpoint import Checkpoints

SAMPLES = "samples"
LOG_EVERY = 20  # steps that a line of metrics is the mean of
GRID_COLUMNS = 12

logger = logging.getLogger(__name__)


def train(config: Config, frames_THWC: np.ndarray, run_dir: str | Path) -> train_state.TrainState:
    """Trains the networks on a film's frames, from the run's newest checkpoint if it has one.

    Writes a checkpoint after each epoch, ``metrics.jsonl`` and grids of samples into ``run_dir``.

    Args:
      config: the settings of the run.
      frames_THWC: uint8, ``[T, height, width, 3]``.
      run_dir: the run's folder.

    Returns:
      The state after the last epoch.

    Raises:
      InputError: the film is shorter than a mini-batch.
    """
    run_dir = Path(run_dir)
    steps_per_epoch = len(frames_THWC) // config.batch_size
    if steps_per_epoch == 0:
        raise InputError(
            f"--batch_size={config.batch_size} is more than the film's {len(frames_THWC)} frames: "
            "give a smaller batch or a longer film."
        )
    total_steps = steps_per_epoch * config.epochs
    init_key, step_key, sample_key = jax.random.split(jax.random.key(config.seed), 3)
    sampled_T = np.linspace(0, len(frames_THWC) - 1, GRID_COLUMNS).round().astype(int)
    write_samples = partial(_write_samples, config, frames_THWC[sampled_T], sample_key, run_dir)

    with Checkpoints(run_dir, keep=config.keep_epochs) as checkpoints:
        state = train_state.create(config, init_key)
        if checkpoints.latest_step is not None:
            state = checkpoints.restore(state)
            logger.info("going on from the checkpoint at step %d", checkpoints.latest_step)
        first_step = int(state.step)
        if first_step >= total_steps:
            logger.info("trained already: %d epochs, %d steps", config.epochs, first_step)
            return state
        logger.info(
            "training: %d frames, %d epochs of %d steps of %d frames",
            len(frames_THWC), config.epochs, steps_per_epoch, config.batch_size,
        )  # fmt: skip

        first = noise_schedule.position(first_step, steps_per_epoch)
        progress = tqdm(total=total_steps, initial=first_step, unit="step", mininterval=1)
        with progress, metrics_log.MetricsLog(run_dir, first_step) as log:
            for epoch in range(first.epoch, config.epochs):
                noise_std = noise_schedule.noise_std(config.noise_schedule, epoch)
                noise_std_on_device = jax.device_put(jnp.float32(noise_std))
                progress.set_description(f"epoch {epoch + 1}/{config.epochs}")
                shuffled = batches.shuffled(
                    frames_THWC,
                    config.seed,
                    epoch,
                    config.batch_size,
                    first=first.batch if epoch == first.epoch else 0,
                )
                pending, started = [], time.perf_counter()
                for frames_BHWC in batches.prefetch(map(jax.device_put, shuffled)):
                    # The host may be one step ahead of the device, so that neither waits, no more.
                    jax.block_until_ready(pending[-1:])
                    state, metrics = train_step.train_step(
                        state, frames_BHWC, step_key, noise_std_on_device, config
                    )
                    pending.append(metrics)
                    progress.update()
                    step = progress.n
                    if step % LOG_EVERY == 0 or step % steps_per_epoch == 0:
                        line = _mean(pending)
                        seconds = time.perf_counter() - started
                        line["time/frames_per_second"] = len(pending) * config.batch_size / seconds
                        place = {"step": step, "epoch": epoch + 1, "noise_std": noise_std}
                        log.write(place | line)
                        progress.set_postfix(
                            {name: f"{line[f'loss/{name}']:.3g}" for name in state.params}
                        )
                        pending, started = [], time.perf_counter()
                    if config.sample_every and step % config.sample_every == 0:
                        write_samples(state, f"step_{step:08d}")
                checkpoints.save(state)
                write_samples(state, f"epoch_{epoch + 1:03d}")
    logger.info("trained: %d epochs, %d steps", config.epochs, total_steps)
    return state


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
    rows_BHWC = _samples(config, state.params, state.batch_stats, frames_BHWC, key)
    grid_HWC = metrics_log.sample_grid([frames_BHWC, *jax.device_get(rows_BHWC)])
    metrics_log.write_png(run_dir / SAMPLES / f"{name}.png", grid_HWC)
