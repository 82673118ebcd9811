"""How a process detects that it is one of several, and which GPUs of its machine it drives."""

import os
import subprocess
import sys

import jax
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.training.distributed import launch, processes

VARIABLES = (
    *("SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
    *("SLURM_JOB_ID", "SLURM_STEP_NUM_NODES", "SLURM_STEP_TASKS_PER_NODE", "CUDA_VISIBLE_DEVICES"),
    *("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("OMPI_COMM_WORLD_LOCAL_SIZE", "JOB_COMPLETION_INDEX", "TPU_WORKER_HOSTNAMES"),
)
SLURM = {
    "SLURM_JOB_ID": 4100,
    "SLURM_STEP_NODELIST": "gpu[07-09],gpu12",
    "SLURM_STEP_NUM_NODES": 4,
    "SLURM_NTASKS": 8,
    "SLURM_PROCID": 5,
    "SLURM_LOCALID": 1,
    "SLURM_NODEID": 2,
    "SLURM_STEP_TASKS_PER_NODE": "2(x4)",
}
OPEN_MPI = {
    "OMPI_COMM_WORLD_SIZE": 4,
    "OMPI_COMM_WORLD_RANK": 3,
    "OMPI_COMM_WORLD_LOCAL_RANK": 1,
    "OMPI_COMM_WORLD_LOCAL_SIZE": 2,
}
ASK_LAUNCHER = launch.Launch()


@pytest.fixture
def environment(monkeypatch):
    """Sets a launcher's variables, and removes those of any other launcher."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return set_variables


def detect(*flags):
    """With ``--distributed``, ``--coordinator_address``, ``--num_processes``, ``--process_id``."""
    return launch.detect(launch.ProcessFlags(*flags))


def test_a_process_without_a_launcher_works_alone(environment):
    assert detect() is None
    assert (processes.index(), processes.count()) == (0, 1)
    assert processes.gather(3) == [3]
    assert processes.gather_texts("three") == ["three"]
    assert processes.broadcast_from_first(4) == 4
    processes.barrier("none")
    processes.finish()
    processes.exit_if_peer_lost(ValueError("Gloo AllReduce failed"))
    processes.fail("nobody notices", 2)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        (SLURM, ASK_LAUNCHER),
        (SLURM | {"SLURM_NTASKS": 1}, None),
        ({"SLURM_JOB_ID": 4100, "SLURM_NTASKS": 8}, None),  # inside salloc, outside of a step
        (OPEN_MPI, ASK_LAUNCHER),
        ({"TPU_WORKER_HOSTNAMES": "host0,host1"}, ASK_LAUNCHER),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, None),
        ({"JOB_COMPLETION_INDEX": 2}, None),
    ],
)
def test_a_launcher_that_started_several_processes_is_detected(variables, expected, environment):
    environment(**variables)
    assert detect() == expected
    assert detect(False) is None
    assert detect(True) == ASK_LAUNCHER


def test_flags_override_the_launcher(environment):
    environment(**SLURM)
    given = detect(None, "10.0.0.1:4711", 3, 2)
    assert given == launch.Launch("10.0.0.1:4711", 3, 2)
    assert detect(None, "10.0.0.1:4711", 1, 0) is None


def test_an_indexed_kubernetes_job_supplies_the_index(environment):
    environment(JOB_COMPLETION_INDEX=2)
    assert detect(None, "first:4711", 4).index == 2


@pytest.mark.parametrize(
    ("given", "error"),
    [
        ((None, "first:4711", None, None), "belong together"),
        ((None, None, 2, 0), "belong together"),
        ((None, "first:4711", 2, 2), "--process_id=2 does not fit --num_processes=2"),
        ((None, "first", 2, 1), "give HOST:PORT"),
        ((None, ":4711", 2, 1), "give HOST:PORT"),
    ],
)
def test_contradicting_flags_are_refused(given, error, environment):
    with pytest.raises(InputError, match=error):
        detect(*given)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, [2, 3]),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, [1]),
        ({"CUDA_VISIBLE_DEVICES": "0"}, [0]),  # Slurm shows the task its own GPU alone
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2", "SLURM_STEP_TASKS_PER_NODE": "2,2,1,3"}, [0, 1, 2]),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "1,2(x2),4"}, [2, 3]),
    ],
)
def test_the_tasks_of_a_node_share_its_gpus(variables, expected, environment):
    """Task 1 of node 2."""
    environment(**SLURM | variables)
    assert launch.local_gpus() == expected


def test_open_mpi_processes_of_a_machine_share_its_gpus(environment):
    environment(**OPEN_MPI, CUDA_VISIBLE_DEVICES="0,1,2,3")
    assert launch.local_gpus() == [2, 3]


def test_more_tasks_than_gpus_are_refused(environment):
    environment(**SLURM | {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_TASKS_PER_NODE": "3(x4)"})
    with pytest.raises(
        InputError, match=r"3 processes on this machine are too many for its 2 GPUs"
    ):
        launch.local_gpus()


def test_jax_knows_the_launchers_that_are_detected(environment, monkeypatch):
    """Its public entry point reads Slurm's variables; nothing is started."""
    environment(**SLURM)
    asked = []
    monkeypatch.setattr(
        jax.distributed,
        "initialize",
        lambda *where, **options: asked.append((where, options)) or exit("started"),
    )
    monkeypatch.setattr(processes.runtime_messages, "Filter", lambda on_lost_peer: None)
    with pytest.raises(SystemExit):
        processes.start(ASK_LAUNCHER, {}, 60)
    ((where, options),) = asked
    assert where == (None, None, None)
    assert options["cluster_detection_method"] is None


FATAL = """
import os, sys, time
from vae_gan_jax.training.distributed import runtime_messages
messages = runtime_messages.Filter(lambda: os._exit(75))
os.write(2, b"a warning of XLA\\n")
print("a line of Python", file=sys.stderr)
if sys.argv[1] == "abort":
    os.write(2, b"F1126 client.h:80] Terminating process because " + runtime_messages.FATAL_MESSAGE)
    os.write(2, b"\\n    @ 0x7f stack trace\\n")
    time.sleep(60)
messages.close()
print("the end", file=sys.stderr)
"""


@pytest.mark.parametrize(("how", "code"), [("abort", 75), ("end", 0)])
def test_only_the_abort_of_the_runtime_is_replaced(how, code):
    """By one sentence; all other messages reach stderr."""
    done = subprocess.run(
        [sys.executable, "-c", FATAL, how], capture_output=True, text=True, env=os.environ
    )
    assert done.returncode == code
    lines = set(filter(None, done.stderr.splitlines()))
    assert {"a warning of XLA", "a line of Python"} < lines
    (last,) = lines - {"a warning of XLA", "a line of Python"}
    assert last == "the end" if how == "end" else "lost contact with another process" in last
