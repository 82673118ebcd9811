"""Compares the measures of several runs of one film in a table and a figure."""

import csv
import glob
import io
import json
import logging
import os
from collections.abc import Sequence, Set
from pathlib import Path
from typing import Any

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.evaluation import compare_plot, evaluate
from vae_gan_jax.evaluation.compare_columns import PARTS, Column, columns, means_over_seeds
from vae_gan_jax.evaluation.compare_plot import MEASURES
from vae_gan_jax.figures import thesis_figures
from vae_gan_jax.film import source_films
from vae_gan_jax.inference import made_from, opened_run
from vae_gan_jax.run import (
    atomic_io,
    disk_errors,
    film_names,
    provenance,
    remote_run,
    run_folder,
    settings,
)
from vae_gan_jax.training import checkpoint

VERSION = 2
FOLDER = "comparison"
FILM_KEYS = ("film", "video_stream", "fps", "trim_start", "trim_end", "crop")  # of ``made_from``
SETTINGS = ("reconstruct_noise", "batch_norm")  # of reconstruction; may differ between runs
CONDITIONS = ("step", *SETTINGS, "width", "height", "hold_out")  # that a row of the table states

logger = logging.getLogger(__name__)


def compare(given: dict[str, Any], own: Set[str]) -> None:
    """Prints the measures of runs and writes the table and the figure; measures what is missing.

    The files go to ``--output``, by default to ``comparison`` beside the first run. If all runs
    have one frame size, a second figure shows frames of the film, those at ``--at``, otherwise
    evenly spaced ones, above their reconstructions.

    Args:
      given: the settings that the command line gives, by name.
      own: settings that ``--mode=evaluate`` does not inherit from a run.

    Raises:
      InputError: the runs cannot be compared, or the result cannot be written.
    """
    output = given.get("output") and Path(given["output"])
    if output and not (output if output.exists() else output.absolute().parent).is_dir():
        raise InputError(f"--output={output} cannot be a folder: give one in a folder that exists.")
    if given.get("run_dir"):
        raise InputError("--run_dir is not compared: add that run to --compare.")
    folder = output or Path(given["compare"][0]).absolute().with_name(FOLDER)
    if not atomic_io.is_writable(folder if folder.exists() else folder.parent):
        raise InputError(f"{folder} is not writable: give another --output.")
    configs, results = _measure(given, own)
    with disk_errors.readable(f"{folder} cannot be written"):
        _draw(configs, results, folder)


def compare_with_others(config: Config, again: bool) -> None:
    """Compares the run with the runs of ``--compare``, for its page, unless that is done already.

    With ``again`` a current comparison is drawn again. Runs that cannot be compared are a warning,
    so that the report is written nevertheless.
    """
    if not config.compare:
        return
    try:
        configs, results = _measure({"compare": (*config.compare, config.run_dir)}, frozenset())
    except InputError as error:
        logger.warning("the page has no comparison: %s", error)
        return
    finally:
        run_folder.open_run(config)  # measuring another run locks that one instead
    folder = Path(config.run_dir) / FOLDER
    origin = {
        "version": VERSION,
        "runs": labels([config.run_dir for config in configs]),
        "measures": [[result["version"], result["made_from"]] for result in results],
        "at": configs[0].at,
    }
    if not again and provenance.is_current(config.run_dir, FOLDER, origin):
        logger.info("compared already: %s", folder)
        return
    _draw(configs, results, folder)
    files = folder.glob(f"{glob.escape(results[0]['name'])}*.*")
    provenance.record(config.run_dir, FOLDER, origin, files)


def _measure(given: dict[str, Any], own: Set[str]) -> tuple[list[Config], list[dict[str, Any]]]:
    """The settings of each run for this command, and its measures."""
    shared = {name: value for name, value in given.items() if name not in ("compare", "output")}
    configs, origins = [], []
    for run_dir, recorded in remote_run.recorded_runs(given["compare"]).items():
        config = settings.resolve(shared | {"run_dir": run_dir}, recorded, False, own)
        source_films.stage_sources(config)
        configs.append(config)
    for config in configs:
        sources = film_names.sources(config)
        if len(sources) > 1:
            raise InputError(f"{config.run_dir} learnt several films: name one with --source.")
        step = checkpoint.newest_step(config.run_dir)
        origins.append(made_from.output_frames(config, sources[0], step))
    runs = [config.run_dir for config in configs]
    require_one_film(runs, origins)
    if given.get("at"):
        require_one_size(runs, origins)
        opened_run.open_sources(configs[0])  # refuses times outside the film
    # Measures may come from a reconstruction with other settings than the defaults, unless this
    # command gives the settings.
    ignored = [name for name in SETTINGS if name not in given]
    results = []
    for config, origin in zip(configs, origins, strict=True):
        name = source_films.name(config, film_names.sources(config)[0])
        result = evaluate.load(config.run_dir, name, origin, ignored)
        results.append(result or evaluate.evaluate_films(config, again=True)[name])
    return configs, results


