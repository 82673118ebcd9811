"""The training loop: epochs of shuffled mini-batches with a noise schedule (4.5)."""

import contextlib
import logging
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np

from vae_gan_jax.config import Config
from vae_gan_jax.film.store import batches
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.run import signals
from vae_gan_jax.training import devices, divergence, feeding, pca_init, pretrained, train_state
from vae_gan_jax.training.checkpoint import Checkpoints
from vae_gan_jax.training.distributed import mesh, processes
from vae_gan_jax.training.divergence import DivergedError
from vae_gan_jax.training.monitoring import samples
from vae_gan_jax.training.monitoring.metrics_line import MetricsLine
from vae_gan_jax.training.monitoring.profile import Profile
from vae_gan_jax.training.monitoring.progress import Progress
from vae_gan_jax.training.monitoring.run_log import RunLog
from vae_gan_jax.training.monitoring.stops import Stop, Stops
from vae_gan_jax.training.monitoring.throughput import Throughput

LOG_EVERY_STEPS = 20  # a line of metrics is their mean over these steps
CHECKPOINT_SECONDS = 600.0  # between checkpoints within an epoch
MAX_ROLL_BACKS = 3  # to the same checkpoint

logger = logging.getLogger(__name__)


def train(config: Config, film: TrainingFrames, run_dir: str | Path) -> train_state.TrainState:
    """Trains the networks on a film; resumes from the run's newest sound checkpoint, if any.

    Writes into ``run_dir``: a checkpoint after each epoch and every ten minutes, ``metrics.jsonl``,
    grids of samples and TensorBoard events. Of several processes all take part in the checkpoints,
    and process 0 writes the rest.

    SIGTERM or SIGINT to any process saves the state at once and exits with 128 + signal. The
    resumed run equals an uninterrupted one, bit for bit. Training that diverges (6.2, see
    ``divergence``) rolls back to its newest healthy checkpoint and continues with other noise.

    Returns the state after the last epoch. Raises InputError if the film has fewer frames than a
    mini-batch, the checkpoint does not fit the networks, training still diverges after
    ``MAX_ROLL_BACKS``, or its result cannot be written.
    """
    steps_per_epoch = config.steps_per_epoch(len(film))
    mesh.check_batch(config)
    try:
        with (
            devices.explain_out_of_memory(),
            RunLog(run_dir, config.strict) as log,
            Checkpoints(run_dir, steps_per_epoch, config.keep_epochs, config.strict) as checkpoints,
        ):
            return _Training(config, film, log, checkpoints).run()
    except _Stopped:
        processes.finish()  # every process has written everything: they leave together
        raise


class _Stopped(SystemExit):
    """All processes agreed to stop because one of them received a signal."""


