"""A run's folder: made, locked for one process, and with a log."""

import logging
import os
import sys
from pathlib import Path

import filelock

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.run import storage
from vae_gan_jax.run.settings import record_settings

LOG_FILE, LOCK_FILE = "log.txt", ".lock"

logger = logging.getLogger(__name__)
_locks: dict[str, filelock.FileLock] = {}  # by folder; held until the process ends


class LogFile(logging.FileHandler):
    """The log of a run; a full disk stops the log, but not the program."""

    def format(self, record):
        return storage.show_addresses(super().format(record))

    def handleError(self, record):
        pass


def open_run(config: Config, record: bool = False, lock: bool = True) -> None:
    """Makes the run's folder, locks it and sends the log to its ``log.txt``.

    The lock lasts until the process ends or opens another run.

    Args:
      config: the settings of the command.
      record: record them as the settings of the run.
      lock: without it, the folder is only looked at and may be in use by another process.

    Raises:
      InputError: another process uses the run.
    """
    run_dir = Path(config.run_dir).absolute()
    run_dir.mkdir(parents=True, exist_ok=True)
    if lock:
        _lock(run_dir)
    _log_into(run_dir)
    if record:
        record_settings(run_dir, config)


def close_run() -> None:
    """Closes the log and releases the lock of the run that is open."""
    package = logging.getLogger("vae_gan_jax")
    for handler in [handler for handler in package.handlers if isinstance(handler, LogFile)]:
        package.removeHandler(handler)
        handler.close()
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
    package, path = logging.getLogger("vae_gan_jax"), os.path.join(run_dir, LOG_FILE)
    logs = [handler for handler in package.handlers if isinstance(handler, LogFile)]
    if any(handler.baseFilename == path for handler in logs):
        return
    for handler in logs:
        package.removeHandler(handler)
        handler.close()
    handler = LogFile(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    package.addHandler(handler)
    handler.handle(logging.makeLogRecord({"msg": " ".join(sys.argv)}))
