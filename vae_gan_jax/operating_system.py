"""What differs between Linux, macOS and Windows. No other file asks for the operating system.

The program is tested on Linux; the tests simulate the other systems.
"""

import contextlib
import hashlib
import os
import platform
import re
import select
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path
from typing import BinaryIO

import psutil

POLL_SECONDS = 0.005  # between two looks into a pipe on Windows
CGROUP_LIMITS = {
    "v1": (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
    "v2": (Path("/sys/fs/cgroup"), "memory.max"),
}


# Files and pipes


def open_at_once(path: str, flags: int) -> int:
    """An opener for ``open`` that does not wait for the writer of a named pipe."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # absent on Windows


def wait_readable(pipe: BinaryIO, seconds: float) -> bool:
    """Waits until a pipe has bytes or is at its end; returns False after ``seconds``."""
    if sys.platform != "win32":
        return bool(select.select([pipe], [], [], seconds)[0])
    import _winapi  # Windows' select takes only sockets
    import msvcrt

    end = time.monotonic() + seconds
    with contextlib.suppress(OSError):  # the other end is closed
        while not _winapi.PeekNamedPipe(msvcrt.get_osfhandle(pipe.fileno()), 0)[0]:
            if time.monotonic() > end:
                return False
            time.sleep(POLL_SECONDS)
    return True


def sync(path: str | Path) -> None:
    """Flushes a file or folder to the disk, where the system can do that."""
    writable = sys.platform == "win32"  # it flushes only files that are open for writing
    with contextlib.suppress(OSError):  # and opens no folders
        descriptor = os.open(path, os.O_RDWR if writable else os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def max_name_bytes(folder: str | Path) -> int:
    """How long the name of a file in a folder can be."""
    return os.pathconf(folder, "PC_NAME_MAX") if hasattr(os, "pathconf") else 255  # Windows


def replace(source: str | Path, target: str | Path) -> None:
    """Renames a file over another, or a folder over an empty one."""
    if sys.platform == "win32" and os.path.isdir(target):
        os.rmdir(target)
    os.replace(source, target)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Makes a symbolic link, or a copy where the system or the user's rights allow no links."""
    try:
        os.symlink(os.path.abspath(source), target)
    except OSError:
        shutil.copyfile(source, target)


# Signals


def wakeup_pipe() -> tuple[int, int]:
    """A pipe for ``signal.set_wakeup_fd``: the end to read and the end to write."""
    reader, writer = os.pipe()
    if sys.platform != "win32":  # POSIX demands it; Windows has it only since Python 3.12
        os.set_blocking(writer, False)
    return reader, writer


def send_to_itself(number: int) -> None:
    """Sends this process a signal, whose handler runs in the main thread."""
    if sys.platform == "win32":  # os.kill ends the process there and calls no handler
        signal.raise_signal(number)
    else:
        os.kill(os.getpid(), number)


def ignore_hangup() -> None:
    """Lets this process and those that it starts outlive their terminal."""
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


# Processor and memory


def work_of(process: int) -> tuple[float, int]:
    """Seconds of processor time and bytes read and written; zeros where the system hides them."""
    with contextlib.suppress(psutil.Error):
        watched = psutil.Process(process)
        times, moved = watched.cpu_times(), 0
        if hasattr(watched, "io_counters"):  # not on macOS
            counts = watched.io_counters()._asdict()
            kind = "chars" if "read_chars" in counts else "bytes"  # Linux counts pipes only there
            moved = counts[f"read_{kind}"] + counts[f"write_{kind}"]
        return times.user + times.system, moved
    return 0.0, 0


def memory_bytes() -> int:
    """Memory that this process may use, within the limits of its control groups, and all swap."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some containers hide how much is swapped
        swap = psutil.swap_memory().total
    groups, limits = [], [psutil.virtual_memory().total]
    with contextlib.suppress(OSError):  # only Linux has control groups
        groups = Path("/proc/self/cgroup").read_text().splitlines()
    for _, controllers, path in (line.split(":", 2) for line in groups):
        if controllers and "memory" not in controllers.split(","):
            continue
        root, file = CGROUP_LIMITS["v1" if controllers else "v2"]
        folder = root / path.strip("/")
        for parent in [folder, *folder.parents]:
            with contextlib.suppress(OSError, ValueError):
                limits.append(int((parent / file).read_text()))  # "max" is not a number
    return min(limits) + swap


def peak_memory_bytes() -> int:
    """The most memory that this process has used."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def has_desktop() -> bool:
    """Whether a browser can open a window here."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def processor_kind() -> str:
    """The machine type and a checksum of the processor's features."""
    features = None
    with contextlib.suppress(OSError):
        features = re.search(r"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.M)
    features = features[0] if features else platform.processor()
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
