"""Decisions that depend on the device: precision, dispatches, memory."""

import contextlib
import logging
import re

import jax

from vae_gan_jax import operating_system
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.model import networks, target
from vae_gan_jax.training import train_state
from vae_gan_jax.training.distributed import mesh

ACCELERATOR_STEPS_PER_DISPATCH = 20
MAX_FRAMES_FRACTION = 0.6  # of the free device memory that --data_placement=auto gives to frames
SIZES = ("width", "height", "filters", "z_dim", "batch_size")  # settings that need memory

logger = logging.getLogger(__name__)


def warn_if_slow_precision(config: Config) -> None:
    """Warns about bfloat16 on a CPU, where it is correct but slower than float32."""
    if config.precision == "bfloat16" and target.on_cpu():
        logger.warning("--precision=bfloat16 is slower than float32 on a CPU: leave it out.")


def steps_per_dispatch() -> int:
    """The number of training steps in one dispatch.

    On a CPU it is one, because XLA does not spread operations inside a loop over cores.
    """
    return 1 if target.on_cpu() else ACCELERATOR_STEPS_PER_DISPATCH


def frames_on_device(config: Config, film_bytes: int) -> bool:
    """Whether training keeps all frames of the film on the device, as uint8.

    Raises InputError if ``--data_placement=device`` and the frames do not fit.
    """
    if config.data_placement == "host":
        return False
    free = _free_bytes()
    if config.data_placement == "auto":
        # With several processes, each one reads only its own shard of every mini-batch.
        fits = free is not None and film_bytes <= MAX_FRAMES_FRACTION * free
        return fits and jax.process_count() == 1
    if free is not None and film_bytes > free:
        raise InputError(
            f"--data_placement=device: the frames take {gigabytes(film_bytes)} and the device has "
            f"{gigabytes(free)} free; give --data_placement=host."
        )
    return True


def memory_statistics() -> dict[str, int]:
    """The first device's memory, bytes; empty on backends that report none, such as the CPU."""
    return mesh.device_mesh().local_devices[0].memory_stats() or {}


def _free_bytes() -> int | None:
    """Free memory of the device; ``None`` if it reports none."""
    statistics = memory_statistics()
    if "bytes_limit" not in statistics:
        return None
    return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)


def check_memory(config: Config, other_bytes: int = 0) -> None:
    """Refuses a training that cannot fit into memory, before anything is allocated.

    The estimate is a lower bound, so that nothing that fits is refused: the parameters, Adam's
    moments, the principal components, the largest activation of a mini-batch, and ``other_bytes``
    of this process. Raises InputError if the device or the machine has less memory.
    """
    state = train_state.shapes(config)
    moments = _size(state.opt_state) // (mesh.device_mesh().size if config.shard_optimizer else 1)
    activations = config.batch_size // mesh.device_mesh().size * _largest_activation(config)
    needed = _size((state.params, state.constants)) + moments + activations
    if target.on_cpu():
        available, where = operating_system.memory_bytes(), "this machine"
        needed *= len(mesh.device_mesh().local_devices)
    else:
        available, where, other_bytes = memory_statistics().get("bytes_limit"), "the device", 0
    if available is not None and needed + other_bytes > available:
        sizes = [f"--{name}={getattr(config, name)}" for name in SIZES]
        raise InputError(
            f"{', '.join(sizes)} need at least {gigabytes(needed + other_bytes)} of memory and "
            f"{where} has {gigabytes(available)}: lower those that are large."
        )


def _size(tree) -> int:
    """Bytes of the arrays of a tree, which may be shapes only."""
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _largest_activation(config: Config) -> int:
    """Bytes of the first convolution's output for one frame."""
    height, width = networks.layer_sizes(config.height, config.width)[1]
    itemsize = 2 if networks.compute_dtype(config) is not None else 4
    return height * width * config.filters * itemsize


def gigabytes(size: int) -> str:
    """A size in bytes as text."""
    return f"{size / 1e9:,.3g} GB" if size < 1e12 else f"{size / 1e12:,.4g} TB"


@contextlib.contextmanager
def explain_out_of_memory():
    """Turns XLA's out-of-memory error into an ``InputError`` that names the flags to lower."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        size = re.search(r"allocat\w* (?:request for )?([\d.]+ ?[KMGT]i?B|\d+ bytes)", str(error))
        needed = f", {size[1]} more are needed" if size else ""
        free = _free_bytes()
        available = f", {gigabytes(free)} are free" if free is not None else ""
        raise InputError(
            f"the device has too little memory{needed}{available}: lower --batch_size, --filters, "
            "or --width and --height, or give --precision=bfloat16 or --data_placement=host."
        ) from error
