"""The training loop: epochs of shuffled mini-batches under the noise schedule (4.5)."""

import contextlib
import logging
import time
from collections import Counter
from functools import partial
from pathlib import Path

import jax
import numpy as np
from tqdm import tqdm

from vae_gan_jax import signals
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import batches
from vae_gan_jax.model import autoencoder
from vae_gan_jax.training import metrics_log, noise_schedule, stability, train_state, train_step
from vae_gan_jax.training.checkpoint import Checkpoints

SAMPLES = "samples"
LOG_EVERY = 20  # steps that a line of metrics is the mean of
GRID_COLUMNS = 12
ROLL_BACKS = 3  # to one checkpoint, after which training stops

logger = logging.getLogger(__name__)


def train(
    config: Config,
    frames_THWC: np.ndarray,
    run_dir: str | Path,
    training_T: np.ndarray | None = None,
) -> train_state.TrainState:
    """Trains the networks on a film's frames, from the run's newest sound checkpoint if it has one.

    Writes a checkpoint after each epoch and every ``config.checkpoint_every_minutes``,
    ``metrics.jsonl`` and grids of samples into ``run_dir``. On SIGTERM or SIGINT it finishes the
    step, saves and exits with 128 + signal.

    A run that goes wrong (6.2; see ``stability``) goes back to its newest checkpoint and on from
    there with other noise, three times from the same.

    Args:
      config: the settings of the run.
      frames_THWC: uint8, ``[T, height, width, 3]``.
      run_dir: the run's folder.
      training_T: numbers of the frames to learn from; default: all.

    Returns:
      The state after the last epoch.

    Raises:
      InputError: there are fewer frames than a mini-batch has, the checkpoint does not fit,
        training goes wrong again and again, or its result cannot be written.
    """
    if training_T is None:
        training_T = np.arange(len(frames_THWC))
    steps_per_epoch = config.steps_per_epoch(len(training_T))
    total_steps = steps_per_epoch * config.epochs
    with Checkpoints(run_dir, steps_per_epoch, config.keep_epochs, config.strict) as checkpoints:
        training = _Training(config, frames_THWC, training_T, Path(run_dir), checkpoints)
        state = training.begin()
        step = int(state.step)
        if step >= total_steps:
            logger.info("trained already: %d epochs, %d steps", config.epochs, step)
            return state
        logger.info(
            "training: %d frames, %d epochs of %d steps of %d frames",
            len(training_T), config.epochs, steps_per_epoch, config.batch_size,
        )  # fmt: skip
        went_back = Counter()
        while True:
            try:
                state = training.go_on(state)
                break
            except stability.DivergedError as error:
                state = training.roll_back(error, went_back)
        checkpoints.wait()
        if total_steps not in checkpoints.steps:
            raise InputError(
                f"training is done, but {checkpoints.folder} has no room for its result: make "
                "room, then the same command goes on."
            )
    logger.info("trained: %d epochs, %d steps", config.epochs, total_steps)
    return state


