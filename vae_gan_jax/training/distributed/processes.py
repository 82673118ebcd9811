"""Several processes as one run, on jax's own distributed runtime.

Each process drives its own devices, and all of them compute the same step. Process 0 alone writes
the run's folder. Modules that prepare frames import this one, so jax is imported only where
several processes need it.
"""

import dataclasses
import json
import os
import re
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vae_gan_jax.config import InputError
from vae_gan_jax.run.team import Team
from vae_gan_jax.training.distributed import runtime_messages

LOST_PEER = 75  # exit code (EX_TEMPFAIL): another process was lost, the same command goes on
HEARTBEAT_TIMEOUT_SECONDS = 100  # the runtime's default; --process_timeout can only shorten it
SHARED_FOLDER_TIMEOUT_SECONDS = 10.0  # for a network file system to show another machine's file
LINGER_SECONDS = 3.0  # process 0 fails last, so that others can report the same failure first


@dataclasses.dataclass(frozen=True)
class Launch:
    """What the flags say about this process; ``None`` where jax asks the launcher.

    Attributes:
      address: ``HOST:PORT`` of process 0.
      count: number of processes.
      index: number of this process, from 0.
    """

    address: str | None = None
    count: int | None = None
    index: int | None = None


_started = False
_filter: runtime_messages.Filter | None = None


def index() -> int:
    """The number of this process, from 0."""
    if not _started:
        return 0
    import jax

    return jax.process_index()


def count() -> int:
    """The number of processes that work on this run."""
    if not _started:
        return 1
    import jax

    return jax.process_count()


def team() -> Team:
    """The processes that work on this run."""
    return Team(index(), count(), barrier)


def detect(
    distributed: bool | None, address: str | None, count: int | None, index: int | None
) -> Launch | None:
    """Decides whether this process is one of several; ``None``: it works alone.

    Args:
      distributed: whether it is; ``None``: if Slurm, Open MPI or a TPU pod started several.
      address, count, index: as in ``Launch``. A Kubernetes job supplies the index.

    Raises:
      InputError: the flags contradict each other.
    """
    if distributed is False:
        return None
    if index is None and (address or count):
        index = _number("JOB_COMPLETION_INDEX", None)
    given = address, count, index
    if given == (None, None, None):
        slurm = "SLURM_STEP_NODELIST" in os.environ and _number("SLURM_NTASKS") > 1  # not in salloc
        mpi = _number("OMPI_COMM_WORLD_SIZE") > 1
        pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
        return Launch() if distributed or slurm or mpi or pod else None
    if None in given:
        raise InputError(
            "--coordinator_address, --num_processes and --process_id belong together: give all "
            "three."
        )
    if count < 1 or not 0 <= index < count:
        raise InputError(
            f"--process_id={index} does not fit --num_processes={count}: give each process its "
            "own number, from 0."
        )
    if not re.fullmatch(r".+:\d+", address):
        raise InputError(f"--coordinator_address={address} has no port: give HOST:PORT.")
    return Launch(address, count, index) if count > 1 else None


def local_gpus() -> list[int] | None:
    """This process's equal part of the machine's GPUs under Slurm or Open MPI; ``None``: no GPUs.

    By default jax gives each process the one GPU that has its local number. That is wrong where a
    process drives several GPUs, or where the launcher shows it only its own.

    Raises:
      InputError: there are more processes than GPUs.
    """
    if "SLURM_LOCALID" in os.environ:
        local, tasks = _number("SLURM_LOCALID"), _slurm_tasks_on_node()
    else:
        local, tasks = _number("OMPI_COMM_WORLD_LOCAL_RANK"), _number("OMPI_COMM_WORLD_LOCAL_SIZE")
    visible = _visible_gpus()
    if tasks <= 1 or visible <= 1:  # the launcher gave this process its only visible GPU
        return list(range(visible)) or None
    if tasks > visible:
        raise InputError(
            f"{tasks} processes on this machine cannot share its {visible} GPUs: start one process "
            "per machine or per GPU."
        )
    each = visible // tasks
    return list(range(local * each, (local + 1) * each))


