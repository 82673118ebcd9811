"""Several processes as one run, on jax's own distributed runtime.

Each process drives its own devices, and all compute the same step. Process 0 alone writes the
run's folder. jax is imported only where several processes need it, because preparing a film does
not.
"""

import json
import logging
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vae_gan_jax.config import InputError
from vae_gan_jax.run.team import Team
from vae_gan_jax.training.distributed import runtime_messages
from vae_gan_jax.training.distributed.launch import Launch, local_gpus

LOST_PEER = 75  # exit code (EX_TEMPFAIL): another process was lost, the same command resumes
# The runtime's default. It notices a silent process after 0.6 to 1.1 times this, so at most half of
# --process_timeout is allowed.
HEARTBEAT_TIMEOUT_SECONDS = 100
SHARED_FOLDER_TIMEOUT_SECONDS = 10.0  # for a network file system to show another machine's file
LINGER_SECONDS = 3.0  # process 0 exits last, so that others can report the same failure first

logger = logging.getLogger(__name__)
_team = Team()
_filter: runtime_messages.Filter | None = None  # from ``start`` to ``finish``


def team() -> Team:
    """This process's number and the number of processes that work on this run."""
    return _team


def index() -> int:
    """The number of this process, from 0."""
    return _team.index


def count() -> int:
    """The number of processes that work on this run."""
    return _team.count


def start(launch: Launch, settings: dict[str, str], timeout: float) -> None:
    """Joins the other processes; must run before jax computes anything.

    ``settings`` are texts by flag name, which must be equal in all processes. ``timeout`` is in
    seconds. If the other processes have not all joined by then, this one ends with exit code 2.
    Later a lost process is noticed within the same time. Raises InputError if the
    settings differ, or the flags do not say where process 0 is.
    """
    global _filter, _team
    _check_port(launch)
    _filter = runtime_messages.Filter(lambda: os._exit(LOST_PEER if count() > 1 else 2))
    timer = threading.Timer(timeout, _give_up, [timeout])
    timer.daemon = True
    timer.start()
    import jax

    # The training loop handles signals: a signal to any process stops all.
    jax.config.update("jax_enable_preemption_service", False)
    try:
        jax.distributed.initialize(
            launch.address,
            launch.count,
            launch.index,
            local_device_ids=None if launch.address else local_gpus(),
            cluster_detection_method="deactivate" if launch.address else None,
            initialization_timeout=round(timeout) + 60,  # the timer is earlier, and readable
            heartbeat_timeout_seconds=max(1, min(HEARTBEAT_TIMEOUT_SECONDS, int(timeout / 2))),
        )
    except ValueError:
        raise InputError(
            "--distributed finds no launcher (Slurm, Open MPI, Cloud TPU, Kubernetes): give "
            "--coordinator_address, --num_processes and --process_id."
        ) from None
    _team = Team(jax.process_index(), jax.process_count(), barrier)
    _check_equal_settings(settings)
    timer.cancel()


def _check_port(launch: Launch) -> None:
    """Process 0 tries its port first, because the runtime crashes if the port is taken."""
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
        "all, with the same --coordinator_address and --num_processes, and each with its own "
        "--process_id.",
        2,
    )


def _check_equal_settings(settings: dict[str, str]) -> None:
    first, *others = map(json.loads, gather_texts(json.dumps(settings)))

    def flag(settings, name):
        return f"--{name}={settings[name]}" if name in settings else f"no --{name}"

    for number, other in enumerate(others, 1):
        for name in sorted(first.keys() | other.keys()):
            if first.get(name) != other.get(name):
                refuse_together(
                    f"process 0 has {flag(first, name)} and process {number} has "
                    f"{flag(other, name)}: give all processes the same flags."
                )


def finish() -> None:
    """Waits for all processes and ends their joint work; each may then only exit or restart."""
    global _team, _filter
    if _filter is None:
        return
    import jax

    jax.distributed.shutdown()
    _filter.close()
    _team, _filter = Team(), None


def fail(sentence: str, code: int) -> None:
    """Logs a sentence, if any, and ends this process alone; the others notice that it is lost.

    Without others, it does nothing. It skips jax's shutdown, which would wait for the others.
    """
    if _filter is None:
        return
    if sentence:
        logger.error("vae_gan_jax: %s", sentence)
    if count() > 1 and index() == 0:
        time.sleep(LINGER_SECONDS)
    os._exit(code)


def exit_if_peer_lost(error: Exception) -> None:
    """Ends this process with one sentence and ``LOST_PEER`` if a lost process caused the error."""
    if _filter and re.search("gloo|nccl|coordination|connection (closed|reset)", str(error), re.I):
        _filter.report_lost_peer()


def refuse_together(sentence: str) -> None:
    """Ends the joint work and raises ``InputError``, with the sentence in process 0 alone.

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


def barrier(name: str) -> None:
    """Waits until all processes have called it."""
    if count() > 1:
        _multihost_utils().sync_global_devices(name)


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
            "a shared file system."
        )


def check_same_frames(checksum: int, folder: Path) -> None:
    """Raises ``InputError`` if another process's frames have another 32-bit checksum."""
    first, *others = gather(checksum)
    different = [str(number) for number, other in enumerate(others, 1) if other != first]
    if different:
        refuse_together(
            f"the frames in {folder} are not the same in process {', '.join(different)} as in "
            "process 0: delete the folder on that machine, and the frames are prepared again."
        )


def broadcast_from_first(tree):
    """Process 0's number or tree of arrays, in all processes; they must have equal shapes."""
    if count() == 1:
        return tree
    arrays = _multihost_utils().broadcast_one_to_all(tree)
    return arrays.item() if isinstance(tree, int) else arrays


def gather(value: int) -> list[int]:
    """The unsigned 32-bit number of each process, in all processes."""
    if count() == 1:
        return [value]
    return _multihost_utils().process_allgather(np.uint32(value)).tolist()


def gather_texts(text: str) -> list[str]:
    """The text of each process, in all processes."""
    if count() == 1:
        return [text]
    encoded = np.frombuffer(text.encode(), np.uint8)
    lengths = gather(encoded.size)
    padded = np.pad(encoded, (0, max(lengths) - encoded.size))
    rows = _multihost_utils().process_allgather(padded)
    return [row[:length].tobytes().decode() for row, length in zip(rows, lengths, strict=True)]


def _multihost_utils():
    from jax.experimental import multihost_utils

    return multihost_utils
