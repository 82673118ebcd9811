"""The entrypoint: flags to a Config, a Config to the chosen mode. No other file touches FLAGS.

python -m vae_gan_jax.main --flagfile=experiments/blade.flags
"""

import dataclasses
import json
import logging
import os
import sys
from pathlib import Path

from absl import app, flags
from absl import logging as absl_logging
from tqdm import tqdm

from vae_gan_jax import config as config_lib
from vae_gan_jax import run_folder, signals, whole_file
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import codecs, demo_film, frame_store, passthrough, video

RECONSTRUCTED = "reconstructed.json"  # beside the films: what each was made from

logger = logging.getLogger("vae_gan_jax")
MODE = flags.DEFINE_enum(
    "mode",
    "all",
    ["all", "prepare", "train", "reconstruct", "passthrough"],
    "What to do; all = prepare, train, reconstruct, less what is done already; passthrough = the "
    "film as it would be learnt, past the networks.",
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


def framing_of(config: Config) -> video.Framing:
    """What of a film becomes frames."""
    names = {field.name for field in dataclasses.fields(video.Framing)}
    return video.Framing(**{name: getattr(config, name) for name in names})


def prepare(config: Config) -> None:
    """Films to frames: the run's frame store, made unless it is there."""
    films, framing = run_folder.learnt_films(config), framing_of(config)
    if not films:
        raise InputError("--film is missing: give the film to learn.")
    if config.film == run_folder.DEMO and not os.path.exists(films[0]):
        run_folder.open_run(config, record=True)
        logger.info("rendering the demo film: %s", films[0])
        demo_film.render(films[0])
    probes = [video.probe(film, framing.video_stream, framing.fps) for film in films]
    expected = [video.expected_frames(probe, framing) for probe in probes]
    if None not in expected:
        config.steps_per_epoch(sum(expected))  # refuses a film that is too short
    learnt = run_folder.learnt_entries(Path(config.run_dir))
    if learnt is not None and not frame_store.same_films(learnt, probes):
        raise run_folder.changed(config.run_dir)
    run_folder.open_run(config, record=True)
    frame_store.prepare(films, _store_folder(config), framing, config.exclude, strict=config.strict)


def train(config: Config) -> None:
    """Frames to a trained model, from the newest checkpoint on."""
    store = open_store(config)
    run_folder.open_run(config, record=True)
    run_folder.hold_to_films(Path(config.run_dir), store.manifest["films"])
    from vae_gan_jax.training import loop

    loop.train(config, store.frames_THWC, config.run_dir, store.training_T)


def open_store(config: Config) -> frame_store.FrameStore:
    """The run's prepared frames."""
    return frame_store.open_store(_store_folder(config), config.exclude)


def _store_folder(config: Config) -> Path:
    """Where the run's frames lie: in its folder, or among those that runs share."""
    if not config.frames_dir:
        return Path(config.run_dir) / run_folder.FRAMES
    films, framing = run_folder.learnt_films(config), framing_of(config)
    return Path(config.frames_dir) / frame_store.name_for(films, framing)


def check_output(config: Config) -> None:
    """Refuses before weeks of training what could not be reconstructed after them."""
    if config.output and not Path(config.output).absolute().parent.is_dir():
        raise InputError(f"--output={config.output} lies in no folder that exists: make it.")
    if config.source:
        for source in run_folder.sources(config):
            video.probe(source, config.video_stream, config.fps)


def reconstruct(config: Config, again: bool) -> None:
    """The source films through the trained model.

    Args:
      config: the settings of this command.
      again: also films that have been made from the same source and model before.
    """
    import jax

    from vae_gan_jax.output import reconstruct as reconstruction
    from vae_gan_jax.output import running_statistics
    from vae_gan_jax.training import checkpoint, train_state

    run_dir = Path(config.run_dir)
    if not checkpoint.steps(run_dir):
        raise InputError(f"{run_dir} has no checkpoint: train it first, with --mode=all or train.")
    sources = run_folder.sources(config)
    run_folder.open_run(config, record=False)
    record = run_dir / run_folder.FILMS / RECONSTRUCTED
    made = json.loads(record.read_text()) if record.exists() else {}

    def still_to_make(step):
        films = {}
        for source in sources:
            paths = reconstruction.film_paths(config, run_folder.name_of(source))
            made_from = _made_from(config, source, step)
            names = [os.path.relpath(path, run_dir) for path in paths.values()]  # it may be moved
            as_asked = all(made.get(name) == made_from for name in names)
            if not again and as_asked and all(path.exists() for path in paths.values()):
                logger.info("reconstructed already: %s", ", ".join(map(str, paths.values())))
            else:
                films[source] = paths, names, made_from
        return films

    with checkpoint.Checkpoints(run_dir) as checkpoints:
        newest = checkpoints.latest_step
        films = still_to_make(newest)
        if not films:
            return
        state = checkpoints.restore(train_state.create(config, jax.random.key(config.seed)))
        if int(state.step) != newest:  # that one was damaged
            films = still_to_make(int(state.step))

    def training_frames():  # trims and the like may be another film's in this command
        recorded = Config(**run_folder.recorded_settings(run_dir))
        store = open_store(dataclasses.replace(recorded, run_dir=config.run_dir))
        return store.frames_THWC, store.training_T

    statistics = running_statistics.stored(config, state, run_dir, training_frames)
    record.parent.mkdir(exist_ok=True)
    for source, (paths, names, made_from) in films.items():
        count = reconstruction.reconstruct(
            config, state.params, statistics, source, framing_of(config), paths,
            json.dumps(made_from),
        )  # fmt: skip
        made |= dict.fromkeys(names, made_from)
        whole_file.write(record, json.dumps(made, indent=2) + "\n")
        logger.info("%d frames in %s", count, ", ".join(map(str, paths.values())))


def _made_from(config: Config, source: str, step: int) -> dict:
    """All that a reconstructed film depends on, as JSON."""
    status = os.stat(source) if os.path.exists(source) else None
    dependent = (
        "trim_start", "trim_end", "crop", "video_stream", "fps", "reconstruct_noise", "batch_norm",
        "codec", "quality", "upscale", "frames_out",
    )  # fmt: skip
    fields = run_folder.FIELDS
    return {
        "source": os.path.abspath(source),
        "bytes": status and status.st_size,
        "modified": status and status.st_mtime,
        "step": step,
        **{name: config_lib.to_text(fields[name], getattr(config, name)) for name in dependent},
    }


def pass_through(config: Config) -> None:
    """The films through everything but the networks, to see the framing before training."""
    for source in run_folder.sources(config):
        name = (
            f"{run_folder.name_of(source)}_passthrough.{codecs.CODECS[config.codec].extensions[0]}"
        )
        output = Path(config.output or Path(config.run_dir) / run_folder.FILMS / name)
        if not config.output:
            video.probe(source, config.video_stream, config.fps)
            run_folder.open_run(config, record=False)
            output.parent.mkdir(exist_ok=True)
        count = passthrough.passthrough(
            source,
            output,
            framing_of(config),
            strict=config.strict,
            codec=config.codec,
            quality=config.quality,
            upscale=config.upscale,
        )
        logger.info("%d frames in %s", count, output)


def run() -> None:
    """Reads the flags and does what they say.

    Raises:
      InputError: what was given cannot be used.
    """
    given, mode = given_settings(), MODE.value
    if not given.get("run_dir") and not (mode == "passthrough" and given.get("output")):
        raise InputError("--run_dir is missing: give a folder for the run, such as runs/blade.")
    recorded = run_folder.recorded_settings(Path(given["run_dir"])) if "run_dir" in given else {}
    learning = mode in ("all", "prepare", "train")
    config = run_folder.resolve(given, recorded, learning)
    check_output(config)
    if mode in ("all", "prepare"):
        prepare(config)
    if mode in ("all", "train"):
        train(config)
    if mode == "all" and config.source:  # trims and the like were the learnt film's
        unset = dict.fromkeys(run_folder.OF_THE_SOURCE - {"crop"})
        config = dataclasses.replace(config, **unset)
    if mode in ("all", "reconstruct"):
        reconstruct(config, again=mode == "reconstruct")
    if mode == "passthrough":
        pass_through(config)
    if mode == "all":
        run_dir = Path(config.run_dir).absolute()
        logger.info("films: %s", run_dir / run_folder.FILMS)
        logger.info("sample grids: %s", run_dir / "samples")


class _Console(logging.Handler):
    """Lines on stderr that leave a progress bar whole."""

    def emit(self, record):
        tqdm.write(self.format(record), file=sys.stderr)


def main(argv: list[str]) -> int:
    """Runs; bad input becomes one sentence on stderr and exit code 2."""
    absl_logging.set_verbosity(absl_logging.WARNING)  # orbax tells of every file
    logger.setLevel(logging.INFO)
    logger.propagate = False
    console = _Console()
    console.setFormatter(logging.Formatter("%(message)s"))
    logger.addHandler(console)
    signals.install()
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