class _Training:
    """What stays the same throughout a run's training."""

    def __init__(self, config, frames_THWC, training_T, run_dir: Path, checkpoints: Checkpoints):
        self.config, self.run_dir, self.checkpoints = config, run_dir, checkpoints
        self.frames_THWC, self.training_T = frames_THWC, training_T
        self.steps_per_epoch = config.steps_per_epoch(len(training_T))
        keys = jax.random.split(jax.random.key(config.seed), 3)
        self.init_key, self.step_key, self.sample_key = keys
        shown = np.linspace(0, len(training_T) - 1, GRID_COLUMNS).round().astype(int)
        self.shown_BHWC = frames_THWC[training_T[shown]]

    def begin(self) -> train_state.TrainState:
        """The newest checkpoint's state, or a fresh one where there is no checkpoint."""
        state = train_state.create(self.config, self.init_key)
        if self.checkpoints.steps:
            state = self.checkpoints.restore(state)
            logger.info("going on from the checkpoint at step %d", state.step)
        return state

    def go_on(self, state: train_state.TrainState) -> train_state.TrainState:
        """Trains to the end of the last epoch.

        Raises:
          DivergedError: training went wrong.
        """
        config, checkpoints = self.config, self.checkpoints
        step, total_steps = int(state.step), self.steps_per_epoch * config.epochs
        step_key = self.step_key
        if int(state.noise_stream):
            step_key = jax.random.fold_in(step_key, state.noise_stream)
        mini_batches = batches.prefetch(self._mini_batches(step))
        # Steps since the last line of metrics; seconds in which saving held the loop up since.
        pending, held_up, since, saved = [], 0.0, time.perf_counter(), time.perf_counter()
        owed = False  # a checkpoint, as soon as the run is worth saving
        with (
            contextlib.closing(mini_batches),
            tqdm(total=total_steps, initial=step, unit="step", mininterval=1) as progress,
            metrics_log.MetricsLog(self.run_dir, step) as log,
            signals.Held() as signal,
        ):
            watch = stability.Watch(config.max_bad_steps, log.kept)
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
                ends_epoch = step % self.steps_per_epoch == 0
                ends_line = step % LOG_EVERY == 0 or ends_epoch or bool(signal.received)

                if ends_line:
                    steps = [
                        {"step": step - len(pending) + 1 + index, **metrics}
                        for index, metrics in enumerate(jax.device_get(pending))
                    ]
                    seconds = time.perf_counter() - since
                    line = {
                        "step": step,
                        "epoch": epoch + 1,
                        "noise_std": noise_schedule.noise_std(config.noise_schedule, epoch),
                        **_line(steps),
                        "time/frames_per_second": len(steps) * config.batch_size / seconds,
                        "time/checkpoint_seconds": held_up,
                    }
                    pending, held_up, since = [], 0.0, time.perf_counter()
                    unwritten = log.write(line)
                    self._tell_unwritten(metrics_log.FILE, unwritten)
                    progress.set_postfix(_losses(line), refresh=False)
                    try:
                        for warning in watch.look(steps, line):
                            logger.warning("%s", warning)
                    except stability.DivergedError as error:
                        self._write_samples(state, _grid_name(error, "after"))
                        raise
                if config.sample_every and step % config.sample_every == 0:
                    log.check()
                    self._write_samples(state, f"step_{step:08d}")
                if ends_epoch:
                    self._write_samples(state, f"epoch_{epoch + 1:03d}")
                # Only where a line of metrics ends: resumed, the next is as long.
                due = time.perf_counter() - saved > 60 * config.checkpoint_every_minutes
                owed |= ends_epoch or bool(signal.received) or due
                if owed and ends_line and unwritten is None:
                    last = step == total_steps
                    if (watch.calm or last) and stability.is_finite(state):
                        saved = time.perf_counter()
                        checkpoints.save(state)
                        held_up, owed = time.perf_counter() - saved, False
                    elif last:
                        raise stability.DivergedError(
                            "parameters or moments of the networks are not finite", step
                        )
                if signal.received:
                    logger.info("stopped by a signal at step %d: the same command goes on", step)
                    raise SystemExit(128 + signal.received)
        return state

    def roll_back(
        self, error: stability.DivergedError, went_back: Counter
    ) -> train_state.TrainState:
        """The newest checkpoint's state, or a fresh one, with noise that it has not had yet.

        Args:
          error: what went wrong.
          went_back: how often training went back to each step; counted on.

        Raises:
          InputError: it went back to this one three times.
        """
        self.checkpoints.wait()
        state = self.begin()
        step = int(state.step)
        self._write_samples(state, _grid_name(error, "before"))
        if went_back[step] == ROLL_BACKS:
            grids = [str(self._grid(_grid_name(error, when))) for when in ("before", "after")]
            raise InputError(
                f"training went wrong again after {ROLL_BACKS} roll-backs to step {step}: {error}. "
                f"Compare {' and '.join(grids)}; a lower --learning_rate in a new --run_dir may "
                "help."
            )
        went_back[step] += 1
        logger.warning(
            "training went wrong: %s. Rolled back to step %d, number %d of %d; on with other noise",
            error, step, went_back[step], ROLL_BACKS,
        )  # fmt: skip
        return state.replace(noise_stream=state.noise_stream + went_back[step])

    def _mini_batches(self, first_step: int):
        """Epoch, noise and frames of each mini-batch after ``first_step``, on the device."""
        config = self.config
        first = noise_schedule.position(first_step, self.steps_per_epoch)
        for epoch in range(first.epoch, config.epochs):
            noise_std = jax.device_put(
                np.float32(noise_schedule.noise_std(config.noise_schedule, epoch))
            )
            skipped = first.batch if epoch == first.epoch else 0
            for frames_BHWC in batches.shuffled(
                self.frames_THWC, self.training_T, config.seed, epoch, config.batch_size, skipped
            ):
                yield epoch, noise_std, jax.device_put(frames_BHWC)

    def _grid(self, name: str) -> Path:
        return self.run_dir / SAMPLES / f"{name}.png"

    def _write_samples(self, state: train_state.TrainState, name: str) -> None:
        """Writes the grid of figures 5.1 to 5.14: rows x, its reconstruction, samples of the prior.

        The same frames, from all over the film, and the same latents each time, so that one sees
        them improve; normalised by their own statistics, as the mini-batches of training are.
        """
        rows_BHWC = _samples(
            self.config,
            state.params,
            state.batch_stats,
            jax.device_put(self.shown_BHWC),
            self.sample_key,
        )
        grid_HWC = metrics_log.sample_grid([self.shown_BHWC, *jax.device_get(rows_BHWC)])
        try:
            metrics_log.write_png(self._grid(name), grid_HWC)
        except OSError as error:
            self._tell_unwritten(self._grid(name).name, error.strerror)

    _unwritten: str | None = None

    def _tell_unwritten(self, name: str, reason: str | None) -> None:
        """Says once that a file cannot be written, and why; ``None`` if it could.

        Raises:
          InputError: ``--strict``.
        """
        if reason is not None and self.config.strict:
            raise InputError(f"{self.run_dir / name} cannot be written ({reason}): make room.")
        if reason is not None and self._unwritten is None:
            logger.warning("%s cannot be written (%s): training goes on", name, reason)
        self._unwritten = reason


def _grid_name(error: stability.DivergedError, when: str) -> str:
    return f"went_wrong_{error.step:08d}_{when}"


def _line(steps: list[dict]) -> dict[str, float | None]:
    """The mean of each metric over the steps where it is finite; how many were skipped."""
    line = {}
    for name in steps[0].keys() - {"step"}:
        values = np.array([step[name] for step in steps])
        finite = values[np.isfinite(values)]
        line[name] = float(finite.mean()) if finite.size else None
    line["skipped"] = sum(int(step["skipped"]) for step in steps)
    return dict(sorted(line.items()))


def _losses(line: dict) -> dict[str, str]:
    """The three losses, for the progress bar."""
    losses = {name.removeprefix("loss/"): line[name] for name in line if name.startswith("loss/")}
    return {name: "none" if loss is None else f"{loss:.3g}" for name, loss in losses.items()}


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
