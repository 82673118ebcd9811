"""A file of the newest checkpoint is damaged."""

import logging
import os
import random
import shutil
from pathlib import Path

from benchmarks.faults.reference_run import ReferenceRun, Trials, blank_state, state_digest
from vae_gan_jax.training import checkpoint, checkpoint_folder


def _flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    path.write_bytes(content)


def _truncate(path: Path) -> None:
    os.truncate(path, random.randrange(max(1, path.stat().st_size)))


DAMAGES = {"one bit flipped": _flip_bit, "truncated": _truncate, "deleted": Path.unlink}


class Messages(logging.Handler):
    """Collects the messages of a logger."""

    def __init__(self):
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def damaged_checkpoints(reference: ReferenceRun, count: int) -> Trials:
    """Every file of a checkpoint in turn has a bit flipped, is truncated, or is deleted.

    Survived: a warning names the file, the checkpoint is set aside and the previous one is
    restored; or, without a warning, the state is restored bit for bit.
    """
    trained = reference.new_run("trained")
    newest, previous = checkpoint.steps(trained)[-1:-3:-1]
    blank = blank_state()
    with checkpoint.Checkpoints(trained) as checkpoints:
        sound = {
            step: state_digest(checkpoints.restore(blank, step)) for step in (newest, previous)
        }
    folder = trained / "checkpoints" / str(newest)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    messages = Messages()
    checkpoint.logger.addHandler(messages)
    for number in range(count):
        name = list(DAMAGES)[number % len(DAMAGES)]
        file = files[number // len(DAMAGES) % len(files)]
        run = reference.folder / "damaged"
        shutil.copytree(trained, run)
        DAMAGES[name](run / "checkpoints" / str(newest) / file)
        messages.texts.clear()
        with checkpoint.Checkpoints(run) as checkpoints:
            restored = state_digest(checkpoints.restore(blank))
        is_set_aside = (
            run / "checkpoints" / f"{newest}{checkpoint_folder.DAMAGED_SUFFIX}"
        ).is_dir()
        is_reported = bool(messages.texts) and str(file) in messages.texts[0] and is_set_aside
        survived = restored == sound[previous if is_reported else newest]
        yield f"file of a checkpoint: {name}", [] if survived else [f"not noticed: {file}"]
        shutil.rmtree(run)
    checkpoint.logger.removeHandler(messages)
