"""The table of modes: the steps of each mode, in order.

Steps import jax and what depends on it themselves, so that bad input is refused within a second.
"""

import dataclasses
import pkgutil
from collections.abc import Callable, Set
from pathlib import Path
from typing import Any

from vae_gan_jax.config import Config, InputError, mode_flags
from vae_gan_jax.film import source_films
from vae_gan_jax.film.store.run_frames import open_store
from vae_gan_jax.inference import film_outputs
from vae_gan_jax.run import disk_errors, film_names, remote_run, run_folder, settings, storage
from vae_gan_jax.training.distributed import processes

Step = Callable[[Config, bool], Config | None]


@dataclasses.dataclass(frozen=True)
class Mode:
    """A row of the table."""

    help: str  # for --help
    # Functions of (config, again), in order; a step may return a changed Config. again: whether to
    # remake results that are up to date; true unless the mode is all.
    steps: tuple[Step, ...]
    learns: bool = False  # whether the settings belong to the learnt film and are recorded
    own: frozenset[str] = frozenset()  # settings that the mode does not inherit from the run
    needs_run: bool = True  # whether it needs --run_dir even if --output is given


def resolve(given: dict[str, Any], mode: str, takes: Set[str] = frozenset()) -> Config:
    """Opens the run; returns all settings, those given and those inherited from the run.

    ``takes`` are settings that may be given besides those that the mode uses. Raises InputError if
    the settings contradict each other or the run, or one changes nothing.
    """
    if mode == "live" and len(runs := film_names.split_films(given.get("run_dir", ""))) == 2:
        if "second_run" in given:
            raise InputError("--run_dir=RUN,RUN2 and --second_run exclude each other: give one.")
        given = given | dict(zip(("run_dir", "second_run"), runs, strict=True))
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
    own = row.own | (OF_CODES if given.get("preset") or given.get("explore") else frozenset())
    mode_flags.refuse_ignored(given, recorded, mode, own, takes)
    config = settings.resolve(given, recorded, row.learns, own)
    # A recorded sound may be gone, and a model from Python checks it when it writes a film.
    writes_sound = row.learns or "sound" in mode_flags.TAKES.get(mode, ())
    needs_sound = "sound" in given or (writes_sound and not takes)
    if needs_sound:
        film_names.require_sound(config)
    film_names.refuse_overwriting(config)
    if given.get("output") and mode != "export":  # which writes a folder
        disk_errors.require_writable(config.output)
    if config.precision == "float16" and mode != "export":
        raise InputError(
            "--precision=float16 is for --mode=export: give auto, float32 or bfloat16."
        )
    if config.per_device_batch_size and mode != "plan":  # plan multiplies by the topology's devices
        from vae_gan_jax.training.distributed import mesh

        config = mesh.whole_batch(config)
    return config


def stage_learnt_films(config: Config, again: bool) -> None:
    """Downloads the films to learn, and ``--source``, from buckets."""
    source_films.stage(config.film, config.source)


def stage_sound(config: Config, again: bool) -> None:
    """Downloads ``--source`` from a bucket; ``--mode=decode`` needs only its sound."""
    source_films.stage(config.source)


def check_output(config: Config, again: bool) -> None:
    """Refuses what would fail after training: outputs, sources, and runs to compare with.

    It warns of sound that will be lost.
    """
    remote_run.recorded_runs(config.compare)
    if config.source or config.film:
        processes.run_on_first(film_outputs.check, use_source(config, again))


def check_devices(config: Config, again: bool) -> None:
    """Refuses networks that need more memory, and a mini-batch that the devices cannot divide."""
    from vae_gan_jax.training import devices
    from vae_gan_jax.training.distributed import mesh

    mesh.check_batch(config)
    devices.check_memory(config)


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


def _step(function: str, *, takes_again: bool = False, extra: str = "") -> Step:
    """A step that imports ``function``, "MODULE:NAME", when it runs; ``extra`` has its packages."""

    def step(config: Config, again: bool) -> None:
        try:
            work = pkgutil.resolve_name(f"vae_gan_jax.{function}")
        except ImportError as error:
            if not extra:
                raise
            raise InputError(
                f"--mode={extra} lacks a package ({error}): install vae-gan-jax[{extra}]."
            ) from None
        work(config, *[again] * takes_again)

    return step


