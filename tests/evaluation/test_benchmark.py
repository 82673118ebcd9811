"""The benchmark: its figures agree with each other and with the run that they are of."""

import dataclasses
import json
import types

import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.evaluation import benchmark
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store.training_frames import TrainingFrames


@pytest.fixture(scope="module")
def briefly(small):
    return dataclasses.replace(small, seconds=0.1)


@pytest.fixture(scope="module")
def figures(briefly, film, framing):
    frames_THWC = benchmark.noise_frames(briefly)
    return benchmark.measure(briefly, TrainingFrames(frames_THWC), str(film), framing)


def test_figures_agree_with_each_other(figures, briefly):
    training, reconstruction = figures["training"], figures["reconstruction"]
    assert training["steps"] >= benchmark.MIN_DISPATCHES
    assert training["frames_per_second"] == pytest.approx(
        briefly.batch_size * training["steps_per_second"]
    )
    # Three networks, the discriminator thrice, and their gradients; encoder and decoder.
    assert training["gflop_per_frame"] > 3 * reconstruction["gflop_per_frame"] > 0
    assert 0 <= training["waiting_share"] < 1
    assert 0 < training["share_of_matrix_product"] < 1
    frame = briefly.height * briefly.width * 3
    assert figures["memory"]["frames_bytes"] == figures["settings"]["frames"] * frame
    assert figures["memory"]["host_peak_bytes"] > figures["memory"]["state_bytes"] > 0


def test_the_film_is_passed_through_whole(figures):
    assert figures["reconstruction"]["film_frames"] == 26
    assert figures["reconstruction"]["film_frames_per_second"] > 0
    assert figures["reconstruction"]["film_frames_per_second_past_the_networks"] > 0


def test_of_a_long_film_as_much_as_there_is_time_for(briefly, make_film, framing, model):
    film = make_film("testsrc2=size=20x18:rate=8", 60)
    model = dataclasses.replace(model, config=briefly)
    got = benchmark._film(model, film.path, framing, rate=80.0)
    assert got["film_frames"] == 16  # two seconds, the least


def test_the_table_and_the_file_hold_every_figure(figures, tmp_path):
    lines = benchmark.table(figures).splitlines()
    assert len(lines) == sum(1 + len(values) for values in figures.values())
    benchmark.write(tmp_path / "benchmark.json", figures)
    assert json.loads((tmp_path / "benchmark.json").read_text()) == figures


def test_too_short_a_film_is_refused(briefly, frames_THWC):
    with pytest.raises(InputError, match="more than the film's 2 frames"):
        benchmark.measure(briefly, TrainingFrames(frames_THWC[:2]))


def test_a_film_that_is_not_there(briefly, frames_THWC):
    with pytest.raises(InputError):
        benchmark.measure(
            briefly, TrainingFrames(frames_THWC), "nowhere.mp4", video.Framing(width=20, height=18)
        )


@pytest.mark.parametrize("cost", [None, {}])
def test_a_backend_that_estimates_no_arithmetic_is_measured_without_it(cost):
    lowered = types.SimpleNamespace(cost_analysis=lambda: cost)
    assert benchmark._gflop_per_frame(lowered, 4) is None
    assert "unknown" in benchmark.table({"training": {"gflop_per_frame": None}})
