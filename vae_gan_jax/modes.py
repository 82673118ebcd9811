"""What each mode does: a Config becomes frames, a model, films, measures, figures, a page."""

import dataclasses
import json
import logging
import os
from pathlib import Path

from vae_gan_jax import config as config_lib
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import demo_film, passthrough
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store import frame_weights, frames_file, preparation, remote_store
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.film.write import codecs
from vae_gan_jax.film.write.encode import FilmFormat
from vae_gan_jax.inference.opened_run import (
    described,
    films_shown,
    framing_of,
    open_model,
    open_store,
    results_folder,
    steps_per_epoch,
    store_folder,
)
from vae_gan_jax.run import atomic_io, provenance, run_folder, storage
from vae_gan_jax.training.distributed import processes

RECONSTRUCTED = "reconstructed.json"  # beside the films: what each was made from
DRAWN = "drawn.json"  # beside the figures, likewise

logger = logging.getLogger(__name__)


def whole_batch(config: Config) -> Config:
    """The settings with the mini-batch of all devices in place of one device's share."""
    from vae_gan_jax.training.distributed import mesh

    return mesh.whole_batch(config)


def prepare(config: Config) -> None:
    """Films to frames: the run's frame store, made unless it is there.

    Several processes share its films; in a folder that is its machine's own, each has all. Of
    frames in a bucket each machine has a copy.
    """
    films, framing = run_folder.learnt_films(config), framing_of(config)
    if not films:
        raise InputError("--film is missing: give the film to learn.")
    processes.run_on_first(_open_for, config, films, framing)
    folder = store_folder(config)

    def exchange(made: bool) -> None:
        if storage.is_remote(config.frames_dir):
            (remote_store.send if made else remote_store.stage)(folder)

    exchange(False)
    preparation.prepare(
        films, folder, framing, config.exclude, strict=config.strict,
        team=processes.team(), exchange=exchange,
    )  # fmt: skip


def _open_for(config: Config, films: list[str], framing: video.Framing) -> None:
    """Opens the run's folder, unless the films are not those that it can learn."""
    if config.init_from:
        from vae_gan_jax.training import pretrained

        pretrained.check(config)
    if config.film == run_folder.DEMO and not os.path.exists(films[0]):
        run_folder.open_run(config, record=True)
        logger.info("rendering the demo film: %s", films[0])
        demo_film.render(films[0])
    probes = [video.probe(film, framing.video_stream, framing.fps) for film in films]
    expected = [video.expected_frames(probe, framing) for probe in probes]
    if None not in expected:
        config.steps_per_epoch(sum(expected))  # refuses a film that is too short
    learnt = run_folder.learnt_entries(Path(config.run_dir))
    if learnt is not None and not frames_file.same_films(learnt, probes):
        raise run_folder.changed(config.run_dir)
    run_folder.open_run(config, record=True)


def train(config: Config) -> None:
    """Frames to a trained model, from the newest checkpoint on."""
    store = open_store(config)

    def open_run() -> None:
        run_folder.open_run(config, record=True)
        run_folder.hold_to_films(Path(config.run_dir), store.manifest["films"])

    processes.run_on_first(open_run)
    if not storage.is_remote(storage.address(config.run_dir)):
        processes.check_folder_is_shared(Path(config.run_dir))
    processes.check_same_frames(store.digest, store.folder)
    from vae_gan_jax.training import devices, loop

    devices.enable_compilation_cache()
    devices.warn_if_slow_precision(config)
    film = frame_weights.training_frames(store, config.frame_reweighting)
    loop.train(config, film, config.run_dir)


def stage_films(config: Config, mode: str) -> None:
    """Brings the films in buckets that a mode needs to this machine, unless they are there."""
    films = run_folder.split_films(config.source)
    learning = mode in ("all", "prepare", "benchmark")
    if learning or (not films and mode not in ("train", "report")):
        films += run_folder.split_films(config.film)
    for film in films:
        if storage.is_remote(film):
            storage.stage(film)


def check_output(config: Config) -> None:
    """Refuses before weeks of training what could not be reconstructed after them."""
    if config.output and not Path(config.output).absolute().parent.is_dir():
        raise InputError(f"--output={config.output} lies in no folder that exists: make it.")
    if config.source:
        for source in run_folder.sources(config):
            video.probe(source, config.video_stream, config.fps)


def check_devices(config: Config) -> None:
    """Refuses before hours of preparing what the devices could not share."""
    from vae_gan_jax.training.distributed import mesh

    mesh.check_batch(config)


