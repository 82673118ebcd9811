"""The entry point: parses flags into a Config and runs the steps of the chosen mode.

    python -m vae_gan_jax.main --flagfile=experiments/blade.flags

No other file reads absl's FLAGS.
"""

import contextlib
import dataclasses
import logging
import os
import re
import sys
import textwrap
import typing
from logging.handlers import MemoryHandler
from pathlib import Path
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from tqdm import tqdm

import vae_gan_jax
from vae_gan_jax import modes
from vae_gan_jax.config import FIELDS, Config, InputError, flag_text, flagfile, from_text, to_text
from vae_gan_jax.run import disk_errors, film_names, remote_run, signals, standard_streams, storage
from vae_gan_jax.training import xla_flags
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.distributed.launch import ProcessFlags, detect

GROUPS = (
    *("run", "films", "networks", "objectives", "training", "hardware", "output", "exploring"),
    *("live", "processes"),
)
MAX_SHOWN_LETTERS = 1000  # of a word in a sentence: a flag may have 5,000 digits

logger = logging.getLogger("vae_gan_jax")

MODE = flags.DEFINE_enum("mode", "all", list(modes.MODES), "What to do.")
PROCESS_FIELDS = {field.name: field for field in dataclasses.fields(ProcessFlags)}

for _field in [*FIELDS.values(), *PROCESS_FIELDS.values()]:
    if bool in (_field.type, *typing.get_args(_field.type)):
        flags.DEFINE_bool(_field.name, _field.default, _field.metadata["help"])
    else:
        _default = to_text(_field, _field.default)
        flags.DEFINE_string(_field.name, _default, _field.metadata["help"])


def given_settings(fields: dict[str, dataclasses.Field] = FIELDS) -> dict[str, Any]:
    """The settings on the command line and in flagfiles, by name.

    Raises InputError if a flag has an invalid value.
    """
    given = {}
    for name, field in fields.items():
        flag = flags.FLAGS[name]
        if flag.present:
            value = flag.value
            given[name] = from_text(field, value) if isinstance(value, str) else value
    return given


def run() -> None:
    """Runs the steps of the mode that the flags select; raises InputError for bad input."""
    given, mode = given_settings(), modes.MODES[MODE.value]
    process_flags = ProcessFlags(**given_settings(PROCESS_FIELDS))
    storage.use_scratch(process_flags.scratch_dir)
    _join_processes(process_flags, given)
    if given.get("compare") and MODE.value != "all":
        if processes.count() > 1:
            _continue_alone()
        else:
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


def _join_processes(process_flags: ProcessFlags, given: dict[str, Any]) -> None:
    """Connects to the other processes, if there are any."""
    launch = detect(process_flags)
    if launch is None:
        return
    texts = {
        name: to_text(FIELDS[name], value)
        for name, value in given.items()
        if name != "frames_dir"  # each machine may have its own
    }
    processes.start(launch, texts | {"mode": MODE.value}, process_flags.process_timeout)
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


def _show_log() -> None:
    """Shows the log on stderr, and keeps it in memory until the run's log file is open."""
    absl_logging.set_verbosity(absl_logging.FATAL)  # orbax logs every file
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.addHandler(_Console())
    logger.addHandler(MemoryHandler(0, flushLevel=sys.maxsize))


def main(argv: list[str]) -> int:
    """Runs the program; bad input gives one sentence on stderr and exit code 2."""
    signals.install()
    xla_flags.prefer_eigen_convolutions()
    xla_flags.cache_compiled_code()
    try:
        if len(argv) > 1:
            raise InputError(
                f"{argv[1]!r} is not a flag: give flags that start with --, see --help."
            )
        with _saved_to_bucket():
            run()
    except InputError as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse(disk_errors.sentence(error))
    except MemoryError as error:
        return _refuse(
            f"this machine has too little memory ({error or 'none is free'}): lower --width, "
            "--height, --batch_size or --upscale."
        )
    except SystemExit as stop:
        processes.fail("", stop.code)  # the signal's handler printed the sentence
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(stop.code)  # compiling threads can crash the interpreter's own shutdown
    except Exception as error:
        processes.exit_if_peer_lost(error)
        if sentence := _jax_failure(error):
            return _refuse(sentence)
        logger.exception("vae_gan_jax: an error in the program:")
        processes.fail("", 1)
        return 1
    return 0


