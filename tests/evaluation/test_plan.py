"""Plans: whether a run fits, what it exchanges, and what the compilers of accelerators make."""

import dataclasses
import itertools
import json
import os
import re

import jax
import numpy as np
import pytest

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.evaluation import compiled, plan
from vae_gan_jax.model import target
from vae_gan_jax.training import lowering, train_state
from vae_gan_jax.training.distributed import topologies

os.environ["JAX_SKIP_CUDA_CONSTRAINTS_CHECK"] = "1"  # the compiler alone needs no CUDA

MEMORY = 1_000_000_000
TPU = topologies.ACCELERATORS["v5e"]


@pytest.fixture
def config(small, tmp_path):
    output = str(tmp_path / "plan.json")
    return dataclasses.replace(small, film="", run_dir="", topology=("here",), output=output)


@pytest.fixture
def compiler(monkeypatch):
    """Sets up a compiler whose programs need 10 MB for each frame and ``fixed`` bytes.

    It returns the devices.
    """

    def use(fixed: int) -> topologies.Topology:
        def compile_for(batch_size, quick=True):
            return compiled.Program(compiled.Memory(fixed, batch_size * 10_000_000), None)

        monkeypatch.setattr(compiled, "compile_for", compile_for)
        monkeypatch.setattr(lowering, "training_steps", lambda config, *_: config.batch_size)
        monkeypatch.setattr(lowering, "gflop_per_frame", lambda *_: 1.0)
        monkeypatch.setattr(plan, "_reconstruction", lambda config: {})
        return here

    here = topologies.open_topology("here")._replace(memory_bytes=MEMORY)
    monkeypatch.setattr(topologies, "open_topology", lambda name: here)
    monkeypatch.setattr(target, "on_cpu", lambda: False)
    return use


def test_a_plan_that_does_not_fit_says_by_how_much_and_what_would(config, compiler):
    compiler(800_000_000)
    config = dataclasses.replace(config, batch_size=40)
    with pytest.raises(InputError, match=r"here: .* 0\.2 GB more .* --batch_size=10\.$"):
        plan.plan_run(config)
    with open(config.output) as file:  # the plan is written nevertheless
        assert json.load(file)["here"]["memory"]["fits"] is False


def test_networks_that_are_too_large_for_one_frame_do_not_fit(config, compiler):
    compiler(2 * MEMORY)
    with pytest.raises(InputError, match="smaller --width, --height or --filters"):
        plan.plan_run(config)


@pytest.mark.parametrize(("frames", "batch"), [(None, 80), (300_000, 80), (100, 4)])
def test_the_advised_batch_fits_and_leaves_many_steps(config, compiler, frames, batch):
    here = compiler(50_000_000)  # 85 frames fit into 90% of the memory
    config = dataclasses.replace(config, batch_size=4, data_placement="host")
    figures = plan.plan(config, here, frames, frames)
    assert figures["advice"]["batch_size"] == batch
    assert f"--batch_size={batch} " in figures["advice"]["flags"]


def test_excluded_and_held_out_frames_are_stored_but_not_learnt(config, film):
    learning = dataclasses.replace(config, film=str(film), crop="none")  # 26 frames
    assert plan._film_frames(learning) == (26, 26)
    assert plan._film_frames(dataclasses.replace(learning, exclude=((0, 0.5),))) == (26, 14)
    assert plan._film_frames(config) == (None, None)


def test_twice_the_batch_may_not_fit(config, compiler):
    here = compiler(500_000_000)
    memory = plan.plan(dataclasses.replace(config, batch_size=40), here, None, None)["memory"]
    assert (memory["fits"], memory["fits_twice_the_batch"]) == (True, False)


def test_a_mini_batch_that_the_devices_cannot_share_is_refused(config, monkeypatch):
    devices = np.array(jax.devices() * 3)
    three = jax.sharding.Mesh(devices, ("data",))
    monkeypatch.setattr(
        topologies, "open_topology", lambda name: topologies.Topology(name, three, None, None)
    )
    config = dataclasses.replace(config, batch_size=4)
    with pytest.raises(InputError, match="--batch_size=4 cannot be divided equally among 3"):
        plan.plan_run(config)


def test_without_a_topology_the_plan_is_for_this_machine(config, compiler, capsys):
    compiler(0)
    plan.plan_run(dataclasses.replace(config, topology=Config().topology))
    assert capsys.readouterr().out.split()[0] == "here"


def test_a_topology_that_is_given_twice_is_planned_once(config, compiler, monkeypatch):
    compiler(0)
    opened = []
    original = topologies.open_topology
    monkeypatch.setattr(topologies, "open_topology", lambda n: opened.append(n) or original(n))
    plan.plan_run(dataclasses.replace(config, topology=("here", "here")))
    assert opened == ["here"]