def _number(variable: str, default: int | None = 0) -> int | None:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else default


def _slurm_tasks_on_node() -> int:
    """Number of tasks on this node. Slurm lists all nodes, for example ``4(x2),3``."""
    tasks = []
    for entry in os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1").split(","):
        number, repeats = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", entry).groups()
        tasks += [int(number)] * int(repeats or 1)
    return tasks[min(_number("SLURM_NODEID"), len(tasks) - 1)]


def _visible_gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([gpu for gpu in visible.split(",") if gpu])
    driver = Path("/proc/driver/nvidia/gpus")
    return len(list(driver.iterdir())) if driver.is_dir() else 0


def start(launch: Launch, settings: dict[str, str], timeout: float) -> None:
    """Joins the other processes; must run before jax computes anything.

    A process that is still missing after the timeout ends this one with exit code 2.

    Args:
      launch: this process.
      settings: texts by flag name, which must be equal in all processes.
      timeout: seconds to wait for the others, and at most until the runtime notices a lost one.

    Raises:
      InputError: the settings differ, or process 0 cannot be reached.
    """
    global _filter, _started
    _check_port(launch)
    _filter = runtime_messages.Filter(lambda: os._exit(LOST_PEER if _started else 2))
    timer = threading.Timer(timeout, _give_up, [timeout])
    timer.daemon = True
    timer.start()
    import jax

    # The training loop handles signals: one signal to any process stops them all.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            launch.address,
            launch.count,
            launch.index,
            local_device_ids=None if launch.address else local_gpus(),
            cluster_detection_method="deactivate" if launch.address else None,
            initialization_timeout=round(timeout) + 60,  # the timer ends first, more readably
            heartbeat_timeout_seconds=max(1, min(HEARTBEAT_TIMEOUT_SECONDS, round(timeout))),
        )
    except ValueError:
        raise InputError(
            "--distributed finds no launcher (Slurm, Open MPI, Cloud TPU, Kubernetes): give "
            "--coordinator_address, --num_processes and --process_id."
        ) from None
    _started = True
    check_equal_settings(settings)
    timer.cancel()


def _check_port(launch: Launch) -> None:
    """Process 0 checks the port first, since the runtime crashes if it is taken."""
    if launch.index != 0:
        return
    try:
        socket.create_server(("", int(launch.address.rpartition(":")[2]))).close()
    except (OSError, OverflowError) as error:
        raise InputError(
            f"--coordinator_address={launch.address} cannot be opened ({error}): give the address "
            "of process 0's machine with a free port."
        ) from None


def _give_up(timeout: float) -> None:
    fail(
        f"the processes did not all start within --process_timeout={timeout:g} seconds: start "
        "all of them, with the same --num_processes and --coordinator_address, and each with its "
        "own --process_id.",
        2,
    )


def check_equal_settings(settings: dict[str, str]) -> None:
    """Refuses settings, texts by flag name, that differ between processes."""
    first, *others = map(json.loads, gather_texts(json.dumps(settings)))

    def flag(settings, name):
        return f"--{name}={settings[name]}" if name in settings else f"no --{name}"

    for number, theirs in enumerate(others, 1):
        for name in sorted(first.keys() | theirs.keys()):
            if first.get(name) != theirs.get(name):
                refuse_together(
                    f"process 0 has {flag(first, name)} and process {number} has "
                    f"{flag(theirs, name)}: give all processes the same flags."
                )


