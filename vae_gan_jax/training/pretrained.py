"""Beginning with the networks of another run, to tune to one film what has learnt many."""

import logging
from pathlib import Path

import jax
import jax.numpy as jnp

from vae_gan_jax.config import FIELDS, Config, InputError, to_text
from vae_gan_jax.run import remote_run, storage
from vae_gan_jax.run.settings import recorded_settings
from vae_gan_jax.training import checkpoint
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.train_state import TrainState

# What gives parameters their shapes.
SIZES = ("width", "height", "filters", "z_dim", "first_batch_norm", "linear_skip")

logger = logging.getLogger(__name__)


def check(config: Config) -> None:
    """Refuses before a film is prepared what training could not begin with.

    A run that has a checkpoint goes on from that, and needs the other run no more.

    Raises:
      InputError: ``config.init_from`` is no run, the run itself, of another size, or untrained.
    """
    if not checkpoint.steps(config.run_dir):
        _settings(config)


def begin(config: Config, fresh: TrainState) -> TrainState:
    """The state that a run begins with: the networks of ``config.init_from``, at step 0.

    Of the other run's newest sound checkpoint, which stays as it is, whatever is beside it, it has
    the parameters and running statistics, with ``config.init_optimizer`` "carried" Adam's moments
    too, and the averaged weights where both runs keep them; where this one alone does, its average
    begins with the parameters.

    Args:
      config: the settings of the new run.
      fresh: its state without the other run; the arrays lie where its arrays do.

    Raises:
      InputError: as ``check`` does, or no checkpoint of the other run is sound.
    """
    theirs, other = _settings(config), Path(storage.local(config.init_from))
    step = processes.broadcast_from_first(0 if processes.index() else _newest_sound(other))
    weights = {name: fresh.params[name] for name in ("encoder", "decoder")}
    with checkpoint.Checkpoints(other) as checkpoints:
        like_theirs = fresh.replace(ema=weights if theirs.ema_span else {})
        found = checkpoints.read(step, like_theirs)
    average = found.ema or {name: found.params[name] for name in weights}
    logger.info("beginning with the networks of %s at step %d", other, step)
    return fresh.replace(
        params=found.params,
        batch_stats=found.batch_stats,
        constants=found.constants,
        opt_state=found.opt_state if config.init_optimizer == "carried" else fresh.opt_state,
        # A copy, since a step takes the memory of parameters and average, each for itself.
        ema=jax.tree.map(jnp.copy, average) if config.ema_span else {},
    )


def _settings(config: Config) -> Config:
    """Those of the run to begin from; raises as ``check`` does."""
    other = remote_run.view_run(config.init_from)
    if other.resolve() == Path(config.run_dir).resolve():
        raise InputError(
            f"--init_from={other} is this run itself: give another run, or another --run_dir."
        )
    recorded = recorded_settings(other)
    if not recorded:
        raise InputError(f"there is no run in {other}: give --init_from the folder of a run.")
    theirs = Config(**recorded)
    for name in SIZES:
        expected, given = (to_text(FIELDS[name], getattr(of, name)) for of in (theirs, config))
        if given != expected:
            raise InputError(
                f"--{name}={given} does not fit the networks in {other}, made with "
                f"--{name}={expected}: give that, or another --init_from."
            )
    if not checkpoint.steps(other):
        raise InputError(f"{other} has no checkpoint: train it first, with --mode=all or train.")
    return theirs


def _newest_sound(run: Path) -> int:
    """The step of a run's newest checkpoint that agrees with its checksums; none is set aside."""
    step, damages = checkpoint.newest_sound(run)
    if step is None:
        told = "; ".join(damages.values())
        raise InputError(
            f"no checkpoint in {run} can be used: {told}: give --init_from another run."
        )
    for what in damages.values():
        logger.warning("%s: an older one is looked for", what)
    return step
