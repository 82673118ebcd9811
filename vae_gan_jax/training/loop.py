"""The training loop: epochs of shuffled mini-batches under the noise schedule (4.5)."""

import contextlib
import logging
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.store import batches
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.run import signals
from vae_gan_jax.training import (
    devices,
    divergence,
    feeding,
    noise_schedule,
    pca_init,
    pretrained,
    train_state,
)
from vae_gan_jax.training.checkpoint import Checkpoints
from vae_gan_jax.training.distributed import mesh, processes
from vae_gan_jax.training.monitoring import metrics_log, samples, tensorboard
from vae_gan_jax.training.monitoring.progress import Progress

LOG_EVERY_STEPS = 20  # steps that a line of metrics is the mean of
ROLL_BACKS = 3  # to one checkpoint, after which training stops

logger = logging.getLogger(__name__)


def train(
    config: Config,
    film: TrainingFrames,
    run_dir: str | Path,
) -> train_state.TrainState:
    """Trains the networks on a film's frames, from the run's newest sound checkpoint if it has one.

    Writes a checkpoint after each epoch and every ``config.checkpoint_every_minutes``,
    ``metrics.jsonl``, grids of samples, and both for TensorBoard, into ``run_dir``. On SIGTERM or
    SIGINT it finishes the dispatch, saves and exits with 128 + signal. Of several processes all
    take part in the checkpoints, the first alone writes the rest, and a signal to one is to all.

    A run that goes wrong (6.2; see ``stability``) goes back to its newest checkpoint and on from
    there with other noise, three times from the same.

    Args:
      config: the settings of the run.
      film: the frames to learn from.
      run_dir: the run's folder.

    Returns:
      The state after the last epoch.

    Raises:
      InputError: there are fewer frames than a mini-batch has, the checkpoint does not fit,
        training goes wrong again and again, or its result cannot be written.
    """
    steps_per_epoch = config.steps_per_epoch(len(film))
    mesh.check_batch(config)
    total_steps = steps_per_epoch * config.epochs
    with (
        devices.explain_out_of_memory(),
        _left_together(),
        Checkpoints(run_dir, steps_per_epoch, config.keep_epochs, config.strict) as checkpoints,
    ):
        training = _Training(config, film, Path(run_dir), checkpoints)
        state = training.begin()
        step = int(state.step)
        if step >= total_steps:
            logger.info("trained already: %d epochs, %d steps", config.epochs, step)
            return state
        logger.info(
            "training: %d frames, %d epochs of %d steps of %d frames",
            len(film), config.epochs, steps_per_epoch, config.batch_size,
        )  # fmt: skip
        went_back = Counter()
        while True:
            try:
                state = training.go_on(state)
                break
            except divergence.DivergedError as error:
                state = training.roll_back(error, went_back)
        checkpoints.wait()
        if not processes.of_first(total_steps in checkpoints.steps):
            raise InputError(
                f"training is done, but {checkpoints.folder} has no room for its result: make "
                "room, then the same command goes on."
            )
    logger.info("trained: %d epochs, %d steps", config.epochs, total_steps)
    return state


class _Stopped(SystemExit):
    """A signal, to whichever process, that all processes agreed to stop for."""


@contextlib.contextmanager
def _left_together():
    """Processes that stop together do so with all that they had to write written."""
    try:
        yield
    except _Stopped:
        processes.finish()
        raise


