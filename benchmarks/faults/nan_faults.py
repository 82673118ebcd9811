"""NaN enters one training step through parameters, frames or gradients."""

import contextlib
import logging
import os
import random
from collections.abc import Callable, Iterator
from functools import partial

import jax
import jax.numpy as jnp

from benchmarks.faults.checkpoint_faults import Messages
from benchmarks.faults.reference_run import (
    FILM_FRAMES,
    NOISE_SCHEDULE,
    SETTINGS,
    ReferenceRun,
    Trials,
    config,
    remove_if_survived,
)
from vae_gan_jax.config import InputError
from vae_gan_jax.film.store import frame_store
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.model import autoencoder, objectives
from vae_gan_jax.training import loop, train_step

TRAIN_STEP = train_step.train_step


def nan(reference: ReferenceRun, count: int) -> Trials:
    """The run must end with finite numbers and must name the step in its log."""
    store = frame_store.open_store(reference.new_run("prepared") / "frames")
    frames = TrainingFrames(store.frames_THWC)
    messages, package = Messages(), logging.getLogger("vae_gan_jax")
    package.addHandler(messages)
    package.propagate = False
    for _ in range(count):
        for name, poisoned_step in POISONED_STEPS.items():
            run = reference.new_run()
            run.mkdir()
            messages.texts.clear()
            step = random.randrange(1, len(NOISE_SCHEDULE) * FILM_FRAMES // SETTINGS["batch_size"])
            problems = []
            with _step_replaced(step, poisoned_step), _without_stderr():
                try:
                    state = loop.train(config(), frames, run)
                    if not _is_finite((state.params, state.opt_state, state.batch_stats)):
                        problems.append("the result is not finite")
                except InputError as error:
                    problems.append(str(error))
            if f"at step {step + 1} " not in "\n".join(messages.texts):
                problems.append(f"the log does not mention step {step + 1}")
            yield f"NaN in {name}", problems
            remove_if_survived(run, problems)


def _is_finite(tree) -> bool:
    return all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(tree))


def _with_nan_parameters(network: str) -> Callable:
    def step(state, *arguments):
        broken = jax.tree.map(lambda leaf: leaf * jnp.nan, state.params[network])
        return TRAIN_STEP(state.replace(params=state.params | {network: broken}), *arguments)

    return step


def _with_changed_result(module, name: str, change: Callable) -> Callable:
    """A step compiled with ``change`` applied to the result of one of the project's functions."""

    def step(state, frames_BHWC, key, noise_std, config):
        function = getattr(module, name)
        setattr(module, name, lambda *args, **kwargs: change(function(*args, **kwargs), *args))
        try:
            changed = partial(train_step.jitted_step.__wrapped__, config=config.step)
            return jax.jit(changed)(state, frames_BHWC, key, noise_std)
        finally:
            setattr(module, name, function)

    return step


def _with_nan_gradient(value, argument, *_):
    """The same value with a NaN gradient: the root has an infinite derivative at 0, times 0."""
    return value + jnp.sqrt(0 * argument.sum())


POISONED_STEPS = {
    **{
        f"the {network}'s parameters": _with_nan_parameters(network)
        for network in ("encoder", "decoder", "discriminator")
    },
    "the frames": _with_changed_result(
        autoencoder, "from_frames", lambda x_BHWC, *_: x_BHWC * jnp.nan
    ),
    "the encoder's gradient": _with_changed_result(objectives, "kl_divergence", _with_nan_gradient),
    "the discriminator's gradient": _with_changed_result(
        objectives, "adversarial", _with_nan_gradient
    ),
}


@contextlib.contextmanager
def _step_replaced(step: int, poisoned_step: Callable) -> Iterator[None]:
    """Replaces one step of the training, once."""
    remaining = [poisoned_step]

    def train_one_step(state, *arguments):
        with jax.transfer_guard("allow"):
            poisoned = remaining and int(state.step) == step
            return (remaining.pop() if poisoned else TRAIN_STEP)(state, *arguments)

    train_step.train_step = train_one_step
    try:
        yield
    finally:
        train_step.train_step = TRAIN_STEP


@contextlib.contextmanager
def _without_stderr() -> Iterator[None]:
    with open(os.devnull, "w") as devnull, contextlib.redirect_stderr(devnull):
        yield
