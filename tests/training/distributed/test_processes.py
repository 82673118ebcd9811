"""How a process finds out that it is one of several, and which GPUs of its machine are its own."""

import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.training.distributed import processes

VARIABLES = (
    *("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID"),
    *("SLURM_NODEID", "SLURM_STEP_NUM_NODES", "SLURM_STEP_TASKS_PER_NODE", "CUDA_VISIBLE_DEVICES"),
    *("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_LOCAL_RANK"),
    *("OMPI_COMM_WORLD_LOCAL_SIZE", "OMPI_MCA_orte_hnp_uri", "JOB_COMPLETION_INDEX"),
    *("TPU_WORKER_HOSTNAMES", "KUBERNETES_SERVICE_HOST"),
)


@pytest.fixture
def launched(monkeypatch):
    """Sets what a launcher does, and nothing else of the kind."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)

    def launched(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, str(value))

    return launched


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


def test_alone_unless_told(launched):
    launched()
    assert processes.find(None, None, None, None) is None
    assert (processes.index(), processes.count()) == (0, 1)
    assert processes.gather(3) == [3]
    assert processes.of_first(4) == 4
    processes.barrier("none")
    processes.finish()
    processes.fail("nobody to tell", 2)


def test_slurm_is_found(launched):
    launched(**SLURM)
    launch = processes.find(None, None, None, None)
    assert (launch.count, launch.index) == (8, 5)
    host, _, port = launch.address.partition(":")
    assert host == "gpu07"
    assert 1024 < int(port) < 65536


@pytest.mark.parametrize(
    "variables", [{"SLURM_NTASKS": 1, "SLURM_PROCID": 0}, {"SLURM_STEP_NODELIST": ""}]
)
def test_slurm_with_one_task_or_outside_of_a_step_is_alone(variables, launched, monkeypatch):
    launched(**SLURM | variables)
    if variables.get("SLURM_STEP_NODELIST") == "":
        monkeypatch.delenv("SLURM_STEP_NODELIST")
    assert processes.find(None, None, None, None) is None


def test_open_mpi_is_found(launched):
    launched(
        OMPI_MCA_orte_hnp_uri="1531576320.0;tcp://10.96.0.1,10.148.0.1:34911",
        OMPI_COMM_WORLD_SIZE=4,
        OMPI_COMM_WORLD_RANK=3,
        OMPI_COMM_WORLD_LOCAL_RANK=1,
        OMPI_COMM_WORLD_LOCAL_SIZE=2,
    )
    launch = processes.find(None, None, None, None)
    assert (launch.count, launch.index) == (4, 3)
    assert launch.address.startswith("10.96.0.1:")


def test_said_to_be_alone_a_launcher_does_not_matter(launched):
    launched(**SLURM)
    assert processes.find(False, None, None, None) is None


def test_given_explicitly(launched):
    launched(**SLURM)
    launch = processes.find(None, "10.0.0.1:4711", 3, 2)
    assert launch == processes.Launch("10.0.0.1:4711", 3, 2)
    assert processes.find(None, "10.0.0.1:4711", 1, 0) is None


def test_an_indexed_job_of_kubernetes_knows_its_index(launched):
    launched(JOB_COMPLETION_INDEX=2)
    assert processes.find(None, "first:4711", 4, None).index == 2
    assert processes.find(None, None, None, None) is None


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ((None, "first:4711", None, None), "belong together"),
        ((None, None, 2, 0), "belong together"),
        ((None, "first:4711", 2, 2), "--process_id=2 is not one of"),
        ((None, "first:4711", 2, -1), "--process_id=-1 is not one of"),
        ((True, None, None, None), "--distributed finds no launcher"),
    ],
)
def test_what_cannot_be_is_refused(given, told, launched):
    launched()
    with pytest.raises(InputError, match=told):
        processes.find(*given)


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3"}, (2, 3)),
        ({"CUDA_VISIBLE_DEVICES": "0,1"}, (1,)),
        ({"CUDA_VISIBLE_DEVICES": "0"}, None),
        ({"CUDA_VISIBLE_DEVICES": ""}, None),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "2,2,1,3"}, None),
        ({"CUDA_VISIBLE_DEVICES": "0,1,2,3", "SLURM_STEP_TASKS_PER_NODE": "1,2(x2),4"}, (2, 3)),
    ],
)
def test_tasks_of_a_node_share_its_gpus(variables, expected, launched):
    """Task 1 of node 2; a node whose tasks see one GPU each was shared out by Slurm itself."""
    launched(**SLURM | variables)
    assert processes.gpus() == expected


def test_more_tasks_than_gpus_are_refused(launched):
    launched(**SLURM | {"CUDA_VISIBLE_DEVICES": "0,1", "SLURM_STEP_TASKS_PER_NODE": "3(x4)"})
    with pytest.raises(InputError, match=r"3 processes on this machine cannot share its 2 GPUs"):
        processes.gpus()
