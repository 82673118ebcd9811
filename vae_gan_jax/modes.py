"""The table of modes: the steps of each mode, in order.

Steps import jax and what depends on it themselves, so that bad input is refused within a second.
"""

import dataclasses
import logging
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import demo_film, passthrough, source_films
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store import frames_file, preparation
from vae_gan_jax.film.write import codecs, encode, source_tracks
from vae_gan_jax.inference import film_outputs
from vae_gan_jax.inference.opened_run import framing_of, open_store, store_folder
from vae_gan_jax.run import film_names, remote_run, run_folder, settings, storage
from vae_gan_jax.training.distributed import processes

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Mode:
    """A row of the table."""

    help: str  # for --help
    # Functions of (config, again), in order; a step may return a changed Config. again makes even
    # results that are current: the user named this mode rather than all.
    steps: tuple[Callable[[Config, bool], Config | None], ...]
    learns: bool = False  # whether the settings belong to the learnt film and are recorded
    own: frozenset[str] = frozenset()  # settings that the mode does not inherit from the run
    needs_run: bool = True  # whether it needs --run_dir even if --output is given


def resolve(given: dict[str, Any], mode: str) -> Config:
    """Opens the run; returns all settings, those given and those inherited from the run.

    Raises InputError if the settings contradict each other or the run.
    """
    row, run_dir, recorded = MODES[mode], given.get("run_dir"), {}
    if not run_dir and (row.needs_run or not given.get("output")):
        raise InputError("--run_dir is missing: give a folder for the run, such as runs/blade.")
    if run_dir:
        team = processes.team()
        run_dir = remote_run.open_run(run_dir, team)
        given = given | {"run_dir": run_dir}
        # In a bucket only process 0 has a local copy.
        with storage.readable_errors(run_dir):
            folder = storage.path_of(run_dir) if team.index else Path(run_dir)
            recorded = settings.recorded_settings(folder)
            recorded = source_films.with_moved_film(given, recorded, folder)
    config = settings.resolve(given, recorded, row.learns, row.own)
    if config.precision == "float16" and mode != "export":
        raise InputError(
            "--precision=float16 is for --mode=export: give auto, float32 or bfloat16."
        )
    if config.per_device_batch_size:
        from vae_gan_jax.training.distributed import mesh

        config = mesh.whole_batch(config)
    return config


def stage_learnt_films(config: Config, again: bool) -> None:
    """Downloads the films to learn, and ``--source``, from buckets."""
    _stage(config.film, config.source)


def stage_sources(config: Config, again: bool) -> None:
    """Downloads the films to reconstruct from buckets; a learnt film may be gone."""
    try:
        _stage(config.source or config.film)
    except InputError as error:
        if config.source or film_names.learnt_entries(config.run_dir) is None:
            raise
        logger.warning("%s", error)


def _stage(*films: str) -> None:
    for film in [name for text in films for name in film_names.split_films(text)]:
        if storage.is_remote(film):
            storage.stage(film)


def check_output(config: Config, again: bool) -> None:
    """Refuses what would fail after training: outputs, sources, and runs to compare with.

    It warns of sound that will be lost.
    """
    list(_compared_runs(config.compare))
    if config.output and not Path(config.output).absolute().parent.is_dir():
        raise InputError(f"--output={config.output} is in a folder that does not exist: make it.")
    if config.source or config.film:
        processes.run_on_first(_check_output, use_source(config, again))


def _check_output(config: Config) -> None:
    for source in film_names.sources(config):
        if config.source:
            video.probe(source, config.video_stream, config.fps)
        for path in film_outputs.film_paths(config, film_names.name_of(source)).values():
            codecs.picture_arguments(str(path), config.codec, config.quality)
            if config.output:
                encode.require_writable(str(path), source)
            if os.path.isfile(source):
                source_tracks.of(source, path, framing_of(config), config.sound).warn(path)


def check_devices(config: Config, again: bool) -> None:
    """Refuses networks that need more memory, and a mini-batch that the devices cannot divide."""
    from vae_gan_jax.training import devices
    from vae_gan_jax.training.distributed import mesh

    mesh.check_batch(config)
    devices.check_memory(config)


def prepare(config: Config, again: bool) -> None:
    """Decodes the films into the run's frame store, unless the store is complete.

    Several processes share the films if they share the folder. The settings are recorded last, when
    nothing can be refused any more.
    """
    films, framing = film_names.learnt_films(config), framing_of(config)
    if not films:
        raise InputError("--film is missing: give the film to learn.")
    processes.run_on_first(_check_films, config, films, framing)
    folder = store_folder(config)

    def exchange(upload: bool) -> None:
        if storage.is_remote(config.frames_dir):
            (remote_run.upload if upload else remote_run.download)(storage.address(folder))

    exchange(False)
    preparation.prepare(
        films, folder, framing, strict=config.strict, team=processes.team(), exchange=exchange
    )
    config.steps_per_epoch(len(open_store(config).training_T))
    processes.run_on_first(run_folder.open_run, config, True)


