"""What is known of Windows and macOS, simulated on this system."""

import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import termios
import types
from pathlib import Path

import numpy as np
import psutil
import pytest

from vae_gan_jax import operating_system
from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read import stills
from vae_gan_jax.run import atomic_io, disk_errors

PROJECT = Path(__file__).parent.parent
# What Python lacks on Windows, of what programs for POSIX use.
ABSENT_MODULES = ("fcntl", "grp", "pty", "pwd", "resource", "syslog", "termios", "tty")
ABSENT_NAMES = {
    "os": (
        *("O_NONBLOCK", "fork", "getpgid", "getuid", "killpg", "mkfifo", "nice", "setsid"),
        *("set_blocking", "statvfs", "sysconf", "uname", "sched_getaffinity"),
    ),
    "signal": ("SIGHUP", "SIGKILL", "SIGUSR1", "SIGALRM", "pthread_kill", "sigwait"),
}
IMPORT_ALL = """
import importlib, os, pkgutil, signal, sys
import absl.app, chex, filelock, flax, fsspec.asyn, imageio_ffmpeg, jax, jinja2, matplotlib.figure
import aiohttp.web, optax, orbax.checkpoint, PIL.Image, psutil, tensorboardX, tqdm
for name in {modules}:
    sys.modules[name] = None  # its import fails
for name in {os}:
    delattr(os, name)
for name in {signal}:
    delattr(signal, name)
sys.platform = "win32"
signal.set_wakeup_fd = lambda *_, **__: None  # Windows takes pipes that block
import vae_gan_jax
for module in pkgutil.walk_packages(vae_gan_jax.__path__, "vae_gan_jax."):
    importlib.import_module(module.name)
from vae_gan_jax.run import signals, standard_streams
signals.install()
standard_streams.protect()
"""


class Windows:
    """Windows' look into a pipe, made of POSIX's."""

    @staticmethod
    def PeekNamedPipe(handle: int, size: int) -> tuple[int, int]:
        count = int.from_bytes(fcntl.ioctl(handle, termios.FIONREAD, bytes(4)), sys.byteorder)
        if not count and select.select([handle], [], [], 0)[0]:
            raise BrokenPipeError
        return count, 0


@pytest.fixture
def windows(monkeypatch):
    """Lets the program take this system for Windows."""
    monkeypatch.setitem(sys.modules, "_winapi", Windows)
    msvcrt = types.SimpleNamespace(get_osfhandle=lambda descriptor: descriptor)
    monkeypatch.setitem(sys.modules, "msvcrt", msvcrt)
    monkeypatch.setattr(sys, "platform", "win32")


def test_every_module_is_imported_where_posix_is_absent():
    program = IMPORT_ALL.format(modules=ABSENT_MODULES, **ABSENT_NAMES)
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)


def test_no_other_file_asks_for_the_operating_system():
    asks = r"sys\.platform|os\.name\b|/proc/(?!driver)|\bselect\.|platform\.system"
    asks += r"|os\.(kill|fork|pathconf|set_blocking|symlink|O_NONBLOCK)\b"
    asks += r"|import (fcntl|resource|_winapi|msvcrt|termios|pwd)"
    for path in (PROJECT / "vae_gan_jax").rglob("*.py"):
        if path.name != "operating_system.py":
            assert not re.search(asks, path.read_text()), path


def test_windows_has_a_limit_of_names(monkeypatch, tmp_path):
    limit = operating_system.max_name_bytes(tmp_path)
    (tmp_path / ("n" * limit)).write_text("")
    monkeypatch.delattr(os, "pathconf")
    disk_errors.require_writable(str(tmp_path / "film.mp4"))
    with pytest.raises(InputError, match="longer than 255 bytes"):
        disk_errors.require_writable(str(tmp_path / ("n" * 256)))


def test_windows_waits_for_a_pipe(windows):
    reader, writer = os.pipe()
    with open(reader, "rb", buffering=0) as pipe, open(writer, "wb", buffering=0) as end:
        assert not operating_system.wait_readable(pipe, 0.02)
        end.write(b"abc")
        assert operating_system.wait_readable(pipe, 0.02)
        assert pipe.read(10) == b"abc"
        end.close()
        assert operating_system.wait_readable(pipe, 0.02)
        assert pipe.read(10) == b""


