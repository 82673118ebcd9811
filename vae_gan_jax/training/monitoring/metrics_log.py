"""What a run writes down while it trains: its metrics, as lines of JSON."""

import contextlib
import json
import os
from pathlib import Path

from vae_gan_jax.config import InputError
from vae_gan_jax.run import atomic_io
from vae_gan_jax.training.distributed import processes

FILE = "metrics.jsonl"


class MetricsLog:
    """``metrics.jsonl`` of a run: a line for every stretch of steps; a context manager.

    A full disk stops nothing: lines that cannot be written wait for the next that can.

    Args:
      run_dir: the run's folder.
      step: the step at which training starts or goes on. Lines after it, left by a run that was
        interrupted before its next checkpoint, are dropped: training writes them again.

    Of several processes the first one writes, the others only know the lines of before.
    """

    def __init__(self, run_dir: str | Path, step: int):
        self._path = Path(run_dir) / FILE
        written = self._path.read_text() if self._path.exists() else None
        lines = [line for line in (written or "").splitlines() if _step(line) <= step]
        self.kept = [json.loads(line) for line in lines]  # of before, oldest first
        self._waiting, self._file = b"", None
        if processes.index():
            return
        kept = "".join(f"{line}\n" for line in lines)
        if kept != written:
            atomic_io.write(self._path, kept)
        self._file = self._path.open("r+b", buffering=0)
        self._end = self._file.seek(0, os.SEEK_END)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self._file is not None:
            self._file.close()

    @property
    def waiting(self) -> bool:
        """Whether lines wait for room on the disk."""
        return bool(self._waiting)

    def write(self, metrics: dict) -> str | None:
        """Appends one line.

        Returns:
          ``None`` if this and all lines before are on disk, else why not.

        Raises:
          InputError: the file is gone, or another has its place.
        """
        if self._file is None:
            return None
        self._waiting += json.dumps(metrics).encode() + b"\n"
        self.check()
        try:
            self._file.seek(self._end)
            waiting = memoryview(self._waiting)
            while waiting:
                waiting = waiting[self._file.write(waiting) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            with contextlib.suppress(OSError):
                self._file.truncate(self._end)  # no half lines
            return error.strerror
        self._end += len(self._waiting)
        self._waiting = b""
        return None

    def check(self) -> None:
        """Raises ``InputError`` if the run's folder was deleted, moved or replaced."""
        if self._file is None:
            return
        try:
            there = os.path.samestat(self._path.stat(), os.fstat(self._file.fileno()))
        except OSError:
            there = False
        if not there:
            raise InputError(
                f"{self._path.parent} was moved or deleted while it was in use: put it back where "
                "it was, then go on."
            )


def _step(line: str) -> float:
    """The step that a line tells of; infinite for a line cut short by an interruption."""
    try:
        return json.loads(line)["step"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
