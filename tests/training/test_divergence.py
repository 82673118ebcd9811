"""Divergence and collapse are detected in synthetic lines of metrics."""

import math

import jax.numpy as jnp
import numpy as np
import pytest

from vae_gan_jax.training import divergence
from vae_gan_jax.training.divergence import DivergedError, DivergenceMonitor

SOUND = {
    "objective/similarity": 0.2,
    "discriminator/real": 0.6,
    "discriminator/reconstructed": 0.4,
    "latent/mean_magnitude": 0.3,
    "reconstruction/spread": 0.8,
}


def line_of(step, **values):
    """A sound line of metrics; in the names of other values ``__`` stands for a slash."""
    return {"step": step, **SOUND, **{name.replace("__", "/"): v for name, v in values.items()}}


def good_step(number):
    return {"step": number, "skipped": 0.0}


def bad_step(number):
    return {
        "step": number, "skipped": 1.0, "objective/kl": 1.0, "gradient_norm/encoder": math.nan,
    }  # fmt: skip


def update(monitor, step, **values):
    """A line of one good step."""
    return monitor.update([good_step(step)], line_of(step, **values))


@pytest.fixture(autouse=True)
def three_bad_steps(monkeypatch):
    monkeypatch.setattr(divergence, "MAX_BAD_STEPS", 3)


def test_single_skipped_steps_warn_and_too_many_in_a_row_diverge():
    monitor = DivergenceMonitor()
    (warning,) = monitor.update([good_step(1), bad_step(2), bad_step(3)], line_of(3))
    assert warning == "at step 2 gradient_norm/encoder is not finite: the update is skipped"
    assert not monitor.healthy
    assert update(monitor, 4) == []
    assert monitor.healthy
    monitor.update([bad_step(5), bad_step(6)], line_of(6))
    resumed = DivergenceMonitor([line_of(3), line_of(4), line_of(6)], monitor.bad_steps)
    for either in (monitor, resumed):
        with pytest.raises(
            DivergedError,
            match=r"3 steps in a row were skipped: at step 5 .*/encoder is not finite",
        ) as error:
            either.update([bad_step(7)], line_of(7))
        assert error.value.step == 7


def test_a_similarity_far_above_its_median_for_long_diverges():
    monitor = DivergenceMonitor()
    for step in range(divergence.MIN_MEDIAN_LINES):
        update(monitor, step)
    high = 1.01 * divergence.MAX_SIMILARITY_RATIO * SOUND["objective/similarity"]
    for step in range(100, 99 + divergence.MAX_HIGH_LINES):
        update(monitor, step, objective__similarity=high)
    assert not monitor.healthy
    with pytest.raises(DivergedError, match=r"similarity.*median of 0.2 since step 100"):
        update(monitor, 999, objective__similarity=high)


def test_a_similarity_that_returns_or_rises_slowly_does_not_diverge():
    monitor = DivergenceMonitor()
    for step in range(10 * divergence.MEDIAN_LINES):
        peak = step % divergence.MAX_HIGH_LINES == divergence.MAX_HIGH_LINES - 1
        value = (1 + step / divergence.MEDIAN_LINES) * (100 if peak else 1)
        update(monitor, step, objective__similarity=value)


def test_a_resumed_run_judges_like_an_uninterrupted_one():
    high = {"objective__similarity": 9.0}
    lines = [line_of(step) for step in range(30)] + [
        line_of(step, **high) for step in range(30, 70)
    ]
    uninterrupted, resumed = DivergenceMonitor(), DivergenceMonitor(lines)
    for line in lines:
        uninterrupted.update([good_step(line["step"])], line)
    for monitor in (uninterrupted, resumed):
        for step in range(70, 79):
            update(monitor, step, **high)
        with pytest.raises(DivergedError, match="since step 30"):
            update(monitor, 79, **high)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"discriminator__real": 0.995, "discriminator__reconstructed": 0.004}, "perfectly"),
        ({"discriminator__real": 0.004}, "takes the film itself for generated"),
        ({"latent__mean_magnitude": 0.04}, "mean magnitude is below 0.05"),
        ({"reconstruction__spread": 0.03}, "the same picture"),
    ],
)
def test_each_collapse_warns_once_while_it_lasts(values, words):
    monitor = DivergenceMonitor([line_of(step) for step in range(10)])
    warnings = []
    for step in range(10, 10 + 2 * divergence.COLLAPSE_LINES):
        warnings += update(monitor, step, **values)
    (warning,) = warnings
    assert words in warning
    assert f"up to step {9 + divergence.COLLAPSE_LINES}" in warning
    assert update(monitor, 500) == []
    for step in range(501, 501 + divergence.COLLAPSE_LINES):
        warnings += update(monitor, step, **values)
    assert len(warnings) == 2


@pytest.mark.parametrize("value", [None, "text"])
def test_lines_without_numbers_are_no_collapse(value):
    none = {name.replace("/", "__"): value for name in SOUND}
    monitor = DivergenceMonitor([line_of(0, **none), {"step": 1}])
    for step in range(2, 2 * divergence.COLLAPSE_LINES):
        assert update(monitor, step, **none) == []


def test_is_finite_looks_at_every_number():
    tree = {"a": jnp.ones((2, 2)), "b": jnp.arange(3)}
    assert divergence.is_finite(tree)
    for bad in (np.nan, np.inf):
        assert not divergence.is_finite(tree | {"c": jnp.array([1.0, bad])})
