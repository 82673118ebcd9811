"""Signals can be deferred, and a second one ends the program at once."""

import os
import signal
import subprocess
import sys
import time

from vae_gan_jax.run import signals


def test_a_deferred_signal_is_stored_and_the_handlers_come_back():
    before = signal.getsignal(signal.SIGTERM)
    with signals.Deferred() as deferred:
        assert deferred.received == 0
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert deferred.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_second_signal_ends_a_program_that_ignores_the_first():
    """The first signal is deferred for ever; the second comes more than a second later."""
    program = """
import time
from vae_gan_jax.run import signals
signals.install()
with signals.Deferred() as deferred:
    print("deferred", flush=True)
    while not deferred.received:
        time.sleep(0.01)
    print("received", flush=True)
    while True:
        time.sleep(1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"deferred\n"
        process.terminate()
        assert process.stdout.readline() == b"received\n"
        time.sleep(signals.DUPLICATE_SECONDS + 0.5)
        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM


def test_an_import_finishes_before_the_signal_counts(tmp_path):
    """An interrupted compiled module would turn the exit into another error."""
    (tmp_path / "fragile.py").write_text(
        """
import signal, time
try:
    signal.raise_signal(signal.SIGINT)
    time.sleep(1.5)
except SystemExit as error:
    raise ImportError("initialization failed") from error
print("imported", flush=True)
"""
    )
    program = "import time; from vae_gan_jax.run import signals; signals.install(); import fragile"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; time.sleep(99)"],
        capture_output=True, text=True, check=False, timeout=60,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{os.getcwd()}"},
    )  # fmt: skip
    assert done.stdout == "imported\n"
    assert done.returncode == 128 + signal.SIGINT
    assert "stopped by SIGINT; the same command resumes." in done.stderr


def test_an_exit_that_a_destructor_swallows_is_repeated():
    program = """
import signal, time
from vae_gan_jax.run import signals
class Trap:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
signals.install()
trap = Trap()
del trap
time.sleep(99)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 128 + signal.SIGTERM
    (line,) = done.stderr.strip().splitlines()
    assert line == "vae_gan_jax: stopped by SIGTERM; the same command resumes."
