"""What cannot fit into memory is refused before anything is allocated; what fits never is."""

import dataclasses
import re

import jax
import pytest

from vae_gan_jax import operating_system
from vae_gan_jax.config import InputError
from vae_gan_jax.training import devices, train_state


@pytest.mark.parametrize(
    "settings",
    [
        {"z_dim": 2**31 - 1},
        {"filters": 2**31 - 1},
        {"batch_size": 2**31 - 1},
        {"width": 2**20, "height": 128, "filters": 2**20},
        {"width": 16384, "height": 16384, "filters": 2**31 - 1, "z_dim": 2**31 - 1},
    ],
)
def test_networks_that_no_machine_holds_are_refused_from_their_shapes(settings, small):
    config = dataclasses.replace(small, **settings)
    with pytest.raises(InputError) as error:
        devices.check_memory(config)
    for name, value in settings.items():
        assert f"--{name}={value}" in str(error.value)
    needed, available = re.search(
        r"need at least (\S+ .B) of memory and this machine has (\S+ GB): lower", str(error.value)
    ).groups()
    assert needed != available


@pytest.mark.parametrize("networks", ["thesis", "residual"])
def test_the_estimate_is_what_the_state_and_a_layer_of_a_batch_take(small, networks, monkeypatch):
    """With just the memory of these arrays, nothing is refused; with that of the state, it is."""
    config = dataclasses.replace(small, networks=networks)
    state_bytes = sum(
        leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(train_state.shapes(config))
    )
    height, width = (small.height + 1) // 2, (small.width + 1) // 2
    first_layer = small.batch_size * height * width * small.filters * 4
    available = jax.local_device_count() * (state_bytes + first_layer)
    monkeypatch.setattr(operating_system, "memory_bytes", lambda: available)
    devices.check_memory(config)
    available = jax.local_device_count() * state_bytes
    with pytest.raises(InputError, match="need at least"):
        devices.check_memory(config)
