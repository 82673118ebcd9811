"""Standard streams whose errors do not stop the program."""

import contextlib
import logging
import os
import sys

from vae_gan_jax import operating_system


class Lossy:
    """A text stream that ignores errors: a closed pipe, a full disk, a terminal that is gone."""

    def __init__(self, stream):
        stream.reconfigure(errors="backslashreplace")
        self._stream = stream

    def __getattr__(self, name):
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        # RuntimeError: a signal's handler writes during another write.
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError, RuntimeError):
            self._stream.flush()


def protect() -> None:
    """Lets the program outlive its stdout, its stderr and its terminal; must run first.

    Closed descriptors lead to the null device, so that no file of the run becomes descriptor 2,
    to which compiled code writes. The programs that this one starts ignore SIGHUP too.
    """
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, this one
    sys.stdout = Lossy(sys.stdout or os.fdopen(1, "w", closefd=False))
    sys.stderr = Lossy(sys.stderr or os.fdopen(2, "w", closefd=False))
    logging.raiseExceptions = False  # a handler that cannot write, such as absl's, stays silent
    logging.captureWarnings(True)
    operating_system.ignore_hangup()
