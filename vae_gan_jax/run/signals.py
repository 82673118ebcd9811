"""SIGTERM and SIGINT end the program in order; a second one ends it at once."""

import os
import signal
import sys
import threading
import time
from types import FrameType

NUMBERS = (signal.SIGTERM, signal.SIGINT)
SAME = 1.0  # seconds within which a signal sent twice, as by timeout(1), counts once
AGAIN = 0.05  # seconds after which a signal is sent once more that could not end the program
_sent_again: list[int] = []  # those, which are no second ones


def install() -> None:
    """For the whole program: the first signal raises SystemExit(128 + its number) where it is.

    A second one ends the program even where Python waits for compiled code, as a thread of its own
    does it.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_end_at_second, args=(reader,), name="signals", daemon=True).start()
    for number in NUMBERS:
        signal.signal(number, _leave)
    sys.unraisablehook = _raise_again


def _raise_again(unraisable) -> None:
    """Where a destructor or the garbage collector's callback swallowed the exit: once more."""
    exit = unraisable.exc_value
    if not isinstance(exit, SystemExit):
        sys.__unraisablehook__(unraisable)
        return
    number = exit.code - 128
    signal.signal(number, lambda *_: sys.exit(exit.code))
    _send_again(number)


def _send_again(number: int) -> None:
    def send():
        _sent_again.append(number)
        os.kill(os.getpid(), number)

    threading.Timer(AGAIN, send).start()


def _end_at_second(reader: int) -> None:
    first = None
    while received := os.read(reader, 1):
        now = time.monotonic()
        if _sent_again:
            _sent_again.pop()
            continue
        if first is not None and now - first > SAME:
            os._exit(128 + received[0])
        first = first or now


def _leave(number: int, frame: FrameType | None) -> None:
    if _importing(frame):
        _send_again(number)
        return
    _ignore_further()
    name = signal.Signals(number).name
    print(f"\nvae_gan_jax: stopped by {name}; the same command goes on.", file=sys.stderr)
    sys.exit(128 + number)


def _importing(frame: FrameType | None) -> bool:
    """Compiled modules turn an exit while they are imported into errors of their own, or crash."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _ignore_further() -> None:
    """Tidying up is not to be interrupted, but by the thread that ends the program."""
    for number in NUMBERS:
        signal.signal(number, lambda *_: None)


class Held:
    """Within this context a signal is only noted, in ``received``: 0, or its number."""

    received = 0

    def __enter__(self):
        self._before = {}
        if threading.current_thread() is threading.main_thread():  # Python allows no other
            for number in NUMBERS:
                self._before[number] = signal.signal(number, self._note)
        return self

    def _note(self, number: int, _) -> None:
        self.received = self.received or number

    def __exit__(self, exception, error, _):
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.received and exception and issubclass(exception, SystemExit) and self._before:
            _ignore_further()
