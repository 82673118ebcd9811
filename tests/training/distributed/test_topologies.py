"""Topologies: known ones open, all others are refused in a sentence."""

import importlib.util

import jax
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.training.distributed import topologies


@pytest.mark.parametrize(
    "name",
    [
        *("v9:2x2", "v5e", "v5e:4", "v5e:0x4", "v5e:4x4x4", "v5p:2x2", "v5p:2x2x2x2"),
        *("h100", "h100:2x2", "h100:0", "h100:08", "h100:\uff18", ""),
    ],
)
def test_unknown_topologies_are_refused_with_the_known_ones(name):
    with pytest.raises(InputError, match=r"v5e:4x4, v5p:2x2x1, .* h100:8, .* or here"):
        topologies.check(name)


@pytest.mark.parametrize("name", ["h100:1000001", "a100:12"])
def test_parts_of_a_machine_are_refused(name):
    with pytest.raises(InputError, match="a multiple of 8"):
        topologies.check(name)


@pytest.mark.parametrize(("name", "extra"), [("v5e:4x4", "tpu"), ("h100:8", "cuda")])
def test_a_missing_compiler_is_named_with_its_extra(monkeypatch, name, extra):
    monkeypatch.setattr(importlib.util, "find_spec", lambda module: None)
    with pytest.raises(InputError, match=rf"needs the compiler .* install the extra {extra}"):
        topologies.check(name)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        ("ABORTED: The TPU is already in use by process 12.", "another program uses libtpu"),
        ("Internal error when accessing libtpu multi-process lockfile", "wait until it ends"),
        ("INVALID_ARGUMENT: v5e:3x5 is not divisible\nin a file", r"\(INVALID.* divisible\): give"),
    ],
)
def test_errors_of_a_plugin_are_sentences(error, sentence):
    with pytest.raises(InputError, match=sentence), topologies._readable_errors("v5e:3x5"):
        raise jax.errors.JaxRuntimeError(error)


def test_this_machine_is_a_topology():
    topologies.check("here")
    here = topologies.open_topology("here")
    assert here.mesh.size == jax.device_count()
    assert here.processes == 1
    assert here.memory_bytes > 1e9
    assert here.accelerator is None
