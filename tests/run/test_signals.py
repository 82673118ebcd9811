"""Signals: noted where that is asked for, and a second one ends the program at once."""

import os
import signal
import subprocess
import sys
import time

from vae_gan_jax.run import signals


def test_within_the_context_a_signal_is_noted_and_afterwards_all_is_as_before():
    before = signal.getsignal(signal.SIGTERM)
    with signals.Held() as held:
        assert held.received == 0
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGINT)
        assert held.received == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_second_ends_a_program_that_does_not_listen():
    """The first is held for ever; the second comes more than a moment later."""
    program = """
import time
from vae_gan_jax import signals
signals.install()
with signals.Held():
    print("held", flush=True)
    while True:
        time.sleep(1)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        assert process.stdout.readline() == b"held\n"
        process.terminate()
        time.sleep(signals.SAME + 0.5)
        assert process.poll() is None
        process.terminate()
        assert process.wait(timeout=20) == 128 + signal.SIGTERM


def test_what_is_being_imported_is_imported_first(tmp_path):
    """As a compiled module does that is interrupted, it makes another error of the exit."""
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
    program = "import time; from vae_gan_jax import signals; signals.install(); import fragile"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; time.sleep(20)"],
        capture_output=True, text=True, check=False, timeout=15,
        env=os.environ | {"PYTHONPATH": f"{tmp_path}:{os.getcwd()}"},
    )  # fmt: skip
    assert done.stdout == "imported\n"
    assert done.returncode == 128 + signal.SIGINT
    assert "stopped by SIGINT; the same command goes on." in done.stderr


def test_an_exit_that_a_destructor_swallows_comes_all_the_same():
    program = """
import signal, time
from vae_gan_jax import signals
class Trap:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
signals.install()
trap = Trap()
del trap
time.sleep(20)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, timeout=15
    )
    assert done.returncode == 128 + signal.SIGTERM
    (line,) = done.stderr.strip().splitlines()
    assert line == "vae_gan_jax: stopped by SIGTERM; the same command goes on."
