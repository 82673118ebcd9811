"""One sentence in place of the pages that jax's runtime prints when it loses another process.

The runtime then aborts this process from a thread of its own, and no public option prevents it.
File descriptor 2 therefore leads to a filter: this file, run as a script. The filter outlives the
abort, so no other message is lost. Before it aborts, the runtime prints a stack trace, which takes
about 0.2 s. Meanwhile a thread calls ``on_lost_peer``, which ends the process with the right exit
code.
"""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable

FATAL_MESSAGE = b"the JAX distributed service detected fatal errors"
_FATAL = re.compile(FATAL_MESSAGE + rb"|coordination_service(_agent)?\.cc.*(Polled|polling)")
_LOST_PEER = (
    "\nvae_gan_jax: lost contact with another process, which was killed, failed or stopped "
    "answering; its own output may say why. The same command resumes from the newest checkpoint.\n"
)
_EXIT_SECONDS = 10.0  # the longest wait for the filter's answer


class Filter:
    """Sends file descriptor 2 through the filter, until ``close``. Python's own stderr bypasses it.

    A thread calls ``on_lost_peer`` when the runtime is about to abort; it should end the process.
    """

    def __init__(self, on_lost_peer: Callable[[], None]):
        from vae_gan_jax.run import standard_streams  # the filter runs without the package

        self._terminal = os.dup(2)
        self._stderr = sys.stderr
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C ends the program, not its filter
        )
        os.dup2(self._process.stdin.fileno(), 2)
        self._process.stdin.close()
        sys.stderr = standard_streams.Lossy(
            open(self._terminal, "w", buffering=1, closefd=False)  # noqa: SIM115
        )
        self._on_lost_peer = on_lost_peer
        threading.Thread(target=self._wait, name="runtime messages", daemon=True).start()

    def _wait(self) -> None:
        if self._process.stdout.read(1):
            self._on_lost_peer()

    def report_lost_peer(self) -> None:
        """Ends this process as if the runtime had lost another one."""
        os.write(2, FATAL_MESSAGE + b"\n")
        time.sleep(_EXIT_SECONDS)
        self._on_lost_peer()

    def close(self) -> None:
        """Gives file descriptor 2 back; the filter ends."""
        os.dup2(self._terminal, 2)
        sys.stderr = self._stderr
        os.close(self._terminal)
        self._process.wait()


def _copy_messages() -> None:
    """The filter: copies stdin to stderr; replaces the last message by one sentence."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    for line in sys.stdin.buffer:
        with contextlib.suppress(OSError):  # the terminal is gone
            os.write(2, _LOST_PEER.encode() if _FATAL.search(line) else line)
        if _FATAL.search(line):
            os.write(1, b"!")
            break
    for _ in sys.stdin.buffer:  # the stack trace
        pass


if __name__ == "__main__":
    _copy_messages()
