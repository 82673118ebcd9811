"""Checkpoints of a run: the whole training state, saved atomically, checked when read."""

import contextlib
import errno
import hashlib
import logging
import os
import textwrap
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from vae_gan_jax.config import InputError
from vae_gan_jax.run import storage
from vae_gan_jax.training import checkpoint_folder, train_state
from vae_gan_jax.training.checkpoint_folder import CHECKSUMS, CheckpointFolder
from vae_gan_jax.training.distributed import processes

LATEST_CHECKPOINTS = 2  # how many are kept besides those of whole epochs

logger = logging.getLogger(__name__)


class _Handler(ocp.StandardCheckpointHandler):
    """Orbax's handler, with checksums of all files before the checkpoint is complete."""

    def finalize(self, directory):
        super().finalize(directory)
        checkpoint_folder.seal(directory)


@ocp.args.register_with_handler(_Handler, for_save=True)
class _Save(ocp.args.StandardSave):
    pass


@ocp.args.register_with_handler(_Handler, for_restore=True)
class _Restore(ocp.args.StandardRestore):
    pass


class Checkpoints:
    """The checkpoints of a run, each named by its step; a context manager.

    Checkpoints are saved in the background; leaving the context waits for that. Several processes
    save and restore together; process 0 chooses the step. The latest two checkpoints are kept, and
    the latest ``keep_epochs`` of those after whole epochs.

    Args:
      run_dir: the run's folder.
      steps_per_epoch: mini-batches in an epoch; not needed for reading.
      keep_epochs: default: nothing is deleted.
      strict: raise if a checkpoint cannot be written, instead of a warning.
    """

    def __init__(
        self,
        run_dir: str | Path,
        steps_per_epoch: int = 1,
        keep_epochs: int | None = None,
        strict: bool = False,
    ):
        self._files = CheckpointFolder(run_dir)
        self.folder = self._files.path
        self._steps_per_epoch, self._keep_epochs = steps_per_epoch, keep_epochs
        self._strict = strict
        # If orbax made folders in the background and failed, it would wait for minutes.
        options = ocp.AsyncOptions(create_directories_asynchronously=False)
        self._checkpointer = ocp.AsyncCheckpointer(_Handler(), async_options=options)
        self._saving_step: int | None = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.wait()
        self._checkpointer.close()

    @property
    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending; they may be damaged."""
        return self._files.steps()

    def save(self, state: train_state.TrainState) -> None:
        """Saves the state under its step, unless there is a checkpoint of that step.

        If a checkpoint cannot be written, the next call of this or ``wait`` logs a warning, and the
        earlier ones stay.

        Raises:
          InputError: the previous one could not be written, and ``strict`` is set or the run's
            folder is gone.
        """
        self.wait()
        self._saving_step = step = int(jax.device_get(state.step))
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        exists, obstacle = self._prepare(step, size) if processes.index() == 0 else (False, None)
        try:
            if processes.broadcast_from_first(exists):
                return
            if processes.broadcast_from_first(obstacle is not None):
                raise obstacle or OSError("process 0 cannot write it")
            self._checkpointer.save(self.folder / str(step), args=_Save(_parts(state)))
        except Exception as error:
            self._handle_failure(error)

    def _prepare(self, step: int, size: int) -> tuple[bool, Exception | None]:
        """Whether the checkpoint exists; if not, makes room for it or returns the obstacle."""
        try:
            if step in self.steps:
                return True, None
            self._files.make_ready(size)
        except (OSError, InputError) as error:
            return False, error
        return False, None

    def wait(self) -> None:
        """Waits until the checkpoint in progress is written; raises as ``save``."""
        try:
            self._checkpointer.wait_until_finished()
        except Exception as error:
            self._handle_failure(error)
        if self._saving_step is not None:
            self._saving_step = None
            self._delete_old()

    def delete(self, steps: set[int]) -> None:
        """Deletes the checkpoints of these steps, where they exist; process 0 does it for all."""
        if steps and processes.index() == 0:
            for step in steps & set(self.steps):
                self._files.delete(step)

    def _handle_failure(self, error: Exception) -> None:
        step, self._saving_step = self._saving_step, None
        sentence = f"the checkpoint at step {step} cannot be written in {self.folder}"
        reason = os.strerror(errno.ENOSPC)
        if reason not in str(error):
            reason = textwrap.shorten(str(error) or repr(error), 200)  # orbax's can fill pages
        if not self._files.is_remote:
            if not Path(self.folder).parent.is_dir():
                raise InputError(f"{self.folder.parent} is gone, the run cannot go on.") from error
            if processes.index() == 0:
                self._files.remove_unfinished()  # a full disk needs the room
        if self._strict:
            raise InputError(
                f"{sentence} ({reason}): make room or check it, then go on."
            ) from error
        logger.warning("%s (%s): training goes on, earlier checkpoints stay", sentence, reason)

    def _delete_old(self) -> None:
        if self._keep_epochs is None or processes.index() > 0:
            return
        with contextlib.suppress(InputError, OSError):  # the next call tries again
            steps = self.steps
            epochs = [step for step in steps if step % self._steps_per_epoch == 0]
            kept = steps[-LATEST_CHECKPOINTS:] + epochs[-self._keep_epochs :]
            self.delete(set(steps) - set(kept))

    def restore(
        self, state: train_state.TrainState, step: int | None = None
    ) -> train_state.TrainState:
        """Restores the newest sound checkpoint, or the one of ``step``.

        Newer damaged ones are logged and set aside under names that end in ``.damaged``.

        Args:
          state: one of the same configuration; gives shapes and devices, its values are not used.
          step: which checkpoint.

        Raises:
          InputError: none is sound, or it holds networks of another configuration.
        """
        candidate, damages = (0, {}) if processes.index() else self._newest_sound(step)
        candidate = processes.broadcast_from_first(candidate)
        restored = self.read(candidate, state)
        for damaged, problem in damages.items():
            aside = self._files.set_aside(damaged)
            logger.warning("%s: set aside as %s, step %d is used", problem, aside, candidate)
        return restored

    def _newest_sound(self, step: int | None) -> tuple[int, dict[int, str]]:
        sound, damages = _newest_sound(self._files, self.steps if step is None else [step])
        if sound is None:
            problems = "; ".join(damages.values()) or "there is none"
            raise InputError(
                f"no checkpoint in {self.folder} can be used: {problems}: put a sound copy there, "
                "or delete the folder to train from the start."
            )
        return sound, damages

    def read(self, step: int, state: train_state.TrainState) -> train_state.TrainState:
        """Restores the checkpoint of a step that is known to be sound; arguments as ``restore``."""
        folder = self.folder / str(step)
        saved = self._checkpointer.metadata(folder).item_metadata.tree
        if _shapes(saved) != _shapes(state):
            raise InputError(
                f"the checkpoint {folder} does not fit the networks that the flags describe: give "
                "those in the run's flags.txt."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _parts(state))
        return state.replace(**self._checkpointer.restore(folder, args=_Restore(abstract)))


def _parts(state: train_state.TrainState) -> dict:
    """The parts of a state by name, without empty ones."""
    return {name: part for name, part in vars(state).items() if jax.tree.leaves(part)}


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    """Shape of each array by its path; equal for a state and for orbax's description of it."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


def steps(run_dir: str | Path) -> list[int]:
    """The steps of a run's complete checkpoints, ascending."""
    return CheckpointFolder(run_dir).steps()


def newest_sound(run_dir: str | Path) -> tuple[int | None, dict[int, str]]:
    """The step of a run's newest checkpoint that agrees with its checksums; nothing is set aside.

    Returns:
      The step, None if no checkpoint is sound, and what is wrong with each newer one.
    """
    files = CheckpointFolder(run_dir)
    return _newest_sound(files, files.steps())


def _newest_sound(files: CheckpointFolder, steps: list[int]) -> tuple[int | None, dict[int, str]]:
    damages = {}
    for step in reversed(steps):
        damage = files.damage(step)
        if damage is None:
            return step, damages
        damages[step] = damage
    return None, damages


def content_checksum(run_dir: str | Path, step: int) -> str:
    """Names a checkpoint by its content: SHA-256 of the list of its files' checksums, as hex digits.

    Raises:
      InputError: there is no such checkpoint, or it has no list of checksums.
    """
    path = CheckpointFolder(run_dir).path / str(step) / CHECKSUMS
    try:
        with storage.readable_errors(path):
            return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, InputError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): resume training from another checkpoint."
        ) from None