class _Training:
    """The training of a run: one attempt, and another one after each roll-back."""

    def __init__(self, config: Config, film: TrainingFrames, log: RunLog, checkpoints: Checkpoints):
        self.config, self.film, self.log, self.checkpoints = config, film, log, checkpoints
        self.steps_per_epoch = config.steps_per_epoch(len(film))
        self.total_steps = self.steps_per_epoch * config.epochs
        self.init_key, self.step_key, sample_key = jax.random.split(jax.random.key(config.seed), 3)
        self.feed = feeding.Feed(config, film, (LOG_EVERY_STEPS, config.sample_every))
        self.grids = samples.SampleGrids(config, film, sample_key)
        self.stops = Stops(log)
        self.throughput = Throughput(config)
        self.profile = Profile(log.run_dir, 0 if processes.index() else config.profile)
        self.roll_backs = Counter()  # by the step of the checkpoint

    def run(self) -> train_state.TrainState:
        """Trains to the end of the last epoch."""
        config, state = self.config, self.begin()
        if int(state.step) >= self.total_steps:
            logger.info("already trained: %d epochs, %d steps", config.epochs, state.step)
            return state
        logger.info(
            "training: %d frames, %d epochs of %d steps of %d frames",
            len(self.film), config.epochs, self.steps_per_epoch, config.batch_size,
        )  # fmt: skip
        with signals.Deferred() as signal, self.profile:
            while int(state.step) < self.total_steps:
                try:
                    state = _Attempt(self, state).run(signal)
                except DivergedError as error:
                    state = self.roll_back(error)
            if stop := max(processes.gather(signal.received)):
                raise _Stopped(128 + stop)  # it came during the last steps
        self.checkpoints.wait()
        if not processes.broadcast_from_first(self.total_steps in self.checkpoints.steps):
            processes.refuse_together(
                "training is done, but its last checkpoint could not be written to "
                f"{self.checkpoints.folder}: mend what the warning says, then start again."
            )
        self.stops.finish()
        logger.info("trained: %d epochs, %d steps", config.epochs, self.total_steps)
        return state

    def begin(self) -> train_state.TrainState:
        """The state of the newest sound checkpoint; without checkpoints an initial one."""
        state = train_state.create(self.config, self.init_key)
        resumed = processes.broadcast_from_first(bool(self.checkpoints.steps))
        if self.config.networks == "residual" and not (resumed or self.config.init_from):
            state = pca_init.begin(self.config, state, self.film)
        state = mesh.place_state(self.config, state)
        if resumed:
            state = self.checkpoints.restore(state)
            logger.info("resuming from the checkpoint at step %d", state.step)
        elif self.config.init_from:
            state = pretrained.begin(self.config, state)
            self.checkpoints.save(state)  # the run no longer depends on the other one
        return state.replace(total_steps=mesh.to_mesh(np.int32(self.total_steps)))

    def roll_back(self, error: DivergedError) -> train_state.TrainState:
        """The state of the newest healthy checkpoint, or the initial one, with other noise.

        Raises InputError if training rolled back to it ``MAX_ROLL_BACKS`` times before.
        """
        self.checkpoints.wait()
        self.checkpoints.delete(self.stops.unhealthy())
        state = self.begin()
        step = int(state.step)
        self.write_grid(state, _grid_name(error, "before"), f"Before divergence: step {step:,}")
        if self.roll_backs[step] == MAX_ROLL_BACKS:
            grids = [self.log.grid_path(_grid_name(error, when)) for when in ("before", "after")]
            processes.refuse_together(
                f"training diverged again after {MAX_ROLL_BACKS} roll-backs to step {step} "
                f"({error}): compare {grids[0]} and {grids[1]}, and give a lower --learning_rate "
                "in a new --run_dir."
            )
        self.roll_backs[step] += 1
        logger.warning(
            "training diverged: %s. Rolled back to step %d, roll-back %d of %d, with other noise",
            error, step, self.roll_backs[step], MAX_ROLL_BACKS,
        )  # fmt: skip
        return state.replace(noise_stream=state.noise_stream + self.roll_backs[step])

    def write_grid(self, state: train_state.TrainState, name: str, title: str) -> None:
        """Draws and writes a grid of samples."""
        if processes.index() == 0:
            self.log.grid(name, int(state.step), self.grids.draw(state, title))


