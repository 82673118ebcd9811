"""Benchmark: its figures agree with one another and with the run."""

import dataclasses
import shutil
import types
from pathlib import Path

import jax
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.evaluation import benchmark
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import reconstruct
from vae_gan_jax.model import target
from vae_gan_jax.training import lowering


@pytest.fixture(scope="module")
def config(small):
    return dataclasses.replace(small, seconds=0.1)


@pytest.fixture(scope="module")
def figures(config, film):
    frames_THWC = benchmark.noise_frames(config, benchmark.NOISE_FRAMES)
    return benchmark.measure(config, TrainingFrames(frames_THWC), str(film))


@pytest.mark.slow
def test_figures_agree_with_one_another(figures, config):
    training, reconstruction = figures["training"], figures["reconstruction"]
    assert training["steps"] >= benchmark.MIN_DISPATCHES
    assert training["frames_per_second"] == pytest.approx(
        config.batch_size * training["steps_per_second"]
    )
    # Training passes through three networks, the discriminator three times, and their gradients;
    # reconstruction passes through encoder and decoder.
    assert training["gflop_per_frame"] > 3 * reconstruction["gflop_per_frame"] > 0
    assert 0 <= training["waiting_share"] < 1
    assert 0 < training["share_of_matrix_product"] < 1
    frame_bytes = config.height * config.width * 3
    assert figures["memory"]["frames_bytes"] == figures["settings"]["frames"] * frame_bytes
    assert figures["memory"]["host_peak_bytes"] > figures["memory"]["state_bytes"] > 0


@pytest.mark.slow
def test_a_short_film_is_reconstructed_whole(figures):
    assert figures["reconstruction"]["film_frames"] == 26
    assert figures["reconstruction"]["film_frames_per_second"] > 0
    assert figures["reconstruction"]["film_frames_per_second_past_the_networks"] > 0


def test_the_start_of_a_long_film_is_reconstructed(config, make_film, model):
    film = make_film("testsrc2=size=20x18:rate=8", 60)
    model = dataclasses.replace(model, config=config)
    result = benchmark._film(model, film.path, rate=80.0)
    assert result["film_frames"] == 8 * benchmark.MIN_FILM_SECONDS


def test_the_table_has_a_line_for_every_figure():
    figures = {
        "machine": {"device": "cpu", "matrix_product_gflop_per_second": 1234.56},
        "memory": {"state_bytes": 2_500_000, "device_peak_bytes": None},
    }
    lines = [line.split() for line in benchmark.table(figures).splitlines()]
    assert lines == [
        ["machine"],
        ["device", "cpu"],
        ["matrix", "product", "gflop", "per", "second", "1,235"],
        ["memory"],
        ["state", "0.003", "GB"],
        ["device", "peak", "unknown"],
    ]


def test_compilation_is_timed_without_the_cache():
    def compiled(*_):
        assert not jax.config.jax_enable_compilation_cache
        return types.SimpleNamespace(memory_analysis=lambda: None)

    cache = jax.config.jax_enable_compilation_cache
    dispatch = types.SimpleNamespace(compiled=compiled)
    seconds, temporary_bytes = benchmark._compile(dispatch, None, None, None)
    assert seconds > 0
    assert temporary_bytes is None
    assert jax.config.jax_enable_compilation_cache == cache


def test_a_film_that_is_too_short_is_refused(config, frames_THWC):
    with pytest.raises(InputError, match="more than the film's 2 frames"):
        benchmark.measure(config, TrainingFrames(frames_THWC[:2]))


def test_a_benchmark_of_several_films_has_an_output(config, film, tmp_path, monkeypatch):
    sources = []
    monkeypatch.setattr(
        benchmark, "measure", lambda config, film, source: sources.append(source) or {}
    )
    monkeypatch.setattr(benchmark, "table", lambda figures: "")
    films = f"{film},{shutil.copy(film, tmp_path / 'other.mp4')}"
    output = str(tmp_path / "speed.json")
    config = dataclasses.replace(config, run_dir="", film=films, output=output)
    benchmark.benchmark_run(config, None)
    assert sources == [str(film)]
    assert Path(output).exists()


def test_a_missing_film_is_refused_at_once(config, frames_THWC, monkeypatch):
    monkeypatch.setattr(benchmark, "_training", lambda *_: pytest.fail("trained first"))
    with pytest.raises(InputError):
        benchmark.measure(config, TrainingFrames(frames_THWC), "nowhere.mp4")


def test_the_arithmetic_is_counted_on_a_cpu_for_other_devices(small, monkeypatch):
    """Without Winograd forms, which a CPU alone uses; unknown where jax has no CPU."""
    wide = dataclasses.replace(small, filters=64)
    on_cpu = lowering.gflop_per_frame(reconstruct.lower, wide)
    monkeypatch.setattr(target, "on_cpu", lambda: False)
    elsewhere = lowering.gflop_per_frame(reconstruct.lower, wide)
    assert 0 < elsewhere < 0.8 * on_cpu  # whose tiles are larger than these frames
    monkeypatch.setattr(jax, "local_devices", no_devices)
    assert lowering.gflop_per_frame(reconstruct.lower, wide) is None
    assert "unknown" in benchmark.table({"training": {"gflop_per_frame": None}})


def no_devices(backend):
    raise RuntimeError(f"Unknown backend {backend}")
