"""Several processes as one run: how they are found and started, and what they decide together.

The runtime is jax's own; each process drives its devices, and all compute the same step.
"""

import dataclasses
import os
import re
import secrets
import time
from pathlib import Path

from vae_gan_jax.config import InputError
from vae_gan_jax.run.team import Team
from vae_gan_jax.training.distributed import roll_call

PATIENCE = 10.0  # seconds that a shared file system may take to show what another has written
HEARTBEAT = 100  # seconds after which jax ends the run of a process that hangs


@dataclasses.dataclass(frozen=True)
class Launch:
    """One of several processes.

    Attributes:
      address: ``HOST:PORT`` at which the first one is met.
      count: how many there are.
      index: which one this is, from 0.
      gpus: numbers of those that it drives, of the machine's visible ones; ``None``: all.
    """

    address: str
    count: int
    index: int
    gpus: tuple[int, ...] | None = None


_started: Launch | None = None
_line: roll_call.Line | None = None


def index() -> int:
    """Which process this is, from 0; the first one alone writes the run's folder."""
    return _started.index if _started else 0


def count() -> int:
    """How many processes work on this run."""
    return _started.count if _started else 1


def team() -> Team:
    """The processes that work on this run."""
    return Team(index(), count(), barrier)


def find(
    distributed: bool | None,
    address: str | None,
    count: int | None,
    index: int | None,
) -> Launch | None:
    """How this process was launched; ``None``: alone.

    Args:
      distributed: whether it is one of several; ``None``: if a launcher's variables say so.
      address, count, index: given explicitly, in place of what a launcher says. In an indexed job
        of Kubernetes the index is known.

    Raises:
      InputError: of several, but which one cannot be told.
    """
    if distributed is False:
        return None
    if index is None and "JOB_COMPLETION_INDEX" in os.environ and (address or count):
        index = int(os.environ["JOB_COMPLETION_INDEX"])
    given = address, count, index
    if given != (None, None, None):
        if None in given:
            raise InputError(
                "--coordinator_address, --num_processes and --process_id belong together: give all "
                "three."
            )
        if count < 1 or not 0 <= index < count:
            raise InputError(
                f"--process_id={index} is not one of --num_processes={count}, which are counted "
                "from 0: give another."
            )
        return Launch(address, count, index) if count > 1 else None
    slurm = "SLURM_STEP_NODELIST" in os.environ and _number("SLURM_NTASKS") > 1  # not in salloc
    mpi = _number("OMPI_COMM_WORLD_SIZE") > 1
    pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
    return _detect() if distributed or slurm or mpi or pod else None


def _detect() -> Launch | None:
    """What jax knows of the launcher: Slurm, Open MPI, Cloud TPU, Kubernetes."""
    from jax._src import clusters  # it has no public name

    address, count, index, _ = clusters.ClusterEnv.auto_detect_unset_distributed_params(
        None, None, None, None, None, HEARTBEAT
    )
    if None in (address, count, index):
        raise InputError(
            "--distributed finds no launcher (Slurm, Open MPI, Cloud TPU, Kubernetes): give "
            "--coordinator_address, --num_processes and --process_id."
        )
    return Launch(address, count, index, gpus()) if count > 1 else None


def gpus() -> tuple[int, ...] | None:
    """This process's share of its machine's GPUs under Slurm or Open MPI; ``None``: all of them.

    jax would take one a process, by its number on the machine, also where a process has several or
    sees only its own.

    Raises:
      InputError: there are more processes than GPUs.
    """
    if "SLURM_LOCALID" in os.environ:
        local, tasks = _number("SLURM_LOCALID"), _slurm_tasks_here()
    else:
        local, tasks = _number("OMPI_COMM_WORLD_LOCAL_RANK"), _number("OMPI_COMM_WORLD_LOCAL_SIZE")
    visible = _visible_gpus()
    if tasks <= 1 or visible <= 1:  # one that is visible is its own: the launcher gave it
        return None
    if tasks > visible:
        raise InputError(
            f"{tasks} processes on this machine cannot share its {visible} GPUs: start one a "
            "machine, or one a GPU."
        )
    share = visible // tasks
    return tuple(range(local * share, (local + 1) * share))


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0


