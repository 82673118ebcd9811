"""What is read from compiled functions."""

import types

import jax
import jax.numpy as jnp
import pytest

from vae_gan_jax.evaluation import compiled

TEXT = """
%c (p: f32[2,160]) -> bf16[4,4] {
  %copy.1 = f32[2,160]{1,0} copy(%p)
  %copy.2 = f32[2,160]{1,0} copy(%copy.1)
  %copy.3 = f32[2,160]{1,0} copy(%copy.2)
  ROOT %copy.4 = bf16[4,4]{1,0} copy(%copy.3)
}

%body (p: f32[2,160]) -> f32[] {
  %a = f32[2,160]{1,0} parameter(0)
  %b.1 = bf16[4,4]{1,0} fusion(%a), kind=kLoop, calls=%c
  %sum = (f32[2,160]{1,0}, bf16[8]{0}) all-reduce-start(%a, %b.1), channel_id=1
  %done = (f32[2,160]{1,0}, bf16[8]{0}) all-reduce-done(%sum)
  ROOT %conv.2 = (bf16[12,2]{1,0}, u8[0]{0}) custom-call(%b.1, %a), custom_call_target="x"
  %x = f32[] all-gather(%a), backend_config={"estimated_cycles":"20"}
  %y = f32[] fusion(%x), backend_config={"estimated_cycles":"300"}
}

ENTRY %main (p: f32[2,160]) -> f32[] {
  %before = f32[2,160]{1,0} copy(%p)
  ROOT %loop = f32[] while(%before), body=%body
}
"""


def test_collectives_have_the_bytes_of_their_results():
    assert compiled.collectives(TEXT) == {"all-reduce": [2 * 160 * 4 + 16], "all-gather": [4]}


def test_kernels_have_the_bytes_of_operands_and_results():
    """Of one pass of the loop; what a fusion does inside is no kernel."""
    kernels = compiled.kernels(TEXT)
    assert [(kernel.name, kernel.operation) for kernel in kernels] == [
        ("b.1", "fusion"), ("conv.2", "custom-call"), ("y", "fusion")
    ]  # fmt: skip
    assert [kernel.bytes for kernel in kernels] == [32 + 1280, 48 + 32 + 1280, 4 + 4]


def test_cycles_add_up():
    assert compiled.estimated_cycles(TEXT) == 320


def test_memory_of_a_function():
    lowered = jax.jit(lambda x: x @ x).lower(jax.ShapeDtypeStruct((64, 64), jnp.float32))
    program = compiled.compile_for(lowered)
    assert program.memory.arguments == 64 * 64 * 4
    assert program.memory.total >= 2 * 64 * 64 * 4
    assert "dot" in program.text


def test_the_size_of_a_function_that_exceeds_the_device_is_known():
    lowered = jax.jit(lambda x: x + 1).lower(jax.ShapeDtypeStruct((1024,), jnp.float32))

    def compile_it(compiler_options):
        raise jax.errors.JaxRuntimeError(
            "RESOURCE_EXHAUSTED: Ran out of memory in memory space hbm. Used 20.00G of 15.75G hbm."
        )

    failing = types.SimpleNamespace(compile=compile_it, args_info=lowered.args_info)
    program = compiled.compile_for(failing)
    assert (program.text, program.memory.total) == ("", 20 * 2**30)


def test_other_errors_of_a_compiler_are_raised():
    def compile_it(compiler_options):
        raise jax.errors.JaxRuntimeError("INTERNAL: a bug")

    with pytest.raises(jax.errors.JaxRuntimeError, match="a bug"):
        compiled.compile_for(types.SimpleNamespace(compile=compile_it))
