"""The disk is full or read-only, or the run's folder disappears."""

import contextlib
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.faults.process_faults import PHASES, Phase, wait_for
from benchmarks.faults.reference_run import ReferenceRun, Trials, remove_if_survived

DISK_SIZE = "96m"
MAX_DELAY_SECONDS = 0.02
DISK_PHASES = ("preparation", "training", "reconstruction")
# Phase: seconds after its start in which the disk fills up, and the most bytes left free.
FILL_LIMITS = {
    "preparation": (0.0, 0),
    "training": (3.0, 500_000),
    "reconstruction": (0.2, 100_000),
}


@contextlib.contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """Mounts a small disk in memory."""
    disk = Path(tempfile.mkdtemp(dir=folder))
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK_SIZE}", "tmpfs", disk], check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", disk], check=True)


def full_disks(reference: ReferenceRun, count: int) -> Trials:
    """Something else fills the disk to the last byte or nearly, and later frees it again."""
    for _ in range(count):
        for name, (max_delay_seconds, max_free_bytes) in FILL_LIMITS.items():
            with _small_disk(reference.folder) as disk:
                run, filler = reference.new_run(PHASES[name].stage, disk), disk / "filler"
                filler.touch()
                program = reference.start(run)
                if wait_for(PHASES[name], run, program, max_delay_seconds):
                    _fill_disk(filler, random.randrange(max_free_bytes) if max_free_bytes else 0)
                problems = reference.wait_for_exit(program, {0, 2})
                filler.unlink()
                problems += reference.finish_and_compare(run)
                yield f"full disk in {name}", problems


def _fill_disk(filler: Path, free_bytes: int) -> None:
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while (size := min(1 << 20, shutil.disk_usage(filler.parent).free - free_bytes)) > 0:
            file.write(bytes(size))


def run_folders(reference: ReferenceRun, count: int) -> Trials:
    """A run's folder is moved away for a while or deleted, or its disk is read-only."""
    faults = {
        "run folder moved away": _moved_away,
        "run folder deleted": _deleted,
        "read-only disk": _read_only,
    }
    for _ in range(count):
        for fault, inject in faults.items():
            for name in DISK_PHASES:
                yield f"{fault} in {name}", inject(reference, PHASES[name])


def _moved_away(reference: ReferenceRun, phase: Phase) -> list[str]:
    run, away = reference.new_run(phase.stage), reference.folder / "away"
    program, problems = reference.start(run), []
    if wait_for(phase, run, program, MAX_DELAY_SECONDS):
        run.rename(away)
        problems += reference.wait_for_exit(program, {0, 2})
        shutil.rmtree(run, ignore_errors=True)
        away.rename(run)
    problems += reference.finish_and_compare(run)
    remove_if_survived(run, problems)
    return problems


def _deleted(reference: ReferenceRun, phase: Phase) -> list[str]:
    run = reference.new_run(phase.stage)
    program = reference.start(run)
    if wait_for(phase, run, program, MAX_DELAY_SECONDS):
        shutil.rmtree(run, ignore_errors=True)
    problems = reference.wait_for_exit(program, {0, 2})
    problems = problems or reference.finish_and_compare(run)  # the run starts from the beginning
    remove_if_survived(run, problems)
    return problems


def _read_only(reference: ReferenceRun, phase: Phase) -> list[str]:
    with _small_disk(reference.folder) as disk:
        run = reference.new_run(phase.stage, disk)
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        problems = reference.wait_for_exit(reference.start(run), {2})
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        return problems + reference.finish_and_compare(run)
