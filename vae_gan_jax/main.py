"""The entry point: parses flags into a Config and runs the steps of the chosen mode.

    python -m vae_gan_jax.main --flagfile=experiments/blade.flags

No other file reads absl's FLAGS.
"""

import contextlib
import logging
import os
import sys
import textwrap
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from tqdm import tqdm

from vae_gan_jax import modes
from vae_gan_jax.config import FIELDS, Config, InputError, from_text, to_text
from vae_gan_jax.run import film_names, remote_run, signals, standard_streams, storage
from vae_gan_jax.training import xla_flags
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.distributed.launch import detect

GROUPS = ("run", "films", "networks", "objectives", "training", "hardware", "output", "exploring")

logger = logging.getLogger("vae_gan_jax")

MODE = flags.DEFINE_enum("mode", "all", list(modes.MODES), "What to do.")
DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    None,
    "Whether this is one of several processes of a run; default: yes if Slurm, Open MPI or a TPU "
    "pod started several.",
)
COORDINATOR_ADDRESS = flags.DEFINE_string(
    "coordinator_address", None, "HOST:PORT of process 0, where the launcher does not provide it."
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "Number of processes.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Number of this process, from 0.")
PROCESS_TIMEOUT = flags.DEFINE_float(
    "process_timeout", 300.0, "Seconds that processes wait for each other."
)
SCRATCH_DIR = flags.DEFINE_string(
    "scratch_dir",
    None,
    "Local folder for runs and films in a bucket; default: in the user's cache folder.",
)
PROCESS_FLAGS = ("distributed", "coordinator_address", "num_processes", "process_id",
                 "process_timeout", "scratch_dir")  # fmt: skip

for _field in FIELDS.values():
    _define = flags.DEFINE_bool if _field.type is bool else flags.DEFINE_string
    _default = _field.default if _field.type is bool else to_text(_field, _field.default)
    _define(_field.name, _default, _field.metadata["help"])


def given_settings() -> dict[str, Any]:
    """The settings on the command line and in flagfiles, by name.

    Raises:
      InputError: a flag has an invalid value.
    """
    given = {}
    for name, field in FIELDS.items():
        flag = flags.FLAGS[name]
        if flag.present:
            given[name] = flag.value if field.type is bool else from_text(field, flag.value)
    return given


def run() -> None:
    """Runs the steps of the mode that the flags select; raises InputError for bad input."""
    given, mode = given_settings(), modes.MODES[MODE.value]
    storage.use_scratch(SCRATCH_DIR.value)
    _join_processes(given)
    if given.get("compare") and processes.count() > 1:
        _continue_alone()
        return
    if given.get("compare"):
        modes.compare(given, MODE.value)
        return
    config = modes.resolve(given, MODE.value)
    for step in mode.steps:
        if processes.count() > 1 and not modes.is_shared(step, config):
            _continue_alone()
            return
        result = step(config, MODE.value != "all")
        if isinstance(result, Config):
            config = result
    if processes.count() > 1:
        processes.finish()
    elif MODE.value == "all":
        run_dir = Path(config.run_dir).absolute()
        logger.info("films: %s", run_dir / film_names.FILMS)
        logger.info("everything on one page: %s", run_dir / "report.html")


def _join_processes(given: dict[str, Any]) -> None:
    """Connects to the other processes, if there are any."""
    launch = detect(
        DISTRIBUTED.value, COORDINATOR_ADDRESS.value, NUM_PROCESSES.value, PROCESS_ID.value
    )
    if launch is None:
        return
    texts = {
        name: to_text(FIELDS[name], value)
        for name, value in given.items()
        if name != "frames_dir"  # each machine may have its own
    }
    processes.start(launch, texts | {"mode": MODE.value}, PROCESS_TIMEOUT.value)
    if processes.index():  # some launchers number the processes only at the start
        logger.setLevel(logging.ERROR)


def _continue_alone() -> None:
    """Ends all processes and restarts process 0 alone, because jax keeps the other devices."""
    first = processes.index() == 0
    processes.finish()
    if first:
        logger.info("process 0 continues alone")
        remote_run.save_runs()
        command = [sys.executable, "-m", "vae_gan_jax.main", *sys.argv[1:], "--nodistributed"]
        os.execv(sys.executable, command)


class _Console(logging.Handler):
    """Writes log lines to stderr without breaking a progress bar."""

    def emit(self, record):
        tqdm.write(storage.show_addresses(self.format(record)), file=sys.stderr)


def main(argv: list[str]) -> int:
    """Runs the program; bad input gives one sentence on stderr and exit code 2."""
    absl_logging.set_verbosity(absl_logging.FATAL)  # orbax logs every file
    logger.setLevel(logging.INFO)
    logger.propagate = False
    console = _Console()
    console.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(console)
    logger.addHandler(MemoryHandler(0, flushLevel=sys.maxsize))  # until the run's log is open
    signals.install()
    xla_flags.prefer_eigen_convolutions()
    try:
        if len(argv) > 1:
            raise InputError(f"{argv[1]!r} is no flag: flags start with --, see --help.")
        with _saved_to_bucket():
            run()
    except InputError as error:
        return _refuse(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}.")
    except SystemExit as stop:
        processes.fail("", stop.code)  # the signal's handler printed the sentence
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(stop.code)  # compiling threads can crash the interpreter's own shutdown
    except Exception as error:
        processes.exit_if_peer_lost(error)
        logger.exception("vae_gan_jax: an error in the program:")
        processes.fail("", 1)
        return 1
    return 0


@contextlib.contextmanager
def _saved_to_bucket():
    """Uploads runs in a bucket when the program ends, also after an error."""
    try:
        yield
    except BaseException:
        try:
            remote_run.close_runs()
        except (InputError, OSError) as error:
            logger.warning("%s", error)
        raise
    remote_run.close_runs()


def _refuse(sentence: str) -> int:
    """Prints the sentence once for all processes; returns the exit code."""
    sentence = storage.show_addresses(sentence)
    processes.fail(sentence, 2)
    if sentence:
        logger.error("vae_gan_jax: %s", sentence)
    return 2


def help_text() -> str:
    """All modes, then all flags by group."""
    lines = ["usage: python -m vae_gan_jax.main [--flagfile=FILE] [--FLAG=VALUE ...]", "", "modes:"]
    lines += [_help_entry(f"--mode={name}", mode.help) for name, mode in modes.MODES.items()]
    for group in GROUPS:
        lines += ["", f"{group}:"]
        for name, field in FIELDS.items():
            if field.metadata["group"] == group:
                default = to_text(field, field.default)
                lines.append(_help_entry(f"--{name}={default}", field.metadata["help"]))
    lines += ["", "several processes and machines:"]
    lines += [_help_entry(f"--{name}", flags.FLAGS[name].help) for name in PROCESS_FLAGS]
    return "\n".join(lines)


def _help_entry(flag: str, text: str) -> str:
    return f"  {flag}\n" + textwrap.fill(
        text, 88, initial_indent=" " * 6, subsequent_indent=" " * 6
    )


def parse_flags(argv: list[str]) -> list[str]:
    """Parses flags with absl; a wrong flag gives one sentence and exit code 2."""
    if {"--help", "-help", "-h"} & set(argv):
        print(help_text())
        sys.exit(0)
    try:
        return flags.FLAGS(argv)
    except (flags.Error, UnicodeError) as error:
        sentence = " ".join(str(error).split())
        print(f"vae_gan_jax: {sentence} (see --help)", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    standard_streams.protect()
    app.run(main, flags_parser=parse_flags)