def _draw(configs: Sequence[Config], results: Sequence[dict[str, Any]], folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    runs = [config.run_dir for config in configs]
    print(write_comparison(runs, results, folder))
    if len({(result["width"], result["height"]) for result in results}) == 1:
        (film,) = opened_run.open_sources(configs[0])
        models = map(opened_run.open_model, configs)
        thesis_figures.side_by_side(dict(zip(labels(runs), models, strict=True)), film, folder)
    logger.info("table and figure: %s", folder)


def labels(runs: Sequence[str | os.PathLike]) -> list[str]:
    """Labels of runs: the names of their folders, or the paths if two names are equal."""
    names = [Path(run).resolve().name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [os.path.normpath(run) for run in runs]


def require_one_film(runs: Sequence[str], origins: Sequence[dict[str, Any]]) -> None:
    """Raises InputError if runs show different films or different parts of a film.

    ``origins`` are what ``made_from.output_frames`` returns for each run.
    """
    films = [[origin[key] for key in FILM_KEYS] for origin in origins]
    for run, film in zip(runs, films, strict=True):
        if film != films[0]:
            raise InputError(
                f"{runs[0]} and {run} show different films or parts of a film and cannot be "
                "compared: name one film for all runs with --source."
            )


def require_one_size(runs: Sequence[str], origins: Sequence[dict[str, Any]]) -> None:
    """Raises InputError if the frames differ in size; arguments as for ``require_one_film``."""
    sizes = [(origin["width"], origin["height"]) for origin in origins]
    for run, size in zip(runs, sizes, strict=True):
        if size != sizes[0]:
            raise InputError(
                f"{runs[0]} and {run} have frames of different sizes, which --at cannot show side "
                "by side: leave --at out, or compare runs of one size."
            )


def write_comparison(
    runs: Sequence[str], results: Sequence[dict[str, Any]], folder: str | Path
) -> str:
    """Writes the comparison as CSV, JSON, PNG and PDF, named after the film.

    Runs that differ in ``--seed`` alone also give a row of means and standard deviations.
    ``results`` are what ``evaluate.evaluate`` returned for each run. Returns the table as text.
    Raises InputError if the results are of different films.
    """
    require_one_film(runs, [result["made_from"] for result in results])
    rows = [
        {
            "run": label,
            **{key: result.get(key, "") for key in CONDITIONS},
            **{key: result["made_from"][key] for key in SETTINGS},
            **{part: result[part] for part in PARTS if part in result},
        }
        for label, result in zip(labels(runs), results, strict=True)
    ]
    content = {
        "version": VERSION,
        **{key: results[0][key] for key in ("name", "source", "frames")},
        "runs": rows,
        "seeds": means_over_seeds(runs, rows, [measure.key for measure in MEASURES]),
    }
    path, shown = Path(folder) / results[0]["name"], columns(content)
    atomic_io.write(path.with_name(f"{path.name}.csv"), _csv(shown))
    compare_plot.draw(path, content)
    text = json.dumps(content, indent=1, allow_nan=False)
    atomic_io.write(path.with_name(f"{path.name}.json"), text + "\n")
    return _text_table(shown)


def _csv(shown: list[Column]) -> str:
    """One line per column of the text table; measures without a value are empty."""
    keys = [measure.key for measure in MEASURES]
    names = ["run", "part", *CONDITIONS, *keys, *(f"{key}_deviation" for key in keys)]
    table = io.StringIO()
    writer = csv.DictWriter(table, names, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    for column in shown:
        deviation = {f"{key}_deviation": value for key, value in column.deviation.items()}
        writer.writerow(column.row | {"part": column.part} | column.measures | deviation)
    return table.getvalue()


def _text_table(shown: list[Column]) -> str:
    """One line per measure; one column per run, part of a run, and group of seeds."""
    rows = [column.row for column in shown]
    lines = [["", *(column.title for column in shown)], ["step", *(str(r["step"]) for r in rows)]]
    lines.append(["size", *(f"{row['width']}x{row['height']}" for row in rows)])
    for key in (*SETTINGS, "hold_out"):
        if any(row[key] for row in rows):
            lines.append([key.replace("_", " "), *(str(row[key]) for row in rows)])
    for measure in MEASURES:
        values = (column.text(measure.key, measure.digits) for column in shown)
        lines.append([measure.title, *values])
    first, *widths = (max(map(len, column)) for column in zip(*lines, strict=True))
    return "\n".join(
        "  ".join([title.ljust(first), *map(str.rjust, cells, widths)]).rstrip()
        for title, *cells in lines
    )