class _Training:
    """What stays the same throughout a run's training."""

    def __init__(self, config, film: TrainingFrames, run_dir: Path, checkpoints: Checkpoints):
        self.config, self.run_dir, self.checkpoints = config, run_dir, checkpoints
        self.steps_per_epoch = config.steps_per_epoch(len(film))
        keys = jax.random.split(jax.random.key(config.seed), 3)
        self.init_key, self.step_key, sample_key = keys
        self.film = film
        self.feed = feeding.Feed(config, film, (LOG_EVERY_STEPS, config.sample_every))
        self.grids = samples.SampleGrids(config, film, run_dir, sample_key)

    def begin(self) -> train_state.TrainState:
        """The newest checkpoint's state; where there is none a fresh one, or another run's."""
        state = train_state.create(self.config, self.init_key)
        resumed = processes.of_first(bool(self.checkpoints.steps))
        if self.config.linear_skip and not (resumed or self.config.init_from):
            state = pca_init.begin(self.config, state, self.film)
        state = mesh.place_state(self.config, state)
        if resumed:
            state = self.checkpoints.restore(state)
            logger.info("going on from the checkpoint at step %d", state.step)
        elif self.config.init_from:
            state = pretrained.begin(self.config, state)
            self.checkpoints.save(state)  # from here on the other run may change or go
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
            step_key = jax.random.fold_in(step_key, int(state.noise_stream))
        step_key = mesh.to_mesh(step_key)
        dispatches = batches.prefetch(self.feed.dispatches(step))
        # Steps since the last line of metrics; seconds in which saving held the loop up since.
        pending, held_up, since, saved = [], 0.0, time.perf_counter(), time.perf_counter()
        owed = False  # a checkpoint, as soon as the run is worth saving
        with (
            contextlib.closing(dispatches),
            Progress(
                self.steps_per_epoch, config.epochs, config.batch_size, step, processes.index() > 0
            ) as progress,
            metrics_log.MetricsLog(self.run_dir, step) as log,
            tensorboard.Events(self.run_dir, step) as events,
            signals.Held() as signal,
        ):
            watch = divergence.DivergenceMonitor(config.max_bad_steps, log.kept)
            agreed = mesh.MaxOverProcesses()
            for dispatch in dispatches:
                epoch = dispatch.epoch
                # The host may be one dispatch ahead of the device, so that neither waits, no more.
                jax.block_until_ready([metrics for _, metrics in pending[-1:]])
                with jax.set_mesh(mesh.device_mesh()), jax.transfer_guard("disallow"):
                    state, metrics = dispatch.run(state, step_key, config)
                step += dispatch.count
                noise = noise_schedule.noise_std(config.noise_schedule, epoch)
                pending.append((dispatch.count, metrics))
                progress.tell(epoch)
                progress.update(dispatch.count)
                ends_epoch = step % self.steps_per_epoch == 0
                due = time.perf_counter() - saved > 60 * config.checkpoint_every_minutes
                stop, due = agreed(signal.received, due)
                ends_line = step % LOG_EVERY_STEPS == 0 or ends_epoch or bool(stop)

                if ends_line:
                    steps = [
                        metrics
                        for count, fetched in jax.device_get(pending)
                        for metrics in feeding.by_step(fetched, count)
                    ]
                    for number, metrics in enumerate(steps, step - len(steps) + 1):
                        metrics["step"] = number
                    seconds = time.perf_counter() - since
                    line = {
                        "step": step,
                        "epoch": epoch + 1,
                        "noise_std": noise,
                        **_line(steps),
                        "time/frames_per_second": len(steps) * config.batch_size / seconds,
                        "time/checkpoint_seconds": held_up,
                    }
                    pending, held_up, since = [], 0.0, time.perf_counter()
                    self._tell_unwritten(log.write(line) or self.grids.flush())
                    events.metrics(line)
                    progress.tell(epoch, line)
                    try:
                        for warning in watch.look(steps, line):
                            logger.warning("%s", warning)
                    except divergence.DivergedError as error:
                        self._write_grid(state, *_grid_of(error, "after"))
                        diagnosis = "; ".join([str(error), *divergence.unsound(state)])
                        raise divergence.DivergedError(diagnosis, error.step) from error
                title = f"Epoch {epoch + 1} of {config.epochs}, step {step:,}, noise {noise:g}"
                if config.sample_every and step % config.sample_every == 0:
                    log.check()
                    self._write_grid(state, f"step_{step:08d}", title, events)
                if ends_epoch:
                    self._write_grid(state, f"epoch_{epoch + 1:03d}", title, events)
                # Only where a line of metrics ends: resumed, the next is as long. And only with
                # all metrics and grids before it on the disk: resumed, they are not made again.
                owed |= ends_epoch or bool(stop) or bool(due)
                if owed and ends_line and not processes.any_of(log.waiting or self.grids.waiting):
                    last = step == total_steps
                    if (watch.calm or last) and divergence.is_finite(state):
                        saved = time.perf_counter()
                        checkpoints.save(state)
                        held_up, owed = time.perf_counter() - saved, False
                        agreed = mesh.MaxOverProcesses()  # what was due is done
                    elif last:
                        diagnosis = "; ".join(divergence.unsound(state))
                        raise divergence.DivergedError(diagnosis, step)
                if stop:
                    logger.info("stopped by a signal at step %d: the same command goes on", step)
                    raise _Stopped(128 + stop)
        return state

    def roll_back(
        self, error: divergence.DivergedError, went_back: Counter
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
        self._write_grid(state, *_grid_of(error, "before"))
        if went_back[step] == ROLL_BACKS:
            names = [_grid_of(error, when)[0] for when in ("before", "after")]
            grids = [str(self.grids.path(name)) for name in names]
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

    def _write_grid(self, state, name: str, title: str, events=None) -> None:
        self._tell_unwritten(self.grids.write(state, name, title, events))

    _unwritten: str | None = None

    def _tell_unwritten(self, reason: str | None) -> None:
        """Says once that metrics and grids cannot be written, and why; ``None`` if they could.

        Raises:
          InputError: ``--strict``.
        """
        if reason is not None and self.config.strict:
            raise InputError(f"{self.run_dir} cannot be written ({reason}): make room.")
        if reason is not None and self._unwritten is None:
            logger.warning(
                "metrics and samples cannot be written (%s): training goes on, they wait", reason
            )
        self._unwritten = reason


def _grid_of(error: divergence.DivergedError, when: str) -> tuple[str, str]:
    """Name and title of the grid of samples before or after training went wrong."""
    where = {"before": "where training goes back to", "after": f"step {error.step:,}"}[when]
    return f"went_wrong_{error.step:08d}_{when}", f"Training went wrong, {when}: {where}"


def _line(steps: list[dict]) -> dict[str, float | None]:
    """The mean of each metric over the steps where it is finite; how many were skipped."""
    line = {}
    for name in steps[0].keys() - {"step"}:
        values = np.array([step[name] for step in steps])
        finite = values[np.isfinite(values)]
        line[name] = float(finite.mean()) if finite.size else None
    line["skipped"] = sum(int(step["skipped"]) for step in steps)
    return dict(sorted(line.items()))
