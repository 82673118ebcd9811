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
from vae_gan_jax.run import disk_errors, storage
from vae_gan_jax.training import checkpoint_folder, train_state
from vae_gan_jax.training.checkpoint_folder import CHECKSUMS, CheckpointFolder
from vae_gan_jax.training.distributed import processes

MAX_LATEST_CHECKPOINTS = 2  # kept besides those after whole epochs

logger = logging.getLogger(__name__)


class _Handler(ocp.StandardCheckpointHandler):
    """Orbax's handler; it also writes the checksums, before the checkpoint counts as complete."""

    def finalize(self, directory):
        super().finalize(directory)
        checkpoint_folder.seal(directory)


@ocp.args.register_with_handler(_Handler, for_save=True)
class _Save(ocp.args.StandardSave):
    pass


@ocp.args.register_with_handler(_Handler, for_restore=True)
class _Restore(ocp.args.StandardRestore):
    pass


class Checkpoints(contextlib.AbstractContextManager):
    """Saves and restores the checkpoints of a run by step; a context manager.

    It saves in the background; leaving the context waits for that. Several processes must call its
    methods together. With ``keep_epochs`` it deletes old checkpoints, but not the latest two, nor
    the latest ``keep_epochs`` of those after whole epochs. With ``strict`` it raises InputError
    instead of logging a warning if a checkpoint cannot be written.
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
        # If orbax fails to create a folder in the background, it waits for minutes.
        options = ocp.AsyncOptions(create_directories_asynchronously=False)
        self._checkpointer = ocp.AsyncCheckpointer(_Handler(), async_options=options)
        self._saving_step: int | None = None

    def __exit__(self, *exception):
        self.wait()
        self._checkpointer.close()

    @property
    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending; they may be damaged."""
        return self._files.steps()

    def save(self, state: train_state.TrainState) -> None:
        """Saves the state, unless its step already has a checkpoint.

        If it cannot be written, this or the next call logs a warning; earlier checkpoints stay.
        Raises InputError if a checkpoint could not be written, and ``strict`` is set or the run's
        folder was deleted.
        """
        self.wait()
        self._saving_step = step = int(jax.device_get(state.step))
        exists, obstacle = False, None
        if processes.index() == 0:
            try:
                exists = step in self.steps
                if not exists:
                    self._files.prepare(sum(leaf.nbytes for leaf in jax.tree.leaves(state)))
            except (OSError, InputError) as error:
                obstacle = error
        try:
            if processes.broadcast_from_first(exists):
                return
            if processes.broadcast_from_first(obstacle is not None):
                raise obstacle or OSError("process 0 cannot write it")
            self._checkpointer.save(self.folder / str(step), args=_Save(_fields(state)))
        except Exception as error:
            self._handle_failure(error)

    def wait(self) -> None:
        """Waits until the checkpoint in progress is written; raises like ``save``."""
        try:
            self._checkpointer.wait_until_finished()
        except Exception as error:
            self._handle_failure(error)
        if self._saving_step is not None:
            self._saving_step = None
            self._delete_old()

    def delete(self, steps: set[int]) -> None:
        """Deletes those of these checkpoints that exist; only process 0 does it."""
        if steps and processes.index() == 0:
            for step in steps & set(self.steps):
                self._files.delete(step)

    def _handle_failure(self, error: Exception) -> None:
        step, self._saving_step = self._saving_step, None
        sentence = f"the checkpoint at step {step} cannot be written in {self.folder}"
        reason = os.strerror(errno.ENOSPC)
        if reason not in str(error):
            reason = textwrap.shorten(str(error) or repr(error), 200)  # orbax's can be very long
        if not self._files.is_remote:
            if not Path(self.folder).parent.is_dir():
                raise InputError(
                    f"{self.folder.parent} was moved or deleted during training: put it back, then "
                    "give the same command again."
                ) from error
            if processes.index() == 0:
                with contextlib.suppress(OSError):  # the next checkpoint tries again
                    self._files.remove_incomplete()  # makes room on a full disk
        if self._strict:
            raise InputError(
                f"{sentence}, with --strict ({reason}): {disk_errors.advice(reason)}, then give "
                "the same command again."
            ) from error
        logger.warning("%s (%s): training continues, earlier checkpoints stay", sentence, reason)

    def _delete_old(self) -> None:
        if self._keep_epochs is None or processes.index() > 0:
            return
        with contextlib.suppress(InputError, OSError):  # the next call tries again
            steps = self.steps
            epochs = [step for step in steps if step % self._steps_per_epoch == 0]
            keep = steps[-MAX_LATEST_CHECKPOINTS:] + epochs[-self._keep_epochs :]
            self.delete(set(steps) - set(keep))

    def restore(
        self,
        state: train_state.TrainState,
        step: int | None = None,
        rename_damaged: bool = True,
        remedy: str = "copy a sound checkpoint there, or delete the folder to train from the start",
    ) -> train_state.TrainState:
        """Restores the newest sound checkpoint, or the one at ``step``, sharded like ``state``.

        Newer checkpoints that are damaged are logged, and with ``rename_damaged`` renamed with the
        suffix ``.damaged``. Raises InputError, with the ``remedy``, if no checkpoint is sound; or
        if its networks do not fit ``state``.
        """
        sound, damages = 0, {}
        if processes.index() == 0:
            sound, damages = self._files.newest_sound(None if step is None else [step])
            if sound is None:
                problems = "; ".join(damages.values()) or "there is none"
                raise InputError(
                    f"no checkpoint in {self.folder} can be used: {problems}: {remedy}."
                )
        sound = processes.broadcast_from_first(sound)
        folder = self.folder / str(sound)
        saved = self._checkpointer.metadata(folder).item_metadata.tree
        if _shapes(saved) != _shapes(state):
            raise InputError(
                f"the checkpoint {folder} does not fit the networks that the flags describe: give "
                "the flags in the run's flags.txt."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _fields(state))
        restored = state.replace(**self._checkpointer.restore(folder, args=_Restore(abstract)))
        for damaged, problem in damages.items():
            renamed = ""
            if rename_damaged:
                renamed = f"renamed to {self._files.rename_damaged(damaged)}, "
            logger.warning("%s: %sstep %d is used", problem, renamed, sound)
        return restored


def _fields(state: train_state.TrainState) -> dict:
    """The fields of a state by name, without empty ones, which orbax cannot save."""
    return {name: field for name, field in vars(state).items() if jax.tree.leaves(field)}


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    """The shape of each array by its path, for a state or for orbax's metadata of one."""
    return {path: tuple(leaf.shape) for path, leaf in train_state.flat(tree).items()}


def steps(run_dir: str | Path) -> list[int]:
    """The steps of a run's complete checkpoints, ascending."""
    return CheckpointFolder(run_dir).steps()


def newest_step(run_dir: str | Path) -> int:
    """The step of a run's newest checkpoint, which may be damaged; InputError: there is none."""
    if not (complete := steps(run_dir)):
        raise InputError(f"{run_dir} has no checkpoint: train it first, with --mode=all or train.")
    return max(complete)


def content_checksum(run_dir: str | Path, step: int) -> str:
    """The SHA-256 of a checkpoint's list of checksums, in hexadecimal digits.

    Raises InputError if the checkpoint or its list of checksums is missing.
    """
    path = CheckpointFolder(run_dir).path / str(step) / CHECKSUMS
    try:
        with storage.readable_errors(path):
            return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, InputError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): resume training from another checkpoint."
        ) from None
