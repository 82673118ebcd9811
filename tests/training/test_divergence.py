"""What counts as going wrong, on lines of metrics made for it."""

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


def line(step, **values):
    return {"step": step, **SOUND, **{name.replace("__", "/"): v for name, v in values.items()}}


def one_step(step, skipped=0.0, **values):
    return {
        "step": step,
        "skipped": skipped,
        **{k.replace("__", "/"): v for k, v in values.items()},
    }


def bad_step(step):
    return one_step(step, 1.0, objective__kl=1.0, gradient_norm__encoder=math.nan)


def test_bad_steps_in_a_row_are_too_many_and_single_ones_are_told():
    watch = DivergenceMonitor(max_bad_steps=3, lines=[])
    (warning,) = watch.look([one_step(1), bad_step(2), bad_step(3)], line(3))
    assert warning == "at step 2 gradient_norm/encoder is not finite: the update is skipped"
    assert not watch.calm
    assert watch.look([one_step(4)], line(4)) == []
    assert watch.calm
    watch.look([bad_step(5), bad_step(6)], line(6))
    diagnosis = "3 steps in a row had to be skipped: at step 5 gradient_norm/encoder is not finite"
    with pytest.raises(DivergedError, match=diagnosis) as error:
        watch.look([bad_step(7)], line(7))
    assert error.value.step == 7


def test_a_similarity_far_above_its_median_for_long_is_too_much():
    watch = DivergenceMonitor(max_bad_steps=3, lines=[])
    for step in range(divergence.ENOUGH):
        watch.look([one_step(step)], line(step))
    high = 1.01 * divergence.MULTIPLE * SOUND["objective/similarity"]
    for step in range(100, 99 + divergence.PATIENCE):
        watch.look([one_step(step)], line(step, objective__similarity=high))
    assert not watch.calm
    with pytest.raises(DivergedError, match=r"similarity.*median of 0.2 since step 100"):
        watch.look([one_step(999)], line(999, objective__similarity=high))


def test_a_similarity_that_comes_back_or_rises_slowly_is_not():
    watch = DivergenceMonitor(max_bad_steps=3, lines=[])
    for step in range(10 * divergence.HISTORY):
        peak = step % divergence.PATIENCE == divergence.PATIENCE - 1
        value = (1 + step / divergence.HISTORY) * (100 if peak else 1)
        watch.look([one_step(step)], line(step, objective__similarity=value))


def test_a_resumed_run_judges_as_an_unbroken_one():
    high = {"objective__similarity": 9.0}
    lines = [line(step) for step in range(30)] + [line(step, **high) for step in range(30, 70)]
    unbroken, resumed = DivergenceMonitor(3, []), DivergenceMonitor(3, lines)
    for entry in lines:
        unbroken.look([one_step(entry["step"])], entry)
    for watch in (unbroken, resumed):
        for step in range(70, 79):
            watch.look([one_step(step)], line(step, **high))
        with pytest.raises(DivergedError, match="since step 30"):
            watch.look([one_step(79)], line(79, **high))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"discriminator__real": 0.995, "discriminator__reconstructed": 0.004}, "discriminator"),
        ({"discriminator__real": 0.004}, "takes the film itself for made"),
        ({"latent__mean_magnitude": 0.04}, "mean magnitude is below 0.05"),
        ({"reconstruction__spread": 0.03}, "the same picture"),
    ],
)
def test_collapse_is_told_once_while_it_lasts(values, words):
    watch = DivergenceMonitor(3, [line(step) for step in range(10)])
    told = []
    for step in range(10, 10 + 2 * divergence.COLLAPSED):
        told += watch.look([one_step(step)], line(step, **values))
    (warning,) = told
    assert words in warning
    assert f"up to step {9 + divergence.COLLAPSED}" in warning
    assert watch.look([one_step(500)], line(500)) == []
    for step in range(501, 501 + divergence.COLLAPSED):
        told += watch.look([one_step(step)], line(step, **values))
    assert len(told) == 2


def test_a_line_without_a_number_is_no_collapse():
    watch = DivergenceMonitor(3, [line(0)])
    for step in range(2 * divergence.COLLAPSED):
        none = {name.replace("/", "__"): None for name in SOUND}
        assert watch.look([one_step(step)], line(step, **none)) == []


def test_finite_means_every_number():
    tree = {"a": jnp.ones((2, 2)), "b": jnp.arange(3)}
    assert divergence.is_finite(tree)
    for bad in (np.nan, np.inf):
        assert not divergence.is_finite(tree | {"c": jnp.array([1.0, bad])})
