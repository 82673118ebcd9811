"""Ends the program cleanly on SIGTERM or SIGINT, and at once on a second signal."""

import logging
import os
import signal
import sys
import threading
import time
from types import FrameType

from vae_gan_jax import operating_system

NUMBERS = (signal.SIGTERM, signal.SIGINT)
DUPLICATE_SECONDS = 1.0  # signals within this time count once: timeout(1) sends them twice
RETRY_SECONDS = 0.05  # delay before a signal without effect is sent again
_retries: list[int] = []  # signals that this program sent itself; they do not count as second ones

logger = logging.getLogger(__name__)


def install() -> None:
    """Makes the first signal raise ``SystemExit(128 + number)`` in the main thread.

    Python runs no signal handler while compiled code runs, so a thread waits for a second signal
    and ends the program.
    """
    reader, writer = operating_system.wakeup_pipe()
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_exit_at_second, args=(reader,), name="signals", daemon=True).start()
    for number in NUMBERS:
        signal.signal(number, _exit)
    sys.unraisablehook = _retry_swallowed_exit


def _exit(number: int, frame: FrameType | None) -> None:
    if _is_importing(frame):
        _send_later(number)
        return
    _ignore_signals()
    name = signal.Signals(number).name
    logger.error("vae_gan_jax: stopped by %s; the same command resumes.", name)
    sys.exit(128 + number)


def _is_importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported; an interrupted compiled module may crash."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _retry_swallowed_exit(unraisable) -> None:
    """Sends the signal again if a destructor or the garbage collector swallowed the exit."""
    error = unraisable.exc_value
    if not isinstance(error, SystemExit):
        sys.__unraisablehook__(unraisable)
        return
    signal.signal(error.code - 128, lambda *_: sys.exit(error.code))
    _send_later(error.code - 128)


def _send_later(number: int) -> None:
    def send():
        _retries.append(number)
        operating_system.send_to_itself(number)

    threading.Timer(RETRY_SECONDS, send).start()


def _exit_at_second(reader: int) -> None:
    first_time = None
    while received := os.read(reader, 1):
        now = time.monotonic()
        if _retries:
            _retries.pop()
        elif first_time is not None and now - first_time > DUPLICATE_SECONDS:
            os._exit(128 + received[0])
        else:
            first_time = first_time or now


def _ignore_signals() -> None:
    """Protects the clean-up from signals; the thread can still end the program."""
    for number in NUMBERS:
        signal.signal(number, lambda *_: None)


class Deferred:
    """A context that only stores a signal's number in ``received``, which is 0 before."""

    received = 0

    def __enter__(self):
        self._handlers = {}
        if threading.current_thread() is threading.main_thread():  # Python requires it
            for number in NUMBERS:
                self._handlers[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _) -> None:
        self.received = self.received or number

    def __exit__(self, exception, error, _):
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        ends = self.received and exception and issubclass(exception, SystemExit)
        if ends and _exit in self._handlers.values():  # not under the Python API
            _ignore_signals()
