"""How well training uses the devices: its share of their peak rate, and its goodput."""

import contextlib
import time
from collections.abc import Iterator

from vae_gan_jax.config import Config
from vae_gan_jax.training import lowering
from vae_gan_jax.training.distributed import mesh, topologies


class Throughput:
    """Times the training steps since this object was created."""

    def __init__(self, config: Config):
        self._start = time.perf_counter()
        self._seconds_in_steps = 0.0
        self._compiled = False
        devices = mesh.device_mesh().devices
        known = topologies.accelerator_of(devices.flat[0].device_kind)
        gflop = lowering.gflop_per_frame(lowering.training_steps, config) if known else None
        peak = known and known.flop_per_second * devices.size
        self._peak_frames_per_second = gflop and peak / (1e9 * gflop)

    @contextlib.contextmanager
    def steps(self) -> Iterator[None]:
        """Times the steps within this context. The first ones compile and do not count."""
        start = time.perf_counter()
        yield
        self._seconds_in_steps += self._compiled * (time.perf_counter() - start)
        self._compiled = True

    def line(self, frames_per_second: float) -> dict[str, float | None]:
        """The fields of a line of metrics; None: the devices' peak rate is unknown."""
        peak = self._peak_frames_per_second
        return {
            "time/frames_per_second": frames_per_second,
            "time/share_of_peak": frames_per_second / peak if peak else None,
            "time/goodput": self._seconds_in_steps / (time.perf_counter() - self._start),
        }
