"""What a compiled function needs: its memory, collectives, kernels and time."""

import math
import re
import threading
from collections.abc import Iterator
from typing import NamedTuple

import jax

from vae_gan_jax.model import target

BYTES_PER_ELEMENT = {"f32": 4, "s32": 4, "u32": 4, "u64": 8, "bf16": 2, "f16": 2}  # others: 1
COLLECTIVES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
STACK_BYTES = 512 * 2**20  # the compiler for TPU v6e overflows the usual 8 MB on a training step
# Without a GPU to tune on, XLA's own matrix products do not always find a tiling; cuBLAS does.
GPU_OPTIONS = {"xla_gpu_enable_triton_gemm": False}
# XLA's level O0: the same memory and kernels on a TPU, compiled faster.
QUICK_OPTIONS = {"optimization_level": 9}


class Memory(NamedTuple):
    """What one device needs, bytes."""

    arguments: int
    temporaries: int  # and results that reuse no argument's memory

    @property
    def total(self) -> int:
        """Both together."""
        return self.arguments + self.temporaries


class Program(NamedTuple):
    """A compiled function; ``compiled`` is None if it exceeds the memory of a device."""

    memory: Memory
    compiled: jax.stages.Compiled | None

    @property
    def text(self) -> str:
        """The compiled function as HLO; empty if it does not fit."""
        return self.compiled.as_text() if self.compiled else ""


def compile_for(lowered: jax.stages.Lowered, quick: bool = True) -> Program:
    """Compiles a function for the devices that it was lowered for; ``quick``: at level O0."""
    results = []
    gpu = target.platform() not in ("cpu", "tpu")
    options = (QUICK_OPTIONS if quick else {}) | (GPU_OPTIONS if gpu else {})

    def compile_it() -> None:
        try:
            results.append(lowered.compile(compiler_options=options))
        except Exception as error:
            results.append(error)

    usual_stack = threading.stack_size(STACK_BYTES)
    try:
        thread = threading.Thread(target=compile_it)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(usual_stack)
    if isinstance(results[0], Exception):
        return Program(_memory_from(results[0], lowered), None)
    sizes = results[0].memory_analysis()
    results_bytes = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    temporaries = sizes.temp_size_in_bytes + results_bytes + sizes.generated_code_size_in_bytes
    return Program(Memory(sizes.argument_size_in_bytes, temporaries), results[0])


def _memory_from(error: Exception, lowered: jax.stages.Lowered) -> Memory:
    """The memory that a function needs, from the error that it does not fit; else raises it."""
    units = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
    used = re.search(r"Used ([\d.]+)([KMGT]?) of [\d.]+[KMGT]? hbm", str(error))
    if used is None or "RESOURCE_EXHAUSTED" not in str(error):
        raise error
    size = int(float(used[1]) * units[used[2]])
    leaves = jax.tree.leaves(lowered.args_info)
    arguments = sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)
    return Memory(min(arguments, size), size - min(arguments, size))


def _bytes(shapes: str) -> int:
    """Bytes of all shapes in a text, such as ``(f32[2,160]{1,0}, bf16[12])``."""
    return sum(
        BYTES_PER_ELEMENT.get(dtype, 1) * math.prod(map(int, filter(None, sides.split(","))))
        for dtype, sides in re.findall(r"\b([a-z]+\d*)\[([\d,]*)\]", shapes)
    )


def collectives(text: str) -> dict[str, list[int]]:
    """The size of each collective's result in bytes, by kind."""
    found = {}
    for result, kind in re.findall(rf"= (.*?) ({COLLECTIVES})(?:-start)?\(", text):
        found.setdefault(kind, []).append(_bytes(result))
    return found


class Kernel(NamedTuple):
    """A kernel of a GPU, or an operation that a TPU executes as a whole."""

    name: str
    operation: str
    bytes: int  # of its operands and results


def kernels(text: str) -> list[Kernel]:
    """The kernels of a function, or of one pass of its loop: those of its longest computation."""
    fused = set(re.findall(r" fusion\(.*calls=%?([\w.\-]+)", text))
    computations = re.findall(r"^(?:ENTRY )?%?([\w.\-]+) .*\{\n((?:  .*\n)+)\}", text, re.MULTILINE)
    by_computation = [list(_kernels(body)) for name, body in computations if name not in fused]
    return max(by_computation, key=len, default=[])


def _kernels(body: str) -> Iterator[Kernel]:
    """The kernels of one computation."""
    sizes = {}
    instruction = r"^  (?:ROOT )?%?([\w.\-]+) = (\(.*?\)|\S+) ([\w\-]+)\((.*?)\)(?:,|$)"
    for name, shape, operation, operands in re.findall(instruction, body, re.MULTILINE):
        sizes[name] = _bytes(shape)
        if operation in ("fusion", "custom-call", "convolution", "copy"):
            read = [sizes.get(operand.strip().lstrip("%"), 0) for operand in operands.split(",")]
            if "slice" in name:  # reads only a part
                read = [sizes[name]]
            yield Kernel(name, operation, sizes[name] + sum(read))


def estimated_cycles(text: str) -> int:
    """A TPU compiler's estimate of a function, or of one pass of its loop; not of a quick one."""
    return sum(map(int, re.findall(r'"estimated_cycles":"(\d+)"', text)))
