"""The entrypoint: flags to a Config, a Config to the chosen mode. No other file touches FLAGS.

python -m vae_gan_jax.main --flagfile=experiments/blade.flags
"""

import dataclasses
import json
import logging
import os
import signal
import sys
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging

from vae_gan_jax import config as config_lib
from vae_gan_jax.config import Config, InputError

FLAGS_FILE, LOG_FILE, FRAMES, FILMS = "flags.txt", "log.txt", "frames", "films"
DEMO = "demo"  # as --film: the embedded one
RECONSTRUCTED = "reconstructed.json"  # beside the films: what each was made from

logger = logging.getLogger("vae_gan_jax")
MODE = flags.DEFINE_enum(
    "mode",
    "all",
    ["all", "prepare", "train", "reconstruct"],
    "What to do; all = prepare, train, reconstruct, less what is done already.",
)


def _define_flags() -> None:
    """One flag for each field of Config, with its default and help."""
    for field in dataclasses.fields(Config):
        text, help = config_lib.to_text(field.default), field.metadata["help"]
        if field.metadata["parse"]:
            flags.DEFINE_string(field.name, text, help)
        elif field.metadata["choices"]:
            flags.DEFINE_enum(field.name, text, field.metadata["choices"], help)
        elif field.type is bool:
            flags.DEFINE_bool(field.name, field.default, help)
        elif field.type is int:
            flags.DEFINE_integer(field.name, field.default, help)
        else:
            flags.DEFINE_string(field.name, text, help)


_define_flags()


def given_settings() -> dict:
    """The settings that stand on the command line or in a flagfile, read.

    Raises:
      InputError: one cannot be read.
    """
    given = {}
    for field in dataclasses.fields(Config):
        flag = flags.FLAGS[field.name]
        if flag.present:
            parse = field.metadata["parse"]
            given[field.name] = parse(flag.value) if parse else flag.value
    return given


def resolve(given: dict, recorded: dict, reconstructing: bool) -> Config:
    """The Config of this command in its run folder.

    What is not given is what the run was made with; of what is given, all that belongs to the
    trained model must agree with that. Trims and crop belong to the film that is read: to another
    ``source`` than the learnt film where only that is reconstructed.

    Args:
      given: settings of this command.
      recorded: settings of the run folder, empty for a new one.
      reconstructing: nothing is learnt by this command.

    Raises:
      InputError: a given setting disagrees with the run's, or is out of range.
    """
    fixed = {field.name for field in dataclasses.fields(Config) if field.metadata["fixed"]}
    inherited = {name: value for name, value in recorded.items() if name in fixed}
    if reconstructing and given.get("source"):
        framing = {"trim_start", "trim_end", "crop"}
        fixed -= framing
        inherited |= dict.fromkeys(["trim_start", "trim_end"])
    for name in sorted(fixed & given.keys() & recorded.keys()):
        old, new = recorded[name], given[name]
        if name == "film":
            same = os.path.abspath(old) == os.path.abspath(new)
        elif name == "noise_schedule":
            same = new[: len(old)] == old  # a longer schedule goes on with more epochs
        else:
            same = old == new
        if not same:
            raise InputError(
                f"--{name}={config_lib.to_text(new)} disagrees with the run in {given['run_dir']}, "
                f"made with --{name}={config_lib.to_text(old)}: give that, or another --run_dir."
            )
    return Config(**(inherited | given))


def prepare(config: Config):
    """Film to frames: the run's frame store, made unless it is there."""
    from vae_gan_jax.film import demo_film, frame_store, video

    if not config.film:
        raise InputError("--film is missing: give the film to learn.")
    film = film_path(config)
    if config.film == DEMO and not film.exists():
        open_run(config)
        logger.info("rendering the demo film: %s", film)
        demo_film.render(film)
    probe, framing = video.probe(film), framing_of(config)
    expected = video.expected_frames(probe, framing)
    if expected is not None and expected < config.batch_size:
        raise InputError(
            f"--batch_size={config.batch_size} is more than the film's {expected} frames: "
            "give a smaller batch or a longer film."
        )
    open_run(config)
    return frame_store.prepare([film], Path(config.run_dir) / FRAMES, framing)


def film_path(config: Config) -> Path:
    """The film to learn; the demo film lies in the run folder, where it is rendered."""
    return Path(config.run_dir) / "demo_film.mp4" if config.film == DEMO else Path(config.film)


def train(config: Config) -> None:
    """Frames to a trained model, from the newest checkpoint on."""
    from vae_gan_jax.film import frame_store
    from vae_gan_jax.training import loop

    store = frame_store.open_store(Path(config.run_dir) / FRAMES)
    open_run(config)
    loop.train(config, store.frames_THWC, config.run_dir, store.training_T)


def check_reconstruction(config: Config) -> None:
    """Refuses before weeks of training what could not be reconstructed after them."""
    from vae_gan_jax.film import video

    if config.output and not Path(config.output).absolute().parent.is_dir():
        raise InputError(f"--output={config.output} lies in no folder that exists: make it.")
    if config.source:
        video.probe(config.source)