def reconstruct(config: Config, again: bool) -> None:
    """The source films through the trained model; several processes share each.

    Args:
      config: the settings of this command.
      again: also films that have been made from the same source and model before.
    """
    from vae_gan_jax.inference import reconstruct as reconstruction
    from vae_gan_jax.inference import trained
    from vae_gan_jax.training import devices

    devices.enable_compilation_cache()
    run_dir = Path(config.run_dir)
    newest = trained.newest_step(run_dir)
    sources = run_folder.sources(config)
    processes.run_on_first(run_folder.open_run, config, False)
    record, made = _reconstructed(run_dir)

    def still_to_make(step):
        films = {}
        for source in sources:
            paths = reconstruction.film_paths(config, run_folder.name_of(source))
            made_from = _made_from(config, source, step)
            names = [os.path.relpath(path, run_dir) for path in paths.values()]  # it may be moved
            as_asked = all(made.get(name) == made_from for name in names)
            there = not again and as_asked and all(path.exists() for path in paths.values())
            if processes.broadcast_from_first(there):
                logger.info("reconstructed already: %s", ", ".join(map(str, paths.values())))
            else:
                films[source] = paths, names, made_from
        return films

    films = still_to_make(newest)
    if not films:
        return
    model = open_model(config)
    if model.step != newest:  # that one was damaged
        films = still_to_make(model.step)
    record.parent.mkdir(exist_ok=True)
    for source, (paths, names, made_from) in films.items():
        count = reconstruction.reconstruct(
            config, model.params, model.batch_stats, source, framing_of(config), paths,
            json.dumps(made_from), processes.team(),
        )  # fmt: skip
        if processes.index():
            continue
        made |= dict.fromkeys(names, made_from)
        atomic_io.write(record, json.dumps(made, indent=2) + "\n")
        film = provenance.film_checksum(video.probe(source).files, run_dir)
        group = f"{run_folder.FILMS}/{run_folder.name_of(source)}"
        provenance.record(run_dir, group, made_from | {"film": film}, paths.values())
        logger.info("%d frames in %s", count, ", ".join(map(str, paths.values())))


def _reconstructed(run_dir: Path) -> tuple[Path, dict[str, dict]]:
    """The record of reconstructed films, and what it says: what each was made from."""
    record = run_dir / run_folder.FILMS / RECONSTRUCTED
    return record, json.loads(record.read_text()) if record.exists() else {}


def _made_from(config: Config, source: str, step: int) -> dict:
    """All that a reconstructed film depends on, as JSON."""
    status = os.stat(source) if os.path.exists(source) else None
    dependent = (
        "trim_start", "trim_end", "crop", "video_stream", "fps", "reconstruct_noise", "batch_norm",
        "codec", "quality", "upscale", "frames_out",
    )  # fmt: skip
    fields = run_folder.FIELDS
    return {
        "source": storage.address(source),
        "bytes": status and status.st_size,
        "modified": status and status.st_mtime,
        "step": step,
        **{name: config_lib.to_text(fields[name], getattr(config, name)) for name in dependent},
    }


def evaluate(config: Config, again: bool) -> dict[str, dict]:
    """The reconstructions of the source films measured: ``RUN_DIR/measures/NAME.json`` and others.

    Args:
      config: the settings of this command.
      again: also films that have been measured through the same model before.

    Returns:
      What is in those, by name.
    """
    from vae_gan_jax.evaluation import evaluate as evaluation
    from vae_gan_jax.inference import trained
    from vae_gan_jax.training import devices

    devices.enable_compilation_cache()
    newest = trained.newest_step(config.run_dir)
    sources = {run_folder.name_of(source): source for source in run_folder.sources(config)}
    results = {name: evaluation.made(config.run_dir, name) for name in sources}
    for name, source in list(sources.items()):
        known = results[name] and results[name]["made_from"]
        if not again and known == evaluation.made_from(config, source, newest):
            logger.info("measured already: %s", name)
            del sources[name]
    if not sources:
        return results
    run_folder.open_run(config, record=False)
    folder = evaluation.folder_of(config.run_dir)
    model = open_model(config)
    for name, source in sources.items():
        results[name] = evaluation.evaluate(model, source, name, framing_of(config))
        whole = results[name]["whole"]
        told = {
            key: value if isinstance(value, int) else round(value, 3)
            for key, value in whole.items()
            if isinstance(value, int | float)
        }
        text = ", ".join(f"{key} {value}" for key, value in told.items())
        logger.info("%d frames measured in %s: %s", results[name]["frames"], folder / name, text)
    return results


