"""The entrypoint: flags to a Config, a Config to the chosen mode. No other file touches FLAGS.

python -m vae_gan_jax.main --flagfile=experiments/blade.flags
"""

import contextlib
import dataclasses
import logging
import os
import sys
import traceback
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from tqdm import tqdm

from vae_gan_jax import config as config_lib
from vae_gan_jax import modes
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.run import mirror, run_folder, signals, storage
from vae_gan_jax.training.distributed import processes
from vae_gan_jax.training.distributed.launch import detect

logger = logging.getLogger("vae_gan_jax")
# What several processes share; the first does the rest.
TOGETHER = ("all", "prepare", "train", "reconstruct")
MODE = flags.DEFINE_enum(
    "mode",
    "all",
    [
        *("all", "prepare", "train", "reconstruct", "evaluate", "figures", "report"),
        *("explore", "passthrough", "benchmark"),
    ],
    "What to do; all = all up to report, less what is done already; evaluate = measure the "
    "reconstruction against its source; figures = the thesis's, of the film; report = what the run "
    "holds so far, as one page; explore = ways through the latent space; passthrough = the film as "
    "it would be learnt, past the networks; benchmark = how fast the run would go on this machine.",
)
DISTRIBUTED = flags.DEFINE_bool(
    "distributed",
    None,
    "Whether this is one of several processes that work on the run; default: if Slurm, Open MPI or "
    "a TPU pod started several.",
)
COORDINATOR_ADDRESS = flags.DEFINE_string(
    "coordinator_address",
    None,
    "HOST:PORT at which the first of several processes is met, where the launcher does not say.",
)
NUM_PROCESSES = flags.DEFINE_integer("num_processes", None, "How many processes there are.")
PROCESS_ID = flags.DEFINE_integer("process_id", None, "Which of them this is, from 0.")
SCRATCH_DIR = flags.DEFINE_string(
    "scratch_dir",
    None,
    "Folder on this machine's disk for what is in buckets: runs are worked on there, films and "
    "frames brought; default: in the user's cache folder.",
)
PROCESS_TIMEOUT = flags.DEFINE_float(
    "process_timeout", 300.0, "Seconds that processes wait for each other when they start."
)


def _define_flags() -> None:
    """One flag for each field of Config, with its default and help."""
    for field in dataclasses.fields(Config):
        help, choices = field.metadata["help"], field.metadata["choices"]
        if field.metadata["parse"]:
            flags.DEFINE_string(field.name, config_lib.to_text(field, field.default), help)
        elif choices:
            flags.DEFINE_enum(field.name, field.default, choices, help)
        else:
            define = {
                bool: flags.DEFINE_bool,
                int: flags.DEFINE_integer,
                str: flags.DEFINE_string,
            }[field.type]
            define(field.name, field.default, help)


_define_flags()


def given_settings() -> dict:
    """The settings that stand on the command line or in a flagfile, read.

    Raises:
      InputError: one cannot be read.
    """
    given = {}
    for field in dataclasses.fields(Config):
        flag, parse = flags.FLAGS[field.name], field.metadata["parse"]
        if flag.present:
            given[field.name] = parse(flag.value) if parse else flag.value
    return given