def _slurm_tasks_here() -> int:
    """Tasks on this node, of a list of all nodes' such as ``4(x2),3``."""
    tasks = []
    for part in os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1").split(","):
        found = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part)
        tasks += [int(found[1])] * int(found[2] or 1)
    return tasks[min(_number("SLURM_NODEID"), len(tasks) - 1)]


def _visible_gpus() -> int:
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return len([gpu for gpu in chosen.split(",") if gpu])
    driver = Path("/proc/driver/nvidia/gpus")
    return len(list(driver.iterdir())) if driver.is_dir() else 0


def start(launch: Launch, settings: dict[str, str], timeout: float) -> None:
    """Meets the other processes and starts jax's runtime over all of their devices.

    To be called before anything is computed.

    Args:
      launch: this process among them.
      settings: what all must have alike, texts by name of the flag.
      timeout: seconds to wait for the others.

    Raises:
      InputError: as ``roll_call.meet`` does.
    """
    global _started, _line
    _line = roll_call.meet(launch.address, launch.count, launch.index, settings, timeout)
    _started = launch
    import jax

    # Signals are this program's: one to any process is agreed on, see the training loop.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        launch.address,
        launch.count,
        launch.index,
        local_device_ids=launch.gpus,
        cluster_detection_method="deactivate",
        initialization_timeout=int(timeout),
        heartbeat_timeout_seconds=HEARTBEAT,
    )


def fail(sentence: str, code: int) -> None:
    """Where there are several processes, ends all with this code; the first says the sentence.

    Without jax's own leave-taking, which would wait for the others. A process alone goes on.
    """
    if _line is not None:
        _line.fail(sentence, code)


def refuse(sentence: str) -> None:
    """Raises what all processes have found out together: an ``InputError`` of the first's."""
    raise InputError(sentence) if index() == 0 else roll_call.ToldError("")


def finish() -> None:
    """Ends the processes' work together; from here on each is alone, and computes no more."""
    global _started, _line
    if _started is None:
        return
    import jax

    barrier("finish")
    _line.close()
    jax.distributed.shutdown()
    _line.hang_up()
    _started = _line = None


def barrier(name: str) -> None:
    """Waits until all processes are here."""
    if count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(name)


def check_shared(folder: Path) -> None:
    """Raises ``InputError`` where a process does not see the first one's folder."""
    if count() == 1:
        return
    mark = folder / f".seen_{of_first(secrets.randbelow(2**31))}"
    if index() == 0:
        mark.touch()
    barrier("marked")
    patience = time.monotonic() + PATIENCE
    while not (seen := mark.exists()) and time.monotonic() < patience:
        time.sleep(0.1)
    blind = [str(other) for other, sees in enumerate(gather(seen)) if not sees]
    if index() == 0:
        mark.unlink()
    if blind:
        refuse(
            f"process {', '.join(blind)} does not see {folder} as process 0 does: give a folder on "
            "a file system that all share."
        )


def check_alike(digest: int, what: str) -> None:
    """Raises ``InputError`` where a process has other data, of which this is a 32-bit checksum."""
    digests = gather(digest)
    others = [str(other) for other, theirs in enumerate(digests) if theirs != digests[0]]
    if others:
        refuse(
            f"{what} are not the same in process {', '.join(others)} as in process 0: delete the "
            "folder on that machine, they will be prepared again."
        )


def any_of(value: bool) -> bool:
    """Whether it is true in any process."""
    return any(gather(value))


def of_first(value: int) -> int:
    """The first process's value, in all."""
    return gather(value)[0]


def arrays_of_first(tree):
    """The first process's arrays, in all."""
    if count() == 1:
        return tree
    from jax.experimental import multihost_utils

    return multihost_utils.broadcast_one_to_all(tree)


def gather(value: int) -> list[int]:
    """The values of all processes, in all."""
    if count() == 1:
        return [value]
    import numpy as np
    from jax.experimental import multihost_utils

    return [int(v) for v in multihost_utils.process_allgather(np.uint32(value))]
