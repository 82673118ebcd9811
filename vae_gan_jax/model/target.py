"""The devices that functions are compiled for, which decide precision and convolution forms."""

import jax


def platform() -> str:
    """The platform that functions are compiled for: cpu, tpu, or gpu under any name of jax.

    The devices of the ambient mesh (``jax.set_mesh``) decide; this machine may not have them.
    Without a mesh the default device decides.
    """
    device = jax.sharding.get_abstract_mesh().abstract_device
    return device.platform if device else jax.default_backend()


def on_cpu() -> bool:
    """Whether functions are compiled for CPUs."""
    return platform() == "cpu"
