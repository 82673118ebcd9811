"""Checkpoints of a run: the whole training state, whole or not at all, checked when read."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import textwrap
import zlib
from pathlib import Path

import jax
import orbax.checkpoint as ocp

from vae_gan_jax.config import InputError
from vae_gan_jax.run import storage
from vae_gan_jax.training import checkpoint_place, train_state
from vae_gan_jax.training.checkpoint_place import COMMIT, InBucket, OnDisk
from vae_gan_jax.training.distributed import processes

CHECKSUMS = "checksums.json"
# What orbax writes after all else: it tells when, and the state is not read from it.
UNCHECKED = ("_CHECKPOINT_METADATA", COMMIT)
VERSION = 1  # of what a checkpoint holds
LATEST = 2  # how many are kept besides those of whole epochs
BLOCK = 8 << 20  # bytes of a file read at a time
# tensorstore's patience with a bucket that does not answer: that of gcsfs. By itself it would ask
# 32 times, and training wait for a quarter of an hour.
BUCKET_RETRIES = {"max_retries": 5, "initial_delay": "1s", "max_delay": "16s"}
BUCKET_SILENCE = {
    "TENSORSTORE_CURL_CONNECT_TIMEOUT_SECONDS": f"{storage.CONNECT:.0f}",
    "TENSORSTORE_CURL_LOW_SPEED_TIME_SECONDS": f"{storage.SILENCE:.0f}",
    "TENSORSTORE_CURL_LOW_SPEED_LIMIT_BYTES": "1",
}

logger = logging.getLogger(__name__)


class _Handler(ocp.StandardCheckpointHandler):
    """Orbax's own, which adds the checksums of all files before the checkpoint is one."""

    def finalize(self, directory):
        super().finalize(directory)
        place = checkpoint_place.at(directory.parent)
        sums = _checksums(place.files(directory))
        content = json.dumps({"version": VERSION, "files": sums}, indent=0)
        place.seal(directory, CHECKSUMS, f"{zlib.crc32(content.encode()):08x}\n{content}")


@ocp.args.register_with_handler(_Handler, for_save=True)
class _Save(ocp.args.StandardSave):
    pass


@ocp.args.register_with_handler(_Handler, for_restore=True)
class _Restore(ocp.args.StandardRestore):
    pass