def _check_films(config: Config, films: list[str], framing: video.Framing) -> None:
    """Checks that the run can learn the films, then opens its folder."""
    if config.init_from:
        from vae_gan_jax.training import pretrained

        pretrained.check(config)
    if config.film == film_names.DEMO and not os.path.exists(films[0]):
        run_folder.open_run(config)
        logger.info("rendering the demo film: %s", films[0])
        demo_film.render(films[0])
    for film in films:
        film_names.require(config, film)
    probes = [video.probe(film, framing.video_stream, framing.fps) for film in films]
    expected = sum(video.expected_frames(probe, framing) for probe in probes)
    config.steps_per_epoch(expected)  # refuses a film that is too short
    learnt = film_names.learnt_entries(config.run_dir)
    if learnt is not None and not frames_file.same_films(learnt, probes):
        raise film_names.film_changed(config.run_dir)
    run_folder.open_run(config)


def train(config: Config, again: bool) -> None:
    """Trains the networks; resumes from the newest checkpoint."""
    store = open_store(config)
    config.steps_per_epoch(len(store.training_T))

    def open_run() -> None:
        run_folder.open_run(config)
        film_names.record_learnt_films(config.run_dir, store.manifest["films"])
        settings.record_settings(Path(config.run_dir), config)

    processes.run_on_first(open_run)
    if not storage.is_remote(storage.address(config.run_dir)):
        processes.check_folder_is_shared(Path(config.run_dir))
    processes.check_same_frames(store.digest, store.folder)
    from vae_gan_jax.training import devices, loop

    devices.warn_if_slow_precision(config)
    loop.train(config, store.training_frames, config.run_dir)


def use_source(config: Config, again: bool) -> Config:
    """The settings for reconstructing ``--source``, without the trims of the learnt film."""
    return dataclasses.replace(config, **settings.of_the_source(config))


def reconstruct(config: Config, again: bool) -> None:
    """Passes the source films through the trained model."""
    from vae_gan_jax.inference import reconstruct_film

    reconstruct_film.reconstruct_films(config, again)


def encode_films(config: Config, again: bool) -> None:
    """Writes the latent codes of the source films."""
    from vae_gan_jax.inference import codes_film

    codes_film.encode_films(config, again)


def stage_sound(config: Config, again: bool) -> None:
    """Downloads ``--source`` from a bucket; ``--mode=decode`` needs only its sound."""
    _stage(config.source)


def decode_codes(config: Config, again: bool) -> None:
    """Writes the film of a file of latent codes."""
    from vae_gan_jax.inference import codes_film

    codes_film.decode_film(config)


def export(config: Config, again: bool) -> None:
    """Writes the networks as files that other programs read."""
    from vae_gan_jax.inference.export import export as exporting

    exporting.export_run(config)


def evaluate(config: Config, again: bool) -> None:
    """Measures the reconstructions of the source films."""
    from vae_gan_jax.evaluation import evaluate as evaluation

    evaluation.evaluate_films(config, again)


