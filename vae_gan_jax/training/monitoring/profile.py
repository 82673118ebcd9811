"""A trace of training steps by jax's profiler, for TensorBoard and Perfetto (``--profile``)."""

import contextlib
import logging
import shutil
from pathlib import Path

import jax

from vae_gan_jax.run import atomic_io
from vae_gan_jax.training.monitoring.tensorboard import FOLDER

TRACES = Path(FOLDER) / "plugins" / "profile"  # where TensorBoard looks; one folder for each trace

logger = logging.getLogger(__name__)


class Profile(contextlib.AbstractContextManager):
    """Traces at least ``steps`` steps, in whole dispatches, after the dispatch that compiles.

    A context manager; at its end it ends a trace of fewer steps. 0 steps: it does nothing.
    """

    def __init__(self, run_dir: str | Path, steps: int):
        self._run_dir, self._steps = Path(run_dir), steps
        self._dispatches, self._start = 0, None  # the step where the trace starts, while it runs
        self._folder = self._run_dir / ".profile"  # until the trace is whole

    def update(self, step: int) -> None:
        """Starts or ends the trace; the devices have finished all steps up to ``step``."""
        if self._start is not None and step - self._start >= self._steps:
            self._end(step - self._start)
        elif self._dispatches == 1 and self._steps:
            self._start = step
            shutil.rmtree(self._folder, ignore_errors=True)
            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = 0  # every Python call would hide the steps
            jax.profiler.start_trace(str(self._folder), profiler_options=options)
        self._dispatches += 1

    def _end(self, steps: int | None) -> None:
        self._start = None
        try:
            jax.profiler.stop_trace()
            (trace,) = (self._folder / "plugins" / "profile").iterdir()
            path = self._run_dir / TRACES / trace.name
            path.parent.mkdir(parents=True, exist_ok=True)
            atomic_io.publish(trace, path)
            logger.info("profile of %s steps: %s", steps or "the last", path)
        except (OSError, ValueError, jax.errors.JaxRuntimeError) as error:
            logger.warning("--profile: the trace could not be written: %s", error)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __exit__(self, *exception):
        if self._start is not None:
            self._end(None)
        elif self._steps and self._dispatches < 2:
            logger.warning("--profile: training ended within its first dispatch, nothing is traced")