class Checkpoints:
    """The checkpoints of a run, each named by its step; a context manager.

    Saving goes on in the background; leaving the context waits for it. Several processes save and
    restore together, and the first one says which step. The latest two are kept, and
    of those after whole epochs the latest ``keep_epochs``.

    Args:
      run_dir: the run's folder.
      steps_per_epoch: mini-batches in an epoch; not needed for reading alone.
      keep_epochs: not needed for reading alone.
      strict: a checkpoint that cannot be written raises, instead of a warning.
    """

    def __init__(
        self,
        run_dir: str | Path,
        steps_per_epoch: int = 1,
        keep_epochs: int | None = None,
        strict: bool = False,
    ):
        self._place = checkpoint_place.of(run_dir)
        self.folder = self._place.path
        if storage.is_remote(self.folder):
            _be_less_patient()
        self._steps_per_epoch, self._keep_epochs = steps_per_epoch, keep_epochs
        self._strict = strict
        # Folders are made at once: where that fails behind its back, orbax waits for minutes.
        at_once = ocp.AsyncOptions(create_directories_asynchronously=False)
        self._checkpointer = ocp.AsyncCheckpointer(_Handler(), async_options=at_once)
        self._saving: int | None = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.wait()
        self._checkpointer.close()

    @property
    def steps(self) -> list[int]:
        """The steps of the complete checkpoints, ascending; whether they are sound is not said."""
        return self._place.steps()

    def save(self, state: train_state.TrainState) -> None:
        """Saves the state under its step, unless that is there already.

        Where that fails a warning says so, at the next call of this or ``wait``, and those that are
        there stay.

        Raises:
          InputError: the one before could not be written, and ``strict`` was asked for or the
            run's folder is gone.
        """
        self.wait()
        self._saving = step = int(jax.device_get(state.step))
        self._hindrance: Exception | None = None
        try:
            if processes.broadcast_from_first(self._is_saved(state)):
                return
            if processes.broadcast_from_first(self._hindrance is not None):
                raise self._hindrance or OSError("by the first process's word")
            self._checkpointer.save(self.folder / str(step), args=_Save(_parts(state)))
        except Exception as error:
            self._tell_failure(error)

    def _is_saved(self, state) -> bool:
        """Whether the state is there; if not, all is made ready for it, or is hindered.

        The first process alone looks.
        """
        if processes.index():
            return False
        size = sum(leaf.nbytes for leaf in jax.tree.leaves(state))
        try:
            if self._saving in self.steps:
                return True
            self._place.make_ready(self._saving, size)
        except (OSError, InputError) as error:
            self._hindrance = error
        return False

    def wait(self) -> None:
        """Waits until what is being saved is saved; raises as ``save`` does."""
        try:
            self._checkpointer.wait_until_finished()
        except Exception as error:
            self._tell_failure(error)
        if self._saving is not None:
            self._saving = None
            self._forget_old()

    def delete(self, steps: set[int]) -> None:
        """Deletes the checkpoints of these steps, where they exist; process 0 does it for all."""
        if steps and processes.index() == 0:
            self._place.remove(steps & set(self.steps))

    def _tell_failure(self, error: Exception) -> None:
        step, self._saving = self._saving, None
        if processes.index() == 0:
            self._place.remove_failed(step)
        sentence = f"the checkpoint at step {step} cannot be written in {self.folder}"
        reason = os.strerror(errno.ENOSPC)
        if reason not in str(error):
            reason = textwrap.shorten(str(error) or repr(error), 200)  # orbax's run to pages
        if self._place.is_gone():
            raise InputError(f"{self.folder.parent} is gone, the run cannot go on.") from error
        if self._strict:
            remedy = self._place.remedy
            raise InputError(f"{sentence} ({reason}): {remedy}, then go on.") from error
        kept = self._place.newest()
        logger.warning("%s (%s): training goes on, %s", sentence, reason, kept)

    def _forget_old(self) -> None:
        """Deletes what is no longer kept; in a storage, what an interruption left unfinished too."""
        if self._keep_epochs is None or processes.index():
            return
        with contextlib.suppress(InputError):  # a bucket that does not answer: later, then
            steps = self.steps
            whole = [step for step in steps if step % self._steps_per_epoch == 0]
            self._place.remove(set(steps) - set(steps[-LATEST:]) - set(whole[-self._keep_epochs :]))

    def restore(
        self, state: train_state.TrainState, step: int | None = None
    ) -> train_state.TrainState:
        """A saved state whose files agree with their checksums: of ``step``, or the newest.

        A newer one that does not agree is told of and set aside, under a name that ends in
        ``.damaged``.

        Args:
          state: one of the same configuration; gives shapes and devices, its values are not used.
          step: which, if not the newest that is sound.

        Raises:
          InputError: there is none that is sound, or it holds networks of another configuration.
        """
        candidate, damaged = (0, {}) if processes.index() else self._sound(step)
        candidate = processes.broadcast_from_first(candidate)
        found = self.read(candidate, state)
        for newer, what in damaged.items():
            aside = self._place.set_aside(newer)
            logger.warning("%s: set aside as %s, step %d is used", what, aside, candidate)
        return found

    def _sound(self, step: int | None) -> tuple[int, dict[int, str]]:
        """The step to restore, and what is wrong with each newer one; raises as ``restore``."""
        steps = self.steps if step is None else [step]
        sound, damages = newest_sound(self._place, steps)
        if sound is None:
            told = "; ".join(damages.values()) or "there is none"
            raise InputError(
                f"no checkpoint in {self.folder} can be used: {told}: put a sound copy there, or "
                "delete the folder to learn anew."
            )
        return sound, damages

    def read(self, step: int, state: train_state.TrainState) -> train_state.TrainState:
        """As ``restore`` of a step that is known to be sound."""
        folder = self.folder / str(step)
        saved = self._checkpointer.metadata(folder).item_metadata.tree
        if _shapes(saved) != _shapes(state):
            raise InputError(
                f"the checkpoint {folder} does not fit the networks that the "
                "flags describe: give those in the run's flags.txt."
            )
        abstract = jax.tree.map(ocp.utils.to_shape_dtype_struct, _parts(state))
        return state.replace(**self._checkpointer.restore(folder, args=_Restore(abstract)))


