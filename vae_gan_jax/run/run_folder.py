"""Creates, locks and logs into the folder of a run."""

import contextlib
import logging
import os
import re
import sys
from logging.handlers import MemoryHandler
from pathlib import Path

import filelock

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.config.flag_text import printable
from vae_gan_jax.run import atomic_io, storage

LOG_FILE, LOCK_FILE = "log.txt", ".lock"

logger, package_logger = logging.getLogger(__name__), logging.getLogger("vae_gan_jax")
_locks: dict[str, filelock.FileLock] = {}  # by folder


class LogFile(logging.FileHandler):
    """The log of a run; errors such as a full disk are ignored."""

    def format(self, record):
        return storage.show_addresses(super().format(record))

    def handleError(self, record):
        pass


def open_run(config: Config, lock: bool = True) -> None:
    """Creates the run's folder, locks it and logs into its ``log.txt``.

    The lock lasts until the process ends or opens another run. Without ``lock``, another process
    may use the run at the same time. Raises InputError if another process uses the run, or its
    folder is read-only or has no UTF-8 name.
    """
    run_dir = Path(config.run_dir).absolute()
    if re.search("[\ud800-\udfff]", str(run_dir)):  # checkpoints could not be written there
        raise InputError(f"the path of the run folder {run_dir} is not UTF-8: give another.")
    run_dir.mkdir(parents=True, exist_ok=True)
    if not atomic_io.is_writable(run_dir):
        raise InputError(
            f"the run folder {run_dir} is read-only: change its permissions, or work on a copy."
        )
    if lock:
        _lock(run_dir)
    _log_into(run_dir)


def close_run() -> None:
    """Closes the log and releases the lock of the open run."""
    _close_logs()
    while _locks:
        _locks.popitem()[1].release()


def _lock(run_dir: Path) -> None:
    if str(run_dir) in _locks:
        return
    close_run()
    lock = filelock.FileLock(
        run_dir / LOCK_FILE, blocking=False, thread_local=False, fallback_to_soft=False
    )
    try:
        lock.acquire()
    except filelock.Timeout:
        raise InputError(
            f"{run_dir} is in use by another process: wait for it, or give another --run_dir."
        ) from None
    except (OSError, NotImplementedError):
        logger.info("%s has no file locks: start only one process there at a time", run_dir)
        return
    _locks[str(run_dir)] = lock


def _log_into(run_dir: Path) -> None:
    path = os.path.join(run_dir, LOG_FILE)
    if any(handler.baseFilename == path for handler in _logs()):
        return
    _close_logs()
    handler = LogFile(path, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    handler.handle(logging.makeLogRecord({"msg": " ".join(map(printable, sys.argv))}))
    for parent in (package_logger, logging.getLogger()):  # the root: warnings of libraries
        parent.addHandler(handler)
    for earlier in [log for log in package_logger.handlers if isinstance(log, MemoryHandler)]:
        package_logger.removeHandler(earlier)
        earlier.setTarget(handler)
        earlier.close()


def _logs() -> list[LogFile]:
    return [handler for handler in package_logger.handlers if isinstance(handler, LogFile)]


def _close_logs() -> None:
    for handler in _logs():
        for parent in (package_logger, logging.getLogger()):
            parent.removeHandler(handler)
        with contextlib.suppress(OSError):
            handler.close()