def test_ffmpeg_s_output_is_whole_on_windows(windows, film):
    code, output, _ = ffmpeg.output_of(["-i", ffmpeg.url(film), "-f", "rawvideo", "-"])
    assert code == 0
    assert len(output) == 26 * 64 * 36 * 3 // 2


def test_files_and_folders_are_published_on_windows(windows, tmp_path):
    atomic_io.write(tmp_path / "file", "one")
    atomic_io.write(tmp_path / "file", "two")
    assert (tmp_path / "file").read_text() == "two"
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "frame").write_text("1")
    (tmp_path / "folder").mkdir()
    atomic_io.publish(tmp_path / "new", tmp_path / "folder")
    assert (tmp_path / "folder" / "frame").read_text() == "1"
    (tmp_path / "new").mkdir()
    with pytest.raises(OSError, match="not empty"):
        atomic_io.publish(tmp_path / "new", tmp_path / "folder")


def test_windows_flushes_files_that_are_open_for_writing(windows, tmp_path, monkeypatch):
    flags = []
    monkeypatch.setattr(os, "fsync", lambda file: flags.append(fcntl.fcntl(file, fcntl.F_GETFL)))
    (tmp_path / "file").touch()
    operating_system.sync(tmp_path / "file")
    operating_system.sync(tmp_path)  # cannot be opened
    assert [flag & os.O_ACCMODE for flag in flags] == [os.O_RDWR]


def test_stills_are_copied_where_links_are_forbidden(tmp_path, monkeypatch):
    def forbidden(*_):
        raise OSError("a required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", forbidden)
    files = []
    for number in range(2):
        files.append(str(tmp_path / f"{number}.png"))
        Path(files[-1]).write_bytes(atomic_io.png(np.full((16, 16, 3), number, np.uint8)))
    for number, name in enumerate(files):
        still = stills.sequence(tuple(files)) % number
        assert Path(still).read_bytes() == Path(name).read_bytes()


def test_a_signal_to_itself_calls_the_handler_on_windows(windows):
    received = []
    former = signal.signal(signal.SIGTERM, lambda number, _: received.append(number))
    try:
        operating_system.send_to_itself(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, former)
    assert received == [signal.SIGTERM]


def test_work_is_counted_where_the_system_shows_it(monkeypatch):
    seconds, moved = operating_system.work_of(os.getpid())
    assert seconds > 0
    assert moved > 0
    monkeypatch.delattr(psutil.Process, "io_counters")  # macOS
    assert operating_system.work_of(os.getpid())[1] == 0
    assert operating_system.work_of(2**22 + 1) == (0.0, 0)  # no such process


def test_the_machine_has_its_memory_and_swap_or_what_its_control_group_allows(
    tmp_path, monkeypatch
):
    before = operating_system.memory_bytes()
    assert before > 10**8
    for version in ("v1", "v2"):
        monkeypatch.setitem(operating_system.CGROUP_LIMITS, version, (tmp_path, "limit"))
    (tmp_path / "limit").write_text("max\n")
    assert operating_system.memory_bytes() >= before
    (tmp_path / "limit").write_text("1000000\n")
    assert operating_system.memory_bytes() < before


def test_peak_memory_is_in_bytes_on_every_system(monkeypatch):
    linux = operating_system.peak_memory_bytes()
    assert 10**7 < linux < 10**12
    monkeypatch.setattr(sys, "platform", "darwin")
    assert operating_system.peak_memory_bytes() * 1024 == pytest.approx(linux, rel=0.1)
    monkeypatch.setattr(sys, "platform", "win32")
    status = types.SimpleNamespace(peak_wset=7)
    monkeypatch.setattr(psutil.Process, "memory_info", lambda _: status)
    assert operating_system.peak_memory_bytes() == 7


def test_code_compiled_for_another_processor_is_apart(monkeypatch):
    own = operating_system.processor_kind()
    monkeypatch.setattr(Path, "read_text", lambda _: "flags : none\n")
    other = operating_system.processor_kind()
    monkeypatch.setattr(Path, "read_text", lambda path: (path / "none").open())  # no /proc
    assert len({own, other, operating_system.processor_kind()}) == 3
