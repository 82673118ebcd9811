"""Starts a run with the networks of another run, to fine-tune them on one film."""

import logging
from pathlib import Path

from vae_gan_jax.config import FIELDS, Config, InputError, to_text
from vae_gan_jax.run import storage
from vae_gan_jax.run.settings import recorded_settings
from vae_gan_jax.training import checkpoint
from vae_gan_jax.training.checkpoint_folder import CheckpointFolder
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.train_state import TrainState

# The settings that determine the shapes of the parameters.
SIZES = ("width", "height", "filters", "z_dim", "first_batch_norm", "networks")

logger = logging.getLogger(__name__)


def check(config: Config) -> None:
    """Checks ``config.init_from`` before a film is prepared.

    A run that already has a checkpoint resumes from it and no longer needs the other run.

    Raises:
      InputError: ``config.init_from`` is not a run, is this run, has no checkpoint, or its networks
        have another size.
    """
    if checkpoint.steps(config.run_dir):
        return
    other = Path(storage.local(config.init_from))
    if other.resolve() == Path(config.run_dir).resolve():
        raise InputError(
            f"--init_from={other} is this run itself: give another run or another --run_dir."
        )
    with storage.readable_errors(config.init_from):
        recorded = recorded_settings(storage.path_of(other))
    if not recorded:
        raise InputError(f"there is no run in {other}: give --init_from the folder of a run.")
    other_config = Config(**recorded)
    for name in SIZES:
        expected, given = (
            to_text(FIELDS[name], getattr(settings, name)) for settings in (other_config, config)
        )
        if given != expected:
            raise InputError(
                f"--{name}={given} does not fit the networks in {other}, which have "
                f"--{name}={expected}: give that, or another --init_from."
            )
    if not checkpoint.steps(other):
        raise InputError(f"{other} has no checkpoint: train it first, with --mode=all or train.")


def begin(config: Config, fresh: TrainState) -> TrainState:
    """Creates a state at step 0 with the networks of ``config.init_from``, sharded like ``fresh``.

    Parameters, running statistics and constants come from the other run's newest sound checkpoint;
    with ``config.init_optimizer`` "carried" so do Adam's moments.

    Raises:
      InputError: as ``check`` does, or no checkpoint of the other run is sound.
    """
    check(config)
    other = Path(storage.local(config.init_from))
    step = processes.broadcast_from_first(0 if processes.index() else _newest_sound(other))
    with checkpoint.Checkpoints(other) as checkpoints:
        other_state = checkpoints.read(step, fresh)
    logger.info("starting with the networks of %s at step %d", other, step)
    return fresh.replace(
        params=other_state.params,
        batch_stats=other_state.batch_stats,
        constants=other_state.constants,
        opt_state=other_state.opt_state if config.init_optimizer == "carried" else fresh.opt_state,
    )


def _newest_sound(run: Path) -> int:
    """The step of a run's newest sound checkpoint; damaged ones stay where they are."""
    step, damages = CheckpointFolder(run).newest_sound()
    if step is None:
        reasons = "; ".join(damages.values())
        raise InputError(
            f"no checkpoint in {run} can be used: {reasons}: give --init_from another run."
        )
    for damage in damages.values():
        logger.warning("%s: an older checkpoint is used", damage)
    return step