def _compared_runs(folders: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The local folder of each run of ``--compare``, and its recorded settings."""
    for run_dir in map(remote_run.open_run, folders):
        recorded = settings.recorded_settings(Path(run_dir))
        if not recorded:
            raise InputError(f"there is no run in {run_dir}: give --compare the folders of runs.")
        yield run_dir, recorded


def compare(given: dict[str, Any], mode: str) -> None:
    """Compares the measures of several runs; measures runs that lack them.

    Raises InputError if the runs cannot be compared, or the result cannot be written.
    """
    if mode != "evaluate":
        raise InputError("--compare needs --mode=evaluate, or --mode=all: add it.")
    Config(**given)  # refuses values outside their limits
    shared = {name: value for name, value in given.items() if name not in ("compare", "output")}
    configs = []
    for run_dir, recorded in _compared_runs(given["compare"]):
        own = MODES["evaluate"].own
        configs.append(settings.resolve(shared | {"run_dir": run_dir}, recorded, False, own))
        stage_sources(configs[-1], again=True)
    from vae_gan_jax.evaluation import compare as comparison

    comparison.compare_runs(configs, given)


def compare_with_others(config: Config, again: bool) -> None:
    """Puts the run beside the runs of ``--compare``, for the report."""
    if config.compare:
        from vae_gan_jax.evaluation.compare import FOLDER

        output = str(Path(config.run_dir) / FOLDER)
        compare({"compare": (*config.compare, config.run_dir), "output": output}, "evaluate")


def figures(config: Config, again: bool) -> None:
    """Draws the thesis's figures from the source films."""
    from vae_gan_jax.figures import run_figures

    run_figures.draw(config, again)


def explore(config: Config, again: bool) -> None:
    """Writes explorations of the latent space."""
    from vae_gan_jax.explore import explore as exploring

    exploring.explore_run(config)


def report(config: Config, again: bool) -> None:
    """Puts the results of a run on one page, even while the run trains."""
    from vae_gan_jax.report import report_page

    run_dir = Path(config.run_dir)
    recorded = settings.recorded_settings(run_dir)
    if not recorded:
        raise InputError(f"there is no run in {run_dir}: train one first, with --mode=all.")
    run_folder.open_run(config, lock=False)
    moved = {"run_dir": config.run_dir}  # the run may have moved since
    report_page.write(Config(**recorded | moved), again)


def benchmark(config: Config, again: bool) -> None:
    """Measures the speed of the run on this machine, with noise as frames if no film is given."""
    if config.film and not config.run_dir:
        raise InputError("--run_dir is missing: give a folder for the film's frames.")
    film = None
    if config.film:
        prepare(config, again)
        film = open_store(config).training_frames
    from vae_gan_jax.evaluation import benchmark as speed

    speed.benchmark_run(config, film)


def pass_through(config: Config, again: bool) -> None:
    """Writes the films as the networks would see them, to check the framing before training."""
    passthrough.write_films(config, framing_of(config))


# Settings of one command. Neither --mode=decode nor a run opened from Python inherits them.
OF_A_COMMAND = frozenset({"source", "output", "frames_out", "codes", "layout", "at"})

MODES = {
    "all": Mode(
        "Do everything up to the report; skip what is already done. Flags: all groups below.",
        (
            stage_learnt_films,
            check_output,
            check_devices,
            prepare,
            train,
            use_source,
            reconstruct,
            evaluate,
            figures,
            compare_with_others,
            report,
        ),
        learns=True,
        own=frozenset({"compare"}),
    ),
    "prepare": Mode(
        "Decode the film into frames. Flags: films.", (stage_learnt_films, prepare), learns=True
    ),
    "train": Mode(
        "Train on prepared frames. Flags: networks, objectives, training, hardware.",
        (check_devices, train),
        learns=True,
    ),
    "reconstruct": Mode(
        "Pass the film, or --source, through the networks and write it. Flags: films, output.",
        (stage_sources, check_output, reconstruct),
    ),
    "encode": Mode(
        "Write the latent codes of the film, or of --source, to a file. Flags: films, --output.",
        (stage_sources, encode_films),
        own=frozenset({"output"}),
    ),
    "decode": Mode(
        "Write the film of a file of codes, with the sound of --source. Flags: --codes, --source, "
        "output.",
        (stage_sound, decode_codes),
        own=OF_A_COMMAND,
    ),
    "export": Mode(
        "Write the networks as ONNX, StableHLO and safetensors, with a model card. Flags: "
        "--output, --source, --precision, --web.",
        (stage_sources, export),
        own=OF_A_COMMAND | {"precision", "web", "onnxruntime_web"},
    ),
    "evaluate": Mode(
        "Measure the reconstruction, or compare runs. Flags: --source, --compare, "
        "--at, --reconstruct_noise, --batch_norm.",
        (stage_sources, evaluate),
        own=frozenset({"output", "compare"}),
    ),
    "figures": Mode(
        "Draw the figures of the thesis. Flags: --source, --every, --at.", (stage_sources, figures)
    ),
    "report": Mode("Put the results of the run on one page.", (report,)),
    "explore": Mode(
        "Film paths through the latent space. Flags: exploring, --source, --codec.",
        (stage_sources, explore),
    ),
    "passthrough": Mode(
        "Write the film as it would be learnt, without the networks. Flags: films, output.",
        (stage_sources, pass_through),
        own=frozenset({"output"}),
        needs_run=False,
    ),
    "benchmark": Mode(
        "Measure how fast this machine trains and reconstructs. Flags: --seconds, --output and "
        "those of training.",
        (stage_sources, benchmark),
        own=frozenset({"output"}),
        needs_run=False,
    ),
}
SHARED = {stage_learnt_films, stage_sources, check_output, check_devices, use_source}
SHARED |= {prepare, train, reconstruct}


def is_shared(step: Callable, config: Config) -> bool:
    """Whether all processes of a run take a step; otherwise process 0 takes it alone.

    The processes of a run in a bucket share no folder, so process 0 reconstructs alone.
    """
    in_bucket = storage.is_remote(storage.address(config.run_dir))
    return step in SHARED and not (step is reconstruct and in_bucket)
