"""What a run logs while it trains: metrics as JSON lines, TensorBoard events, grids of samples."""

import contextlib
import json
import logging
import os
from pathlib import Path

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io, disk_errors
from vae_gan_jax.run.damaged_json import DAMAGE
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.monitoring.tensorboard import Events

METRICS_FILE = "metrics.jsonl"
SAMPLES_FOLDER = "samples"

logger = logging.getLogger(__name__)


class RunLog(contextlib.AbstractContextManager):
    """The log of a run; a context manager. Process 0 writes it; in others ``file`` does nothing.

    A full disk does not stop training: lines and files that cannot be written wait in memory, and
    each later call tries again. With ``strict`` it raises InputError instead. Every method that
    writes raises InputError if the run's folder was moved or deleted.
    """

    def __init__(self, run_dir: str | Path, strict: bool = False):
        self.run_dir, self._strict = Path(run_dir), strict
        self._path = self.run_dir / METRICS_FILE
        self._files = contextlib.ExitStack()  # the open ones
        self._metrics = None
        self._waiting_lines, self._waiting_files = b"", {}
        self._warned = False

    def __exit__(self, *exception):
        self._files.close()

    def begin(self, step: int) -> list[dict]:
        """Starts or resumes the log at a step and drops what was logged after it.

        Returns the remaining lines of metrics, oldest first.
        """
        if processes.index() > 0:
            return []
        self._files.close()
        self._waiting_lines = b""
        text = self._path.read_text(errors="replace") if self._path.exists() else None
        lines = [line for line in map(_parse, (text or "").split("\n")) if line["step"] <= step]
        remaining = "".join(f"{json.dumps(line)}\n" for line in lines)
        if remaining != text:
            atomic_io.write(self._path, remaining)
        self._metrics = self._files.enter_context(self._path.open("r+b", buffering=0))
        self._metrics.seek(0, os.SEEK_END)
        self._events = self._files.enter_context(Events(self.run_dir, step))
        return lines

    def line(self, metrics: dict[str, float | None]) -> None:
        """Appends a line of metrics, with the number of its last step under "step"."""
        self._events.metrics(metrics)
        self._waiting_lines += json.dumps(metrics).encode() + b"\n"
        self._flush()

    def grid(self, name: str, step: int, picture_HWC: np.ndarray) -> None:
        """Writes a grid of samples, uint8 ``[H, W, 3]``, to ``grid_path(name)``."""
        png = atomic_io.png(picture_HWC)
        self._events.picture("samples", step, picture_HWC.shape, png)
        self.file(self.grid_path(name), png)

    def grid_path(self, name: str) -> Path:
        """The file of a grid of samples."""
        return self.run_dir / SAMPLES_FOLDER / f"{name}.png"

    def file(self, path: Path, content: bytes) -> None:
        """Writes a whole file."""
        if self._metrics is not None:
            self._waiting_files[path] = content
            self._flush()

    @property
    def waiting(self) -> bool:
        """Whether lines or files wait for room on the disk."""
        return bool(self._waiting_lines or self._waiting_files)

    def _flush(self) -> None:
        self._check_folder()
        try:
            atomic_io.append(self._metrics, self._waiting_lines, sync=True)
            self._waiting_lines = b""
            for path in list(self._waiting_files):
                atomic_io.write(path, self._waiting_files[path])
                del self._waiting_files[path]
            self._warned = False
        except OSError as error:
            if self._strict:
                raise InputError(
                    f"{self.run_dir} cannot be written ({error.strerror}): "
                    f"{disk_errors.advice(error)}."
                ) from error
            if not self._warned:
                logger.warning(
                    "metrics and samples cannot be written (%s): training continues and writes "
                    "them later",
                    error.strerror,
                )
            self._warned = True

    def _check_folder(self) -> None:
        with contextlib.suppress(OSError):
            if os.path.samestat(self._path.stat(), os.fstat(self._metrics.fileno())):
                return
        raise InputError(
            f"{self.run_dir} was moved or deleted during training: put it back, then give the same "
            "command again."
        )


def _parse(text: str) -> dict:
    """A line of metrics; one that was cut short or is not a line gets an infinite step."""
    with contextlib.suppress(*DAMAGE):
        line = json.loads(text)
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            return line
    return {"step": float("inf")}
