"""Share of the peak rate, and goodput."""

import types

import pytest

from vae_gan_jax.training import lowering
from vae_gan_jax.training.distributed import topologies
from vae_gan_jax.training.monitoring import throughput
from vae_gan_jax.training.monitoring.throughput import Throughput


def test_goodput_is_the_time_in_steps_without_the_compilation(small, monkeypatch):
    now = 0.0
    monkeypatch.setattr(throughput, "time", types.SimpleNamespace(perf_counter=lambda: now))
    meter = Throughput(small)
    for _ in range(2):  # the first one compiles
        with meter.steps():
            now += 3.0
    now += 4.0
    line = meter.line(50.0)
    assert line["time/goodput"] == 0.3
    assert line["time/frames_per_second"] == 50.0
    assert line["time/share_of_peak"] is None  # nothing is known of a CPU


def test_the_share_of_the_peak_is_that_of_all_devices(small, monkeypatch):
    known = topologies.ACCELERATORS["v5e"]._replace(flop_per_second=1e12)
    monkeypatch.setattr(topologies, "accelerator_of", lambda kind: known)
    monkeypatch.setattr(lowering, "gflop_per_frame", lambda *_: 2.0)
    devices = throughput.mesh.device_mesh().size
    share = Throughput(small).line(100.0)["time/share_of_peak"]
    assert share == pytest.approx(100 * 2e9 / (1e12 * devices))


@pytest.mark.parametrize(
    ("kind", "rate"),
    [("NVIDIA H200", 989e12), ("TPU v5 lite", 197e12), ("TPU v5", 459e12), ("cpu", None)],
)
def test_peak_rates_are_known_by_device(kind, rate):
    known = topologies.accelerator_of(kind)
    assert (known and known.flop_per_second) == rate
