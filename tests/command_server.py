"""Runs commands of the program, each in a fork of one process that has imported everything.

``python -m tests.command_server`` reads lines of JSON with ``argv``, ``folder``, ``stderr`` and
``seconds``, and answers each with the exit code; a command that takes longer is killed and answered
with "hang". Without the imports a command takes two seconds less than ``python -m``.
"""

import contextlib
import json
import os
import signal
import sys
import time
import warnings

warnings.simplefilter("ignore")  # about forks

from vae_gan_jax import main  # noqa: E402
from vae_gan_jax.evaluation import benchmark, compare, evaluate  # noqa: E402, F401
from vae_gan_jax.explore import explore  # noqa: E402, F401
from vae_gan_jax.figures import run_figures  # noqa: E402, F401
from vae_gan_jax.inference import reconstruct_film  # noqa: E402, F401
from vae_gan_jax.report import report_page  # noqa: E402, F401
from vae_gan_jax.training import loop  # noqa: E402, F401


def run(argv: list[str], folder: str, stderr: str) -> None:
    """Runs a command in this process, and ends it."""
    os.setsid()
    os.chdir(folder)
    for descriptor, path in ((0, os.devnull), (1, os.devnull), (2, stderr)):
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT), descriptor)
    sys.argv = ["main.py", *argv]
    code = 1
    try:
        main.start()
    except SystemExit as exit:
        code = exit.code or 0
    finally:
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 1)


def wait(child: int, seconds: float) -> int | str:
    """The exit code of a child, or "hang"."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hang"


if __name__ == "__main__":
    for line in sys.stdin:
        command = json.loads(line)
        limit = command.pop("seconds")
        child = os.fork()
        if child == 0:
            run(**command)
        print(json.dumps(wait(child, limit)), flush=True)
