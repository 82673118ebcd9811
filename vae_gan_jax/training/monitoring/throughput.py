"""How well training uses the devices: its share of their peak rate, and its goodput."""

import contextlib
import time
from collections.abc import Iterator

from vae_gan_jax.config import Config
from vae_gan_jax.training import lowering
from vae_gan_jax.training.distributed import mesh, topologies


def peak_rate(device_kind: str) -> float | None:
    """The published peak rate in bfloat16, FLOP/s; None if it is not known."""
    known = topologies.accelerator_of(device_kind)
    return known and known.flop_per_second


class Throughput:
    """Measures from its creation on."""

    def __init__(self, config: Config):
        self._start = time.perf_counter()
        self._seconds_in_steps = 0.0
        self._compiled = False
        devices = mesh.device_mesh().devices
        peak = peak_rate(devices.flat[0].device_kind)
        gflop = lowering.gflop_per_frame(lowering.training_steps, config) if peak else None
        self._peak_frames_per_second = gflop and peak * devices.size / (1e9 * gflop)

    @contextlib.contextmanager
    def steps(self) -> Iterator[None]:
        """Within this context the devices compute steps. The first time counts as compilation."""
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
