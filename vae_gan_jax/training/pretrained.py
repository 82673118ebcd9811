"""Starts a run with the networks of another run or of an export, to fine-tune them on one film."""

import logging
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vae_gan_jax.config import FIELDS, Config, InputError, to_text
from vae_gan_jax.run import exported, storage
from vae_gan_jax.run.settings import recorded_settings
from vae_gan_jax.training import checkpoint, train_state
from vae_gan_jax.training.distributed import mesh, processes
from vae_gan_jax.training.train_state import TrainState

# The settings that determine the shapes of the parameters.
SIZES = ("width", "height", "filters", "z_dim", "first_batch_norm", "networks")

logger = logging.getLogger(__name__)


def check(config: Config) -> None:
    """Checks ``config.init_from`` before a film is prepared.

    A run that already has a checkpoint resumes from it and no longer needs the other run. Raises
    InputError if ``config.init_from`` is not a run, is this run, has no checkpoint, or its networks
    have another size.
    """
    if checkpoint.steps(config.run_dir):
        return
    other = Path(storage.local(config.init_from))
    if other.resolve() == Path(config.run_dir).resolve():
        raise InputError(
            f"--init_from={other} is this run itself: give another run or another --run_dir."
        )
    is_export = exported.is_export(other)
    other_config = Config(**(exported.read(other).settings if is_export else _recorded(config)))
    for name in SIZES:
        expected, given = (
            to_text(FIELDS[name], getattr(settings, name)) for settings in (other_config, config)
        )
        if given != expected:
            raise InputError(
                f"--{name}={given} does not fit the networks in {other}, which have "
                f"--{name}={expected}: give that, or another --init_from."
            )
    if not is_export and not checkpoint.steps(other):
        raise InputError(f"{other} has no checkpoint: train it first, with --mode=all or train.")


def _recorded(config: Config) -> dict[str, Any]:
    """The settings of the other run."""
    with storage.readable_errors(config.init_from):
        recorded = recorded_settings(storage.path_of(storage.local(config.init_from)))
    if not recorded:
        raise InputError(
            f"there is no run in {storage.local(config.init_from)}: give --init_from the folder of "
            "a run or of an export."
        )
    return recorded


def begin(config: Config, fresh: TrainState) -> TrainState:
    """Creates a state at step 0 with the networks of ``config.init_from``, sharded like ``fresh``.

    Parameters, running statistics and constants come from the other run's newest sound checkpoint;
    Adam's moments start at 0. An export has the statistics of its film. Raises InputError as
    ``check`` does, or if no checkpoint of the other run is sound.
    """
    check(config)
    other = Path(storage.local(config.init_from))
    if exported.is_export(other):
        return _begin_from_export(config, fresh, other)
    remedy = "give --init_from another run"
    with checkpoint.Checkpoints(other) as checkpoints:
        other_state = checkpoints.restore(fresh, rename_damaged=False, remedy=remedy)
    logger.info("starting with the networks of %s at step %d", other, other_state.step)
    return fresh.replace(
        params=other_state.params,
        batch_stats=other_state.batch_stats,
        constants=other_state.constants,
    )


def _begin_from_export(config: Config, fresh: TrainState, other: Path) -> TrainState:
    export = exported.read(other)
    variables = processes.broadcast_from_first(read_variables(export, config))
    logger.info("starting with the networks of %s at step %d", other, export.step)
    constants = {name: {"pca": each["pca"]} for name, each in variables.items() if "pca" in each}
    state = fresh.replace(
        params={name: each["params"] for name, each in variables.items()},
        batch_stats={name: each["batch_stats"] for name, each in variables.items()},
        constants=constants,
    )
    return mesh.place_state(config, state)


def read_variables(export: exported.Export, config: Config) -> dict[str, Any]:
    """The collections of an export's networks, NumPy arrays by network.

    Raises InputError if its file is damaged or does not fit the settings.
    """
    arrays = exported.read_arrays(export.folder)
    variables = train_state.shapes(config).inference_variables
    wanted = train_state.flat(variables)
    shapes, expected = (
        {name: array.shape for name, array in each.items()} for each in (arrays, wanted)
    )
    if shapes != expected or any(array.dtype != np.float32 for array in arrays.values()):
        raise InputError(
            f"{export.folder / exported.WEIGHTS} does not fit {exported.CONFIG} beside it: make "
            "it again with --mode=export."
        )
    return jax.tree.unflatten(jax.tree.structure(variables), [arrays[name] for name in wanted])