def fail(sentence: str, code: int) -> None:
    """Where several processes work, ends this one alone; the others notice that it is lost.

    jax's shutdown is skipped, because it would wait for the others. A process that works alone
    continues.

    Args:
      sentence: printed on stderr, unless it is empty.
      code: the exit code.
    """
    if _filter is None:
        return
    if sentence:
        print(f"\nvae_gan_jax: {sentence}", file=sys.stderr, flush=True)
    if _started and index() == 0:
        time.sleep(LINGER_SECONDS)
    os._exit(code)


def exit_if_peer_lost(error: Exception) -> None:
    """Ends this process with one sentence and ``LOST_PEER`` if a lost process caused the error."""
    if _filter and re.search("gloo|nccl|coordination|connection (closed|reset)", str(error), re.I):
        _filter.report_lost_peer()


def refuse_together(sentence: str) -> None:
    """Ends the joint work and raises ``InputError``; only process 0's has the sentence.

    All processes must call it.
    """
    first = index() == 0
    finish()
    raise InputError(sentence if first else "")


def run_on_first(function: Callable, *args) -> None:
    """Process 0 alone calls the function; if it raises ``InputError``, all processes do."""
    if count() == 1:
        function(*args)
        return
    sentence = ""
    if index() == 0:
        try:
            function(*args)
        except InputError as error:
            sentence = str(error)
    if sentence := gather_texts(sentence)[0]:
        refuse_together(sentence)


def finish() -> None:
    """Ends the joint work once all processes are here. Each may then only exit or restart."""
    global _started, _filter
    if _filter is None:
        return
    import jax

    jax.distributed.shutdown()
    _filter.close()
    _started, _filter = False, None


def barrier(name: str) -> None:
    """Waits until all processes are here."""
    if count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def check_folder_is_shared(folder: Path) -> None:
    """Raises ``InputError`` if another process does not see process 0's folder."""
    if count() == 1:
        return
    mark = folder / f".seen_{broadcast_from_first(secrets.randbelow(2**31))}"
    if index() == 0:
        mark.touch()
    barrier("the mark is written")
    end = time.monotonic() + SHARED_FOLDER_TIMEOUT_SECONDS
    while not (visible := mark.exists()) and time.monotonic() < end:
        time.sleep(0.1)
    blind = [str(number) for number, visible in enumerate(gather(visible)) if not visible]
    if index() == 0:
        mark.unlink()
    if blind:
        refuse_together(
            f"process {', '.join(blind)} does not see the {folder} of process 0: give a folder on "
            "a file system that all share."
        )


def check_same_frames(checksum: int, folder: Path) -> None:
    """Raises ``InputError`` if another process has frames with another 32-bit checksum."""
    checksums = gather(checksum)
    others = [str(number) for number, theirs in enumerate(checksums) if theirs != checksums[0]]
    if others:
        refuse_together(
            f"the frames in {folder} are not the same in process {', '.join(others)} as in process "
            "0: delete the folder on that machine, and the frames are prepared again."
        )


def any_process(value: bool) -> bool:
    """Whether the value is true in any process."""
    return any(gather(value))


def broadcast_from_first(tree):
    """Process 0's arrays or numbers, in all processes; their shapes must be the same in all."""
    if count() == 1:
        return tree
    from jax.experimental import multihost_utils

    arrays = multihost_utils.broadcast_one_to_all(tree)
    return arrays.item() if isinstance(tree, int) else arrays


def gather(value: int) -> list[int]:
    """The unsigned 32-bit values of all processes, in all processes."""
    if count() == 1:
        return [value]
    import numpy as np
    from jax.experimental import multihost_utils

    return multihost_utils.process_allgather(np.uint32(value)).tolist()


def gather_texts(text: str) -> list[str]:
    """The texts of all processes, in all processes."""
    if count() == 1:
        return [text]
    import numpy as np
    from jax.experimental import multihost_utils

    encoded = np.frombuffer(text.encode(), np.uint8)
    lengths = gather(encoded.size)
    padded = np.pad(encoded, (0, max(lengths) - encoded.size))
    rows = multihost_utils.process_allgather(padded)
    return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]
