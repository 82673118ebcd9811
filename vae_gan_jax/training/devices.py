"""What the device can hold and how it is best used: placement of frames, memory, compiled code."""

import contextlib
import hashlib
import logging
import os
import platform
import re
from pathlib import Path

import jax

from vae_gan_jax.config import Config, InputError

logger = logging.getLogger(__name__)
STEPS = 20  # that an accelerator is given at once
SHARE = 0.6  # of an accelerator's free memory that frames may fill by themselves
SMALLER = (
    "a smaller --batch_size, --filters, --width and --height, --precision=bfloat16 or "
    "--data_placement=host"
)


def on_cpu() -> bool:
    """Whether the networks run on the processor, whose memory is the frames' own."""
    return jax.default_backend() == "cpu"


def warn_of_precision(config: Config) -> None:
    """Tells of bfloat16 on a CPU: correct, but not what is fast there."""
    if config.precision == "bfloat16" and on_cpu():
        logger.warning("--precision=bfloat16 is slower than float32 on a CPU: leave it out.")


def steps_per_dispatch(config: Config) -> int:
    """How many steps the device is given at once.

    On a CPU one: XLA does not spread the operations within a loop over its cores.
    """
    return config.steps_per_dispatch or (1 if on_cpu() else STEPS)


def frames_on_device(config: Config, film_bytes: int) -> bool:
    """Whether all frames of the film are to lie on the device, as uint8.

    Raises:
      InputError: they are asked to and do not fit.
    """
    if config.data_placement == "host":
        return False
    free = _free_memory()
    if config.data_placement == "auto":
        # Of several processes each reads its share of the frames alone.
        return jax.process_count() == 1 and free is not None and film_bytes <= SHARE * free
    if free is not None and film_bytes > free:
        raise InputError(
            f"--data_placement=device: the frames take {_gigabytes(film_bytes)} and "
            f"{_gigabytes(free)} of the device's memory are free; give --data_placement=host."
        )
    return True


def _free_memory() -> int | None:
    """Free bytes on the device, as far as it tells; a CPU does not."""
    statistics = jax.local_devices()[0].memory_stats() or {}
    if "bytes_limit" not in statistics:
        return None
    return statistics["bytes_limit"] - statistics.get("bytes_in_use", 0)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.3g} GB"


@contextlib.contextmanager
def memory_told():
    """Makes one sentence of running out of the device's memory.

    Raises:
      InputError: says how much was needed, and which flags need less.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        asked = re.search(r"allocat\w* (?:request for )?([\d.]+ ?[KMGT]i?B|\d+ bytes)", str(error))
        needed = f" ({asked[1]} more were needed)" if asked else ""
        free = _free_memory()
        told = f", {_gigabytes(free)} of which are free" if free is not None else ""
        raise InputError(
            f"the device has too little memory{needed}{told}: {SMALLER} need less."
        ) from error


def keep_compiled() -> None:
    """Keeps what is compiled on disk, so that the next start need not compile it again.

    In ``JAX_COMPILATION_CACHE_DIR`` where that is set, otherwise in the user's cache folder, apart
    for each kind of processor: what is compiled for one need not run on another.
    """
    if jax.config.jax_compilation_cache_dir is None:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "vae_gan_jax" / "compiled" / _processor()
        jax.config.update("jax_compilation_cache_dir", str(folder))


def _processor() -> str:
    """A name for this kind of processor."""
    features = ""
    with contextlib.suppress(OSError):
        found = re.search(r"^(flags|Features)\s*:.*$", Path("/proc/cpuinfo").read_text(), re.M)
        features = found[0] if found else ""
    return f"{platform.machine()}-{hashlib.sha256(features.encode()).hexdigest()[:8]}"