def run() -> None:
    """Reads the flags and does what they say.

    Raises:
      InputError: what was given cannot be used.
    """
    given, mode = given_settings(), MODE.value
    launch = detect(
        DISTRIBUTED.value, COORDINATOR_ADDRESS.value, NUM_PROCESSES.value, PROCESS_ID.value
    )
    storage.work_in(SCRATCH_DIR.value)
    # Processes share a film out on a disk in common, which with a bucket they need not have.
    apart = storage.is_remote(given.get("run_dir", ""))
    if launch is not None:
        processes.start(launch, _texts(given) | {"mode": mode}, PROCESS_TIMEOUT.value)
        if mode not in TOGETHER or (apart and mode == "reconstruct"):
            _part(True)
            return
    if processes.index():
        logger.setLevel(logging.ERROR)
    if given.get("compare"):
        if mode != "evaluate":
            raise InputError("--compare is for measures: give --mode=evaluate.")
        config_lib.Config(**given)  # refuses what is out of range
        given["compare"] = [mirror.opened(run, lost=_taken) for run in given["compare"]]
        modes.compare(given)
        return
    without_run = mode in ("passthrough", "benchmark") and given.get("output")
    if not given.get("run_dir") and not without_run:
        raise InputError("--run_dir is missing: give a folder for the run, such as runs/blade.")
    if "run_dir" in given:
        given["run_dir"] = mirror.opened(
            given["run_dir"], processes.index() == 0, None if mode == "report" else _taken
        )
    recorded = run_folder.recorded_settings(Path(given["run_dir"])) if "run_dir" in given else {}
    learning = mode in ("all", "prepare", "train")
    config = run_folder.resolve(given, recorded, learning)
    if config.per_device_batch_size:
        config = modes.whole_batch(config)
    if mode == "evaluate" and config.output:
        raise InputError("--output is for films and for --compare: measures go to the run.")
    modes.stage_films(config, mode)
    modes.check_output(config)
    if mode in ("all", "train"):
        modes.check_devices(config)
    if mode in ("all", "prepare"):
        modes.prepare(config)
    if mode in ("all", "train"):
        modes.train(config)
    if mode == "all" and config.source:  # trims and the like were the learnt film's
        unset = dict.fromkeys(run_folder.OF_THE_SOURCE - {"crop"})
        config = dataclasses.replace(config, **unset)
    if mode in ("all", "reconstruct") and not (apart and processes.count() > 1):
        modes.reconstruct(config, again=mode == "reconstruct")
    if processes.count() > 1:
        _part(mode == "all")
        return
    for name in ("evaluate", "figures", "report"):
        if mode in ("all", name):
            getattr(modes, name)(config, again=mode == name)
    if mode == "explore":
        modes.explore(config)
    if mode == "passthrough":
        modes.pass_through(config)
    if mode == "benchmark":
        modes.benchmark(config)
    if mode == "all":
        run_dir = Path(config.run_dir).absolute()
        logger.info("films: %s", run_dir / run_folder.FILMS)
        logger.info("all of it on one page: %s", run_dir / "report.html")


def _part(work_left: bool) -> None:
    """Ends the processes' joint work. Process 0 does what is left alone.

    It restarts for that, because jax cannot release the devices of the other processes.
    """
    first = processes.index() == 0
    processes.finish()
    if work_left and first:
        logger.info("process 0 continues alone")
        mirror.send_opened()
        command = [sys.executable, "-m", "vae_gan_jax.main", *sys.argv[1:], "--nodistributed"]
        os.execv(sys.executable, command)


def _texts(given: dict) -> dict[str, str]:
    """The settings that all processes must have alike, as texts by name."""
    return {
        name: config_lib.to_text(run_folder.FIELDS[name], value)
        for name, value in given.items()
        if name != "frames_dir"  # which may be each machine's own
    }


class _Console(logging.Handler):
    """Lines on stderr that leave a progress bar whole."""

    def emit(self, record):
        tqdm.write(storage.told(self.format(record)), file=sys.stderr)


def main(argv: list[str]) -> int:
    """Runs; bad input becomes one sentence on stderr and exit code 2."""
    # Orbax tells of every file, and at length of a full disk, of which a warning is given here.
    absl_logging.set_verbosity(absl_logging.FATAL)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    console = _Console()
    console.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(console)
    signals.install()
    try:
        if len(argv) > 1:
            raise InputError(f"{argv[1]!r} is no flag: flags start with --, see --help.")
        with _sent():
            run()
    except InputError as error:
        return _refuse(str(error))
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}.")
    except SystemExit as stop:
        processes.fail("", stop.code)  # the signal's handler printed the sentence
        raise
    except Exception as error:
        processes.exit_if_peer_lost(error)
        if processes.count() > 1:
            traceback.print_exc()
            processes.fail("", 1)
        raise
    return 0


@contextlib.contextmanager
def _sent():
    """What was made in a run in a bucket goes there when the program ends, however it ends."""
    try:
        yield
    except BaseException:
        try:
            mirror.leave()
        except (InputError, OSError) as error:
            logger.warning("%s", error)
        raise
    mirror.leave()


def _taken(sentence: str) -> None:
    """Ends the program, which has lost its run to another one, without a word more to the run."""
    _refuse(sentence)
    os._exit(2)


def _refuse(sentence: str) -> int:
    """Says what is wrong, once for all processes that work on the run; the exit code."""
    sentence = storage.told(sentence)
    processes.fail(sentence, 2)
    if sentence:
        print(f"vae_gan_jax: {sentence}", file=sys.stderr)
    return 2


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser, with one sentence and exit code 2 for a flag that cannot be."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        print(f"vae_gan_jax: {error} (see --help)", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