def compare(given: dict) -> None:
    """The measures of several runs side by side; those that a run lacks are made.

    Raises:
      InputError: they cannot be compared, or the result not be written.
    """
    from vae_gan_jax.evaluation import compare as comparison
    from vae_gan_jax.evaluation import evaluate as evaluation
    from vae_gan_jax.inference import trained

    shared = {name: value for name, value in given.items() if name not in ("compare", "output")}
    configs, origins = [], []
    for run in given["compare"]:
        recorded = run_folder.recorded_settings(Path(run))
        if not recorded:
            raise InputError(f"there is no run in {run}: give --compare the folders of runs.")
        configs.append(run_folder.resolve(shared | {"run_dir": run}, recorded, learning=False))
        stage_films(configs[-1], "evaluate")
        sources = run_folder.sources(configs[-1])
        if len(sources) > 1:
            raise InputError(f"{run} is of several films: give the one to compare with --source.")
        step = trained.newest_step(run)
        origins.append(evaluation.made_from(configs[-1], sources[0], step))
    comparison.hold_to_one_film(given["compare"], origins)
    if given.get("at"):
        comparison.hold_to_one_size(given["compare"], origins)
        (film,) = films_shown(configs[0])
    folder = Path(given.get("output") or Path(given["compare"][0]).absolute().parent / "comparison")
    folder.mkdir(exist_ok=True)
    results = []
    for config, origin in zip(configs, origins, strict=True):
        name = run_folder.name_of(run_folder.sources(config)[0])
        kept = evaluation.made(config.run_dir, name)
        # How a film is reconstructed is part of what is compared, unless this command says it.
        asked = [key for key in origin if key not in comparison.SETTINGS or key in given]
        if kept is None or any(kept["made_from"][key] != origin[key] for key in asked):
            kept = evaluate(config, again=True)[name]
        results.append(kept)
    print(comparison.compare(given["compare"], results, folder))
    if given.get("at"):
        from vae_gan_jax.figures import thesis_figures as drawing

        names = comparison.labels(given["compare"])
        models = dict(zip(names, map(open_model, configs), strict=True))
        drawing.side_by_side(models, film, folder)
    logger.info("table and figure: %s", folder)


def figures(config: Config, again: bool) -> None:
    """The thesis's figures, of the learnt films or of others through the model.

    Args:
      config: the settings of this command.
      again: also where they have been drawn of the same films and model before.
    """
    from vae_gan_jax.evaluation import evaluate as evaluation
    from vae_gan_jax.figures import thesis_figures as drawing
    from vae_gan_jax.inference import trained
    from vae_gan_jax.training import checkpoint

    films = films_shown(config)
    folder = results_folder(config, drawing.FOLDER)
    newest, sources = trained.newest_step(config.run_dir), run_folder.sources(config)
    origins = [evaluation.made_from(config, source, newest) for source in sources]
    asked = json.dumps([origins, config.every, config.at], indent=1) + "\n"
    if not again and (folder / DRAWN).exists() and (folder / DRAWN).read_text() == asked:
        logger.info("drawn already: %s", folder)
        return
    model = open_model(config)
    by = described(config, model.step)
    for film in films:
        drawing.make(model, film, folder, by)
    if not config.source:
        per_epoch, steps = steps_per_epoch(config), checkpoint.steps(config.run_dir)
        epochs = {step // per_epoch: step for step in steps if step % per_epoch == 0 < step}
        drawing.by_epoch(config, films[0], epochs, lambda step: open_model(config, step), folder)
    if model.step == newest:  # not where that one was damaged
        atomic_io.write(folder / DRAWN, asked)


def explore(config: Config) -> None:
    """Ways through the latent space, by the landmarks of the learnt films or of others."""
    from vae_gan_jax.explore import explore as wandering
    from vae_gan_jax.explore.explore_context import ExploreContext

    films = films_shown(config)
    folder = results_folder(config, wandering.FOLDER)
    model = open_model(config)
    by = described(config, model.step)
    for film in films:
        wandering.explore(ExploreContext(config, model, film, folder, by))


def report(config: Config, again: bool) -> None:
    """What the run holds as one page; while it trains, too.

    Args:
      config: the settings of this command.
      again: also where nothing has changed since the last report.
    """
    from vae_gan_jax.report import report_page as run_report

    run_dir = Path(config.run_dir)
    recorded = run_folder.recorded_settings(run_dir)
    if not recorded:
        raise InputError(f"there is no run in {run_dir}: train one first, with --mode=all.")
    run_folder.open_run(config, record=False, alone=False)
    config = dataclasses.replace(Config(**recorded), run_dir=config.run_dir)  # it may be moved
    run_report.write(config, again)


def benchmark(config: Config) -> None:
    """How fast the run would go on this machine; of noise where no film is given.

    Raises:
      InputError: there is a film to learn, but no folder to prepare its frames in.
    """
    from vae_gan_jax.evaluation import benchmark as speed

    path = Path(config.output or Path(config.run_dir) / speed.FILE)
    if config.film and not config.run_dir:
        raise InputError("--run_dir is missing: the film's frames are prepared there.")
    if config.run_dir:
        run_folder.open_run(config, record=False)
    if config.film:
        prepare(config)
        film = frame_weights.training_frames(open_store(config), config.frame_reweighting)
    else:
        film = TrainingFrames(speed.generated_film(config))
    source = run_folder.sources(config)[0] if config.film or config.source else None
    figures = speed.measure(config, film, source, framing_of(config))
    speed.write(path, figures)
    print(speed.table(figures))
    logger.info("benchmark: %s", path)


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
        film_format = FilmFormat(config.codec, config.quality, config.upscale)
        count = passthrough.passthrough(
            source, output, framing_of(config), film_format, config.strict
        )
        logger.info("%d frames in %s", count, output)
