"""The program is killed, or gets a signal, in every phase of a run."""

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from benchmarks.faults.reference_run import ReferenceRun, Trials, remove_if_survived

POLL_SECONDS = 0.0005
MAX_DELAY_SECONDS = {"training": 1.0, "compilation": 2.0}  # between a phase's start and the fault
DEFAULT_MAX_DELAY_SECONDS = 0.05
KILLS_PER_RUN = 2


class Phase(NamedTuple):
    """A phase of a run: the stage to start from, and whether a run folder shows that it began."""

    stage: str | None
    has_begun: Callable[[Path], bool]


def _exists(pattern: str) -> Callable[[Path], bool]:
    return lambda run: any(run.glob(pattern))


def _has_metrics(run: Path) -> bool:
    path = run / "metrics.jsonl"
    return path.exists() and path.stat().st_size > 0


PHASES = {
    "preparation": Phase(None, _exists("frames.partial/*")),
    "compilation": Phase("prepared", _exists("metrics.jsonl")),
    "training": Phase("prepared", _has_metrics),
    "a save": Phase("prepared", _exists("checkpoints/*.orbax-checkpoint-tmp*")),
    "reconstruction": Phase("trained", _exists("films/.*")),
    "measuring": Phase("trained", _exists("films/film.mp4")),
}
WHOLE_RUN = "any phase"


def wait_for(phase: Phase, run: Path, program: subprocess.Popen, max_delay_seconds: float) -> bool:
    """Waits until a phase has begun, and a random delay; returns whether the program still runs."""
    while program.poll() is None and not phase.has_begun(run):
        time.sleep(POLL_SECONDS)
    with contextlib.suppress(subprocess.TimeoutExpired):
        program.wait(random.uniform(0, max_delay_seconds))
    return program.poll() is None


def kills(reference: ReferenceRun, count: int, phases: dict[str, Phase] | None = None) -> Trials:
    """``kill -9``, twice in each run, in one phase after another and at any moment."""
    phases = phases or {WHOLE_RUN: Phase(None, lambda run: True)} | PHASES
    max_delays = {WHOLE_RUN: reference.whole_run_seconds} | MAX_DELAY_SECONDS
    total = 0
    while total < count:
        for name, phase in phases.items():
            run, problems, kill_count = reference.new_run(phase.stage), [], 0
            while kill_count < min(KILLS_PER_RUN, count - total):
                program = reference.start(run)
                delay = max_delays.get(name, DEFAULT_MAX_DELAY_SECONDS)
                if not wait_for(phase, run, program, delay):  # the run ended before
                    problems += reference.wait_for_exit(program, {0})
                    break
                program.kill()
                program.wait()
                kill_count += 1
            total += kill_count
            problems += reference.finish_and_compare(run)
            yield from [(f"kill -9 in {name}", problems)] * kill_count
            remove_if_survived(run, problems)


def signals(reference: ReferenceRun, count: int) -> Trials:
    """SIGTERM and SIGINT in every phase: the program ends by itself with 128 + the signal."""
    for number in range(count):
        sent = (signal.SIGTERM, signal.SIGINT)[number % 2]
        for name, phase in PHASES.items():
            if name == "a save":
                continue
            run, problems = reference.new_run(phase.stage), []
            program = reference.start(run)
            if wait_for(phase, run, program, 0.1):
                program.send_signal(sent)
                problems += reference.wait_for_exit(program, {128 + sent, 0})
            problems += reference.finish_and_compare(run)
            yield f"{sent.name} in {name}", problems
            remove_if_survived(run, problems)