def _jax_failure(error: Exception) -> str | None:
    """Why jax has no device to compute on, if that caused the error."""
    try:
        import jax

        jax.devices()
    except Exception:
        reason = re.split(r"\.?(\n| \(set JAX_|$)", str(error))[0] or "no such device"
        platforms = os.environ.get("JAX_PLATFORMS")
        variable = f"JAX_PLATFORMS={platforms}" if platforms else "the variables named JAX_…"
        return f"jax finds no device ({reason}): correct {variable} in the environment."
    return None


@contextlib.contextmanager
def _saved_to_bucket():
    """Uploads runs in a bucket when the program ends, also after an error."""
    try:
        yield
    except BaseException:
        try:
            remote_run.save_runs()
        except (InputError, OSError) as error:
            logger.warning("%s", error)
        raise
    remote_run.save_runs()


def _refuse(sentence: str) -> int:
    """Prints the sentence once for all processes; returns the exit code."""
    sentence = flag_text.printable(storage.show_addresses(sentence))
    sentence = re.sub(rf"(\S{{{MAX_SHOWN_LETTERS}}})\S+", r"\1…", sentence)
    processes.fail(sentence, 2)
    if sentence:
        logger.error("vae_gan_jax: %s", sentence)
    return 2


def help_text() -> str:
    """All modes, then all flags by group."""
    lines = [
        "usage: vae-gan-jax [--flagfile=FILE] [--FLAG=VALUE ...]",
        "       vae-gan-jax --flagfile=experiments/demo.flags",
        "       vae-gan-jax --version",
        "in a checkout: python -m vae_gan_jax.main ...",
        "",
        "modes:",
    ]
    lines += [_help_entry(f"--mode={name}", mode.help) for name, mode in modes.MODES.items()]
    for group in GROUPS:
        lines += ["", f"{group}:"]
        for name, field in (FIELDS | PROCESS_FIELDS).items():
            if field.metadata["group"] == group:
                default = to_text(field, field.default)
                lines.append(_help_entry(f"--{name}={default}", field.metadata["help"]))
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
    if "--version" in argv:
        print(f"vae_gan_jax {vae_gan_jax.__version__}")
        sys.exit(0)
    try:
        return flags.FLAGS([argv[0], *flagfile.expand(argv[1:])])
    except InputError as error:
        sentence = str(error)
    except (flags.Error, UnicodeError) as error:
        sentence = _flag_sentence(error)
    sys.exit(_refuse(sentence))


def _flag_sentence(error: Exception) -> str:
    """What absl says of a wrong flag, as one sentence with the remedy."""
    if isinstance(error, flags.UnrecognizedFlagError):
        similar = re.search(r"Did you mean: (\w+)", str(error))
        remedy = f"give --{similar[1]} or another flag" if similar else "give a flag"
        return f"--{error.flagname} is not a flag: {remedy} of --help."
    sentence = " ".join(str(error).removeprefix("flag ").split())
    if mode := re.fullmatch(r"(--mode=.*): value should be one of <.*>", sentence):
        return f"{mode[1]} is not one of {', '.join(modes.MODES)}: give one of them."
    if flag := re.fullmatch(r"(--\w+=.*): \('Non-boolean.*", sentence):
        return f"{flag[1]} is neither true nor false: give one of them."
    return f"{sentence} (see --help)"


def start() -> None:
    """Runs the command in ``sys.argv`` and exits."""
    standard_streams.protect()
    _show_log()
    app.run(main, flags_parser=parse_flags)


if __name__ == "__main__":
    start()