stage_sources = _step("film.source_films:stage_sources")
pass_through = _step("film.passthrough:write_films")
prepare = _step("training.prepare:prepare")
encode_films = _step("inference.codes_film:encode_films", takes_again=True)
decode_codes = _step("inference.codes_film:decode_film")
export = _step("inference.export.export:export_run")
evaluate = _step("evaluation.evaluate:evaluate_films", takes_again=True)
compare_with_others = _step("evaluation.compare:compare_with_others", takes_again=True)
figures = _step("figures.run_figures:draw", takes_again=True)
explore = _step("explore.explore:explore_run")
plan = _step("evaluation.plan:plan_run")
live = _step("live.server:perform", extra="live")
report = _step("report.report_page:report_run", takes_again=True)


def reconstruct(config: Config, again: bool) -> None:
    """Passes the source films through the networks, with ``--preset`` through its controls."""
    from vae_gan_jax.inference.reconstruct_film import Reconstruction, reconstruct_films

    kind = Reconstruction
    if config.preset:
        from vae_gan_jax.explore.played_film import PlayedFilm as kind
    reconstruct_films(config, again, kind)


def compare(given: dict[str, Any], mode: str) -> None:
    """Compares the runs of ``--compare``; raises InputError if they cannot be compared."""
    if mode != "evaluate":
        raise InputError("--compare needs --mode=evaluate, or --mode=all: add it.")
    Config(**given)  # refuses values outside their limits
    mode_flags.refuse_ignored(given, {}, mode, takes={"output", "at"})
    from vae_gan_jax.evaluation import compare as comparison

    comparison.compare(given, MODES["evaluate"].own)


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


# Settings of one command. Neither --mode=decode nor a run opened from Python inherits them.
OF_A_COMMAND = frozenset({"source", "output", "frames_out", "codes", "layout", "at"})
# Settings of explorations. With a preset or named explorations the run's own are not inherited, as
# they may change nothing.
OF_CODES = frozenset({"seconds", "at", "interpolation", "slowdown"})

MODES = {
    "all": Mode(
        "The default: do everything up to the report; skip what is done. Flags: all groups below "
        "but live.",
        (
            *(stage_learnt_films, check_output, check_devices, prepare, train, use_source),
            *(reconstruct, evaluate, figures, compare_with_others, report),
        ),
        learns=True,
        own=frozenset({"compare", "profile"}),
    ),
    "prepare": Mode(
        "Decode the film into frames. Flags: films.", (stage_learnt_films, prepare), learns=True
    ),
    "train": Mode(
        "Train on prepared frames. Flags: networks, objectives, training, hardware.",
        (check_devices, train),
        learns=True,
        own=frozenset({"profile"}),
    ),
    "reconstruct": Mode(
        "Pass the film, or --source, through the networks and write the result. Flags: films, "
        "output, --preset.",
        (stage_sources, check_output, reconstruct),
        own=frozenset({"compare", "preset"}),
    ),
    "encode": Mode(
        "Write the latent codes of the film, or of --source, to a file. Flags: films, --output.",
        (stage_sources, encode_films),
        own=frozenset({"output"}),
    ),
    "decode": Mode(
        "Decode a file of codes into a film, with the sound of --source. Flags: --codes, --source, "
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
        "Paths through the latent space as films. Flags: exploring, --source, output, --preset.",
        (stage_sources, explore),
        own=frozenset({"output", "frames_out", "codes", "preset", "layout", "every"}),
    ),
    "live": Mode(
        "Open a page in the browser to perform with the trained run. Flags: live.",
        (live,),
        own=frozenset({"host", "port", "osc_port", "osc_to", "open_page", "second_run"}),
    ),
    "passthrough": Mode(
        "Write the film as training would see it, without the networks. Flags: films, output.",
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
    "plan": Mode(
        "Say whether the run fits GPUs or TPUs, present or not, and how fast it can be. "
        "Flags: --topology, --estimate_time, --output and those of training.",
        (plan,),
        own=frozenset({"output", "topology", "estimate_time"}),
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