def test_the_bound_of_the_time_counts_arithmetic_and_memory():
    lines = [
        "  %convert = bf16[1000]{0} fusion(), kind=kLoop",
        "  %conv = bf16[9]{0} custom-call()",
    ]
    text = "\n".join(["ENTRY %main () -> () {", *lines, "}"])
    seconds = plan._lower_bound_seconds(TPU, text, TPU.flop_per_second)
    assert seconds == pytest.approx(1 + 2000 / TPU.memory_bytes_per_second)


def test_the_table_has_a_column_for_each_topology():
    plans = {
        name: {"memory": {"film_bytes": size}, "advice": {"flags": f"--batch_size={size}"}}
        for name, size in {"v5e:4x4": 2_000_000_000, "h100:8": None}.items()
    }
    lines = plan.table(plans).splitlines()
    assert lines[0].split() == ["v5e:4x4", "h100:8"]
    assert lines[2].split() == ["film", "2.000", "GB", "unknown"]
    assert lines[-1].split() == ["h100:8:", "--batch_size=None"]


@pytest.mark.slow
def test_this_machine_is_planned_from_end_to_end(config, film, capsys):
    plan.plan_run(dataclasses.replace(config, film=str(film)))
    with open(config.output) as file:
        figures = json.load(file)["here"]
    state = train_state.shapes(config)
    size = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    assert size < figures["memory"]["arguments_bytes"] < 2 * size
    assert figures["memory"]["film_bytes"] == 26 * config.height * config.width * 3
    assert figures["step"]["gflop_per_frame"] > figures["reconstruction"]["gflop_per_frame"] > 0
    assert "arguments" in capsys.readouterr().out


@pytest.fixture
def place(request):
    """An accelerator, whose compiler optimises as it does for users."""
    try:
        topologies.check(request.param)
    except InputError as error:
        pytest.skip(str(error))
    jax.config.update("jax_disable_most_optimizations", False)
    yield topologies.open_topology(request.param)
    jax.config.update("jax_disable_most_optimizations", True)


# The small networks have no layer smaller than its kernel: XLA makes other convolutions of such.
SIZES = {"small": dict(width=128, height=80, filters=16, z_dim=16), "full": {}}
CASES = [
    *itertools.product(["h100:2", "v5e:2x2"], ["thesis", "residual"], SIZES),
    *itertools.product(["a100:2", "v5p:2x2x1", "v6e:2x2"], ["thesis"], ["full"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("place", "kind", "size"), CASES, indirect=["place"])
def test_the_step_by_its_compiler(place, kind, size):
    config = Config(batch_size=12 * place.mesh.size, networks=kind, **SIZES[size])
    with jax.set_mesh(place.mesh):
        program = compiled.compile_for(lowering.training_steps(config))
    text, kernels = program.text, compiled.kernels(program.text)
    exchanged = compiled.collectives(text)
    print(f"{len(kernels)} kernels, {sum(kernel.bytes for kernel in kernels) / 1e9:.2f} GB,")
    print(f"memory {program.memory.total / 1e9:.2f} GB, exchanged {exchanged}")
    assert program.memory.total < place.memory_bytes
    # All convolutions are in bfloat16; the products of the linear skip are not, on purpose.
    is_convolution = r"= (.*?) (?:convolution\(|custom-call\(.*__cudnn\$conv)"
    lines = [line for line in text.splitlines() if re.search(is_convolution, line)]
    assert len(lines) > 40
    float32 = [line for line in lines if "f32[" in re.search(is_convolution, line)[1]]
    assert not [line for line in float32 if not re.search(r'op_name="[^"]*(linear|_resize)', line)]
    # The new state reuses the old one's memory.
    state = train_state.shapes(config)
    state_bytes = sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(state))
    aliased = program.compiled.memory_analysis().alias_size_in_bytes
    assert aliased >= 0.95 * state_bytes
    # One exchange of all gradients, kernels in bfloat16, beside those of batch norm.
    leaves = jax.tree.leaves(state.params)
    gradients = sum((2 if leaf.ndim > 1 else 4) * leaf.size for leaf in leaves)
    assert set(exchanged) == {"all-reduce"}
    assert len(exchanged["all-reduce"]) <= 35
    assert sum(exchanged["all-reduce"]) <= 1.05 * gradients + 1_000_000
    if place.accelerator.gpu:
        assert len(kernels) < {"thesis": 800, "residual": 950}[kind]
        # No layer changes its layout; kernels do, for cuDNN, and small pictures of three colours.
        batch = r"(?:f32|bf16)\[(12,\d+,\d+,\d+|\d+,\d+,\d+,12)\]"
        transposed = re.findall(rf"{batch}\S* transpose\(", text)
        assert not [shape for shape in transposed if "3" not in shape.split(",")]
