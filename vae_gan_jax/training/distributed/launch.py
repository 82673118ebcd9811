"""Whether this process is one of several, and which GPUs of its machine it drives."""

import dataclasses
import os
import re
from pathlib import Path

from vae_gan_jax.config import InputError, flag_text
from vae_gan_jax.config.field import check, setting

MAX_PORT = 65535


@dataclasses.dataclass(frozen=True)
class ProcessFlags:
    """How this process finds the others, and its scratch folder; no settings of the run."""

    distributed: bool | None = setting(
        "processes", None,
        "Whether this is one of several processes of a run; default: yes if Slurm, Open MPI or a "
        "TPU pod started several.", parse=flag_text.parse_bool,
    )  # fmt: skip
    coordinator_address: str | None = setting(
        "processes", None,
        "HOST:PORT of process 0; default: the launcher's.", parse=str,
    )  # fmt: skip
    num_processes: int | None = setting(
        "processes", None, "Number of processes; default: the launcher's.",
        parse=flag_text.parse_whole, minimum=1, maximum=1_000_000,
    )  # fmt: skip
    process_id: int | None = setting(
        "processes", None, "Number of this process, from 0; default: the launcher's.",
        parse=flag_text.parse_whole, minimum=0, maximum=1_000_000,
    )  # fmt: skip
    process_timeout: float = setting(
        "processes", 300.0, "Seconds that processes wait for each other.", minimum=1, maximum=1e6
    )
    scratch_dir: str = setting(
        "processes", "",
        "Local folder for copies from buckets; default: in the user's cache folder.",
    )  # fmt: skip

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check(field, getattr(self, field.name))


@dataclasses.dataclass(frozen=True)
class Launch:
    """What the flags say about this process; ``None`` where jax asks the launcher."""

    address: str | None = None  # HOST:PORT of process 0
    count: int | None = None  # of processes
    index: int | None = None  # of this process, from 0


def detect(flags: ProcessFlags) -> Launch | None:
    """Decides whether this process is one of several; ``None``: it works alone.

    It is one of several if Slurm, Open MPI or a TPU pod started them, unless ``distributed`` says
    otherwise. An indexed Kubernetes job supplies the index. Raises InputError if the flags
    contradict each other.
    """
    if flags.distributed is False:
        return None
    address, count, index = flags.coordinator_address, flags.num_processes, flags.process_id
    if index is None and (address or count) and "JOB_COMPLETION_INDEX" in os.environ:
        index = _number("JOB_COMPLETION_INDEX")
    given = address, count, index
    if given == (None, None, None):
        slurm = "SLURM_STEP_NODELIST" in os.environ and _number("SLURM_NTASKS") > 1  # not in salloc
        mpi = _number("OMPI_COMM_WORLD_SIZE") > 1
        pod = "," in os.environ.get("TPU_WORKER_HOSTNAMES", "")
        return Launch() if flags.distributed or slurm or mpi or pod else None
    if None in given:
        raise InputError(
            "--coordinator_address, --num_processes and --process_id belong together: give all "
            "three."
        )
    if index >= count:
        raise InputError(
            f"--process_id={index} does not fit --num_processes={count}: give each process its "
            "own number, from 0."
        )
    port = address.rpartition(":")[2]
    if not re.fullmatch(r".+:[0-9]{1,5}", address) or not 0 < int(port) <= MAX_PORT:
        raise InputError(
            f"--coordinator_address={address} has no port: give HOST:PORT with a port from 1 to "
            f"{MAX_PORT}."
        )
    return Launch(address, count, index) if count > 1 else None


def local_gpus() -> list[int] | None:
    """This process's equal part of the machine's GPUs, under Slurm or Open MPI; ``None``: no GPUs.

    By itself jax gives each process the one GPU that has the process's number on the machine. That
    is wrong if a process drives several GPUs, or if the launcher shows it only its own. Raises
    InputError if there are more processes than GPUs.
    """
    if "SLURM_LOCALID" in os.environ:
        local, tasks = _number("SLURM_LOCALID"), _slurm_tasks_on_node()
    else:
        local, tasks = _number("OMPI_COMM_WORLD_LOCAL_RANK"), _number("OMPI_COMM_WORLD_LOCAL_SIZE")
    visible = _visible_gpus()
    if tasks <= 1 or visible <= 1:  # a single visible GPU was chosen by the launcher
        return list(range(visible)) or None
    if tasks > visible:
        raise InputError(
            f"{tasks} processes on this machine are too many for its {visible} GPUs: start one "
            "process per machine or per GPU."
        )
    per_task = visible // tasks
    return list(range(local * per_task, (local + 1) * per_task))


def _number(variable: str) -> int:
    text = os.environ.get(variable, "")
    return int(text) if text.isdecimal() else 0


def _slurm_tasks_on_node() -> int:
    """Slurm lists the tasks of all nodes, for example ``4(x2),3``."""
    tasks = []
    for entry in os.environ.get("SLURM_STEP_TASKS_PER_NODE", "1").split(","):
        number, nodes = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", entry).groups()
        tasks += [int(number)] * int(nodes or 1)
    return tasks[min(_number("SLURM_NODEID"), len(tasks) - 1)]


def _visible_gpus() -> int:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([gpu for gpu in visible.split(",") if gpu])
    driver = Path("/proc/driver/nvidia/gpus")
    return len(list(driver.iterdir())) if driver.is_dir() else 0