def reconstruct(config: Config, again: bool = True) -> None:
    """The source film through the trained model.

    Args:
      config: the settings of this command.
      again: also where the same film has been made from the same source and model before.
    """
    import jax

    from vae_gan_jax.film import frame_store
    from vae_gan_jax.output import reconstruct as reconstruction
    from vae_gan_jax.training import checkpoint, train_state

    run_dir, source = Path(config.run_dir), config.source or film_path(config)
    if not checkpoint.exists(run_dir):
        raise InputError(f"{run_dir} has no checkpoint: train it first, with --mode=all or train.")
    open_run(config)
    with checkpoint.Checkpoints(run_dir) as checkpoints:
        made_from = _reconstruction_settings(config, source, checkpoints.latest_step)
        record = run_dir / FILMS / RECONSTRUCTED
        made = json.loads(record.read_text()) if record.exists() else {}
        paths = reconstruction.film_paths(config, source).values()
        names = [os.path.relpath(path, run_dir) for path in paths]  # a run folder may be moved
        as_asked = all(made.get(name) == made_from for name in names)
        if not again and as_asked and all(path.exists() for path in paths):
            logger.info("reconstructed already: %s", ", ".join(map(str, paths)))
            return
        state = checkpoints.restore(train_state.create(config, jax.random.key(config.seed)))

    def training_frames():
        store = frame_store.open_store(run_dir / FRAMES)
        return store.frames_THWC, store.training_T

    statistics = reconstruction.stored_statistics(config, state, run_dir, training_frames)
    reconstruction.reconstruct(config, state.params, statistics, source, framing_of(config))
    record.parent.mkdir(parents=True, exist_ok=True)
    unfinished = record.with_suffix(".partial")
    unfinished.write_text(json.dumps(made | dict.fromkeys(names, made_from), indent=2) + "\n")
    unfinished.replace(record)
    logger.info("films: %s", ", ".join(map(str, paths)))


def _reconstruction_settings(config: Config, source: str, step: int) -> dict:
    """All that a reconstructed film depends on, as JSON."""
    status = os.stat(source) if os.path.exists(source) else None
    return {
        "source": os.path.abspath(source),
        "bytes": status and status.st_size,
        "modified": status and status.st_mtime,
        "step": step,
        **{
            name: getattr(config, name)
            for name in (
                "trim_start", "trim_end", "crop", "reconstruct_noise", "batch_norm", "frames_out",
            )
        },
    }  # fmt: skip


def framing_of(config: Config):
    """What of the film becomes frames."""
    from vae_gan_jax.film import video

    return video.Framing(
        width=config.width,
        height=config.height,
        crop=config.crop,
        trim_start=config.trim_start,
        trim_end=config.trim_end,
    )


def open_run(config: Config) -> None:
    """Makes the run folder and its ``flags.txt``, and sends the log into its ``log.txt``."""
    run_dir = Path(config.run_dir)
    run_dir.mkdir(parents=True, exist_ok=True)
    if not any(isinstance(handler, logging.FileHandler) for handler in logger.handlers):
        handler = logging.FileHandler(run_dir / LOG_FILE)
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        logger.addHandler(handler)
        logger.debug("%s", " ".join(sys.argv))
    if MODE.value != "reconstruct":
        config_lib.write_flags(run_dir / FLAGS_FILE, config)


def run() -> None:
    """Reads the flags and does what they say.

    Raises:
      InputError: what was given cannot be used.
    """
    given, mode = given_settings(), MODE.value
    if not given.get("run_dir"):
        raise InputError("--run_dir is missing: give a folder for the run, such as runs/blade.")
    run_dir = Path(given["run_dir"])
    flags_file = run_dir / FLAGS_FILE
    if not flags_file.exists() and run_dir.exists() and any(run_dir.iterdir()):
        raise InputError(f"{run_dir} is no run folder, it has no {FLAGS_FILE}: give another.")
    recorded = config_lib.read_flags(flags_file) if flags_file.exists() else {}
    config = resolve(given, recorded, reconstructing=mode == "reconstruct")
    if mode in ("all", "reconstruct"):
        check_reconstruction(config)
    if mode in ("all", "prepare"):
        prepare(config)
    if mode in ("all", "train"):
        train(config)
    if mode == "all" and config.source:  # the trims were the learnt film's
        config = dataclasses.replace(config, trim_start=None, trim_end=None)
    if mode in ("all", "reconstruct"):
        reconstruct(config, again=mode == "reconstruct")


def main(argv: list[str]) -> int:
    """Runs; bad input becomes one sentence on stderr and exit code 2."""
    absl_logging.set_verbosity(absl_logging.WARNING)  # orbax tells of every file
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    console = logging.StreamHandler()
    console.setLevel(logging.INFO)
    console.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(console)
    for number in (signal.SIGTERM, signal.SIGINT):  # leave, tidying up on the way
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    try:
        if len(argv) > 1:
            raise InputError(f"{argv[1]!r} is no flag: flags start with --, see --help.")
        run()
    except InputError as error:
        print(f"vae_gan_jax: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"vae_gan_jax: {where}{error.strerror or error}.", file=sys.stderr)
        return 2
    return 0


def parse_flags(argv: list[str]) -> list[str]:
    """absl's parser, with one sentence and exit code 2 for a flag that cannot be."""
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        print(f"vae_gan_jax: {error} (see --help)", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    app.run(main, flags_parser=parse_flags)
