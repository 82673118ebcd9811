"""Checkpoints of a run: the whole training state, written by orbax whole or not at all."""

from pathlib import Path

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, EveryNSteps, LatestN

from vae_gan_jax.config import InputError
from vae_gan_jax.training import train_state

FOLDER = "checkpoints"


class Checkpoints:
    """The checkpoints of a run folder, each named by its step; a context manager.

    Saving goes on in the background; leaving the context waits for it. The latest two are kept, and
    of those after whole epochs the latest ``keep_epochs``.

    Args:
      run_dir: the run's folder.
      steps_per_epoch: mini-batches in an epoch; not needed for reading alone.
      keep_epochs: not needed for reading alone.
    """

    def __init__(
        self, run_dir: str | Path, steps_per_epoch: int = 1, keep_epochs: int | None = None
    ):
        self.folder = Path(run_dir).absolute() / FOLDER
        policy = AnyPreservationPolicy(
            [LatestN(2), EveryNSteps(steps_per_epoch, max_to_keep=keep_epochs)]
        )
        options = ocp.CheckpointManagerOptions(preservation_policy=policy)
        self._manager = ocp.CheckpointManager(
            self.folder, options=options, item_handlers=ocp.StandardCheckpointHandler()
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._manager.close()

    @property
    def latest_step(self) -> int | None:
        """The step of the newest complete checkpoint, ``None`` where there is none."""
        return self._manager.latest_step()

    def save(self, state: train_state.TrainState) -> None:
        """Saves the state under its step, unless that is there already."""
        step = int(jax.device_get(state.step))
        if step != self.latest_step:
            self._manager.save(step, args=ocp.args.StandardSave(state))

    def restore(self, state: train_state.TrainState) -> train_state.TrainState:
        """The newest saved state.

        Args:
          state: one of the same configuration; gives shapes and devices, its values are not used.

        Raises:
          InputError: the checkpoint holds networks of another configuration.
        """
        step = self.latest_step
        if _shapes(self._manager.item_metadata(step).tree) != _shapes(state):
            raise InputError(
                f"the checkpoint {self.folder / str(step)} does not fit the networks that the "
                "flags describe: give those in the run's flags.txt."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, state)
        return self._manager.restore(step, args=ocp.args.StandardRestore(abstract))


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    """Shape of each array by its path; alike for a state and for what orbax says of a saved one."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


def exists(run_dir: str | Path) -> bool:
    """Whether the run has a complete checkpoint."""
    return bool(ocp.utils.checkpoint_steps(Path(run_dir).absolute() / FOLDER))