class _Attempt:
    """Training from one state until the last step, a stop or a divergence."""

    def __init__(self, training: _Training, state: train_state.TrainState):
        self.training, self.config, self.log = training, training.config, training.log
        self.state, self.step = state, int(state.step)
        key = training.step_key
        if stream := int(state.noise_stream):
            key = jax.random.fold_in(key, stream)
        self.step_key = mesh.to_mesh(key)
        lines, stop = self.log.begin(self.step), training.stops.begin(self.step)
        self.monitor = divergence.DivergenceMonitor(lines, stop.bad_steps)
        self.line = MetricsLine(stop.unfinished)
        self.save_due, self.save_time = False, time.perf_counter()
        self.checkpoint_seconds = 0.0  # since the last line
        self.agree = mesh.MaxOverProcesses()

    def run(self, signal: signals.Deferred) -> train_state.TrainState:
        """Runs all dispatches; after each one logs, draws and saves what is due."""
        dispatches = batches.prefetch(self.training.feed.dispatches(self.step))
        hidden = processes.index() > 0
        with (
            contextlib.closing(dispatches),
            Progress(self.config, self.training.steps_per_epoch, self.step, hidden) as progress,
        ):
            for dispatch in dispatches:
                self._train(dispatch)
                progress.advance(dispatch.epoch, dispatch.count)
                stop = self._agree_on_stop(signal.received)
                if self._ends_line():
                    self._log_line(dispatch.epoch, progress)
                self._write_grids(dispatch.epoch)
                if stop:
                    self._stop(stop)
                if self.save_due and self._ends_line():
                    self._save()
        return self.state

    def _train(self, dispatch: feeding.Dispatch) -> None:
        # The host stays one dispatch ahead of the device, so that neither waits.
        with self.training.throughput.steps(), jax.transfer_guard("disallow"):
            self.line.wait()
            self.training.profile.update(self.step)
            self.state, metrics = dispatch.run(self.state, self.step_key, self.config)
        self.step += dispatch.count
        self.line.add(dispatch.count, metrics)

    def _agree_on_stop(self, signal: int) -> int:
        """The signal that any process received, or 0; also updates whether a checkpoint is due."""
        seconds = time.perf_counter() - self.save_time
        stop, due = self.agree(signal, seconds > CHECKPOINT_SECONDS)
        self.save_due |= bool(due) or self._ends_epoch()
        return stop

    def _ends_epoch(self) -> bool:
        return self.step % self.training.steps_per_epoch == 0

    def _ends_line(self) -> bool:
        return self.step % LOG_EVERY_STEPS == 0 or self._ends_epoch()

    def _log_line(self, epoch: int, progress: Progress) -> None:
        """Logs a line of metrics; process 0 judges it and decides for all."""
        finished, self.line = self.line, MetricsLine()
        diagnosis = None
        if processes.index() == 0:
            finished.fetch(self.step)
            batch_size = self.config.batch_size
            line = {
                "step": self.step,
                "epoch": epoch + 1,
                "noise_std": self.config.noise_schedule[epoch],
                **finished.mean(),
                **self.training.throughput.line(finished.steps_per_second() * batch_size),
                "time/checkpoint_seconds": self.checkpoint_seconds,
            }
            self.log.line(line)
            progress.show_losses(line)
            try:
                for warning in self.monitor.update(finished.steps, line):
                    logger.warning("%s", warning)
            except DivergedError as error:
                diagnosis = str(error)
        self.checkpoint_seconds = 0.0
        if processes.broadcast_from_first(diagnosis is not None):
            self._diverge(diagnosis)

    def _diverge(self, diagnosis: str | None) -> None:
        clauses = [diagnosis, *divergence.non_finite_networks(self.state)]
        error = DivergedError("; ".join(filter(None, clauses)), self.step)
        title = f"After divergence: step {self.step:,}"
        self.training.write_grid(self.state, _grid_name(error, "after"), title)
        raise error

    def _write_grids(self, epoch: int) -> None:
        noise = self.config.noise_schedule[epoch]
        title = f"Epoch {epoch + 1} of {self.config.epochs}, step {self.step:,}, noise {noise:g}"
        if self.config.sample_every and self.step % self.config.sample_every == 0:
            self.training.write_grid(self.state, f"step_{self.step:08d}", title)
        if self._ends_epoch():
            self.training.write_grid(self.state, f"epoch_{epoch + 1:03d}", title)

    def _save(self, at_stop: bool = False) -> None:
        """Saves the state if it is finite and fit for a roll-back.

        At a stop and at the end of training an unhealthy state is saved too, and marked as such.
        Nothing is saved while metrics or grids wait for room on the disk: they would be lost.
        """
        checkpoints, stops = self.training.checkpoints, self.training.stops
        last = self.step == self.training.total_steps
        healthy = self.monitor.healthy and not any(step["skipped"] for step in self.line.steps)
        wanted = (healthy or at_stop or last) and not self.log.waiting
        if not processes.broadcast_from_first(wanted):
            return
        if not divergence.is_finite(self.state):
            if last and not at_stop:
                self._diverge(None)
            return
        self.save_time = time.perf_counter()
        if not healthy:
            # Otherwise unhealthy checkpoints would displace those that a roll-back needs.
            checkpoints.delete(stops.unhealthy())
        if self.line.steps or not healthy:
            stops.add(self.step, Stop(healthy, self.monitor.bad_steps, self.line.steps))
        checkpoints.save(self.state)
        self.checkpoint_seconds = time.perf_counter() - self.save_time
        self.save_due = False
        self.agree = mesh.MaxOverProcesses()  # forgets that a checkpoint was due

    def _stop(self, signal: int) -> None:
        """Saves at once, also in the middle of a line of metrics."""
        if processes.index() == 0:
            self.line.fetch(self.step)
        self._save(at_stop=True)
        checkpoints = self.training.checkpoints
        checkpoints.wait()  # only now a failure to write is known
        is_saved = processes.broadcast_from_first(self.step in checkpoints.steps)
        where = "here" if is_saved else "from the newest checkpoint"
        logger.info("stopped at step %d: the same command resumes %s", self.step, where)
        raise _Stopped(128 + signal)


def _grid_name(error: DivergedError, when: str) -> str:
    """The name of the grid of samples before or after a divergence."""
    return f"went_wrong_{error.step:08d}_{when}"