def _parts(state: train_state.TrainState) -> dict:
    """The parts of a state by name, less those that it does without."""
    return {name: part for name, part in vars(state).items() if jax.tree.leaves(part)}


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    """Shape of each array by its path; alike for a state and for what orbax says of a saved one."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="/"): tuple(leaf.shape)
        for path, leaf in leaves
    }


def steps(run_dir: str | Path) -> list[int]:
    """The steps of a run's complete checkpoints, ascending."""
    return checkpoint_place.of(run_dir).steps()


def content_checksum(run_dir: str | Path, step: int) -> str:
    """Names a checkpoint by its content: SHA-256 of the list of its files' checksums, as hex digits.

    Raises:
      InputError: there is no such checkpoint, or it has no list of checksums.
    """
    path = checkpoint_place.of(run_dir).path / str(step) / CHECKSUMS
    try:
        with storage.reached(path):
            return hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, InputError) as error:
        raise InputError(
            f"{path} cannot be read ({error}): resume training from another checkpoint."
        ) from None


def newest_sound(place: OnDisk | InBucket, steps: list[int]) -> tuple[int | None, dict[int, str]]:
    """The newest of these checkpoints that agrees with its checksums, ``None`` if none does.

    Args:
      place: of the checkpoints.
      steps: which, ascending.

    Returns:
      Its step, and what is wrong with each newer one, the newest first.
    """
    damages = {}
    for step in reversed(steps):
        what = damage(place, step)
        if what is None:
            return step, damages
        damages[step] = what
    return None, damages


def damage(place: OnDisk | InBucket, step: int) -> str | None:
    """What is wrong with a checkpoint's files, in words that name the file; ``None`` if nothing.

    Raises:
      InputError: the checkpoint is of a newer version, or its bucket does not answer.
    """
    folder = place.path / str(step)
    with place.reading(folder):
        return _damage(place, folder)


def _damage(place: OnDisk | InBucket, folder) -> str | None:
    try:
        checksum, _, content = (folder / CHECKSUMS).read_text().partition("\n")
        sound = int(checksum, 16) == zlib.crc32(content.encode())
    except FileNotFoundError:
        return f"{folder} is damaged, it has no {CHECKSUMS}"
    except (*place.unreadable, ValueError):
        sound = False
    if not sound:
        return f"{folder / CHECKSUMS} is damaged"
    listed = json.loads(content)
    if listed["version"] > VERSION:
        raise InputError(f"{folder} was made by a newer version of this program: use that.")
    try:
        found = _checksums(place.files(folder))
    except place.unreadable as error:
        return f"{error.filename or folder} is damaged ({error.strerror})"
    for name, checksum in listed["files"].items():
        if name not in found:
            return f"{folder / name} is missing"
        if found[name] != checksum:
            return f"{folder / name} is damaged"
    return None


def _checksums(files: dict[str, Path]) -> dict[str, list[int]]:
    """Bytes and CRC-32 of a checkpoint's files, by name, of those that its state is read from."""
    found = {}
    for name, path in files.items():
        if name in (CHECKSUMS, *UNCHECKED):
            continue
        size = checksum = 0
        with path.open("rb") as file:
            while block := file.read(BLOCK):
                size += len(block)
                checksum = zlib.crc32(block, checksum)
        found[name] = [size, checksum]
    return found


def _be_less_patient() -> None:
    """Has tensorstore give a silent bucket up; orbax leaves no other way to tell it."""
    from orbax.checkpoint._src.serialization import tensorstore_utils

    os.environ |= BUCKET_SILENCE | os.environ
    for context in (
        tensorstore_utils._BASE_TS_CONTEXT,
        tensorstore_utils._DEFAULT_OCDBT_TS_CONTEXT,
    ):
        context["gcs_request_retries"] = BUCKET_RETRIES
