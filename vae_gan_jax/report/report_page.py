"""A run's report: films, measures, curves, samples and figures on one page that opens from disk."""

import base64
import dataclasses
import logging
import os
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from markupsafe import Markup, escape

from vae_gan_jax import pages
from vae_gan_jax.config import Config, InputError, to_text
from vae_gan_jax.report import measure_tables, player_film, report_curves, report_pictures
from vae_gan_jax.run import atomic_io, film_names, provenance, run_folder, settings, storage
from vae_gan_jax.training.monitoring import run_log

FILE = "report.html"
TEMPLATES = Path(__file__).parent / "template"
MAX_FILMS_BYTES = 19 << 20  # all films in the page; as base64 they take a third more
COMMAND = "python -m vae_gan_jax.main"
FIGURES, EXPLORATIONS, COMPARISON = "figures", "explorations", "comparison"

logger = logging.getLogger(__name__)


class _Section(NamedTuple):
    """A section of the page; without content the page gives the command that makes it."""

    name: str
    heading: str
    template: str
    content: Any
    mode: str = ""


def report_run(config: Config, again: bool) -> None:
    """Puts the results of a run on one page, even while the run trains; raises like ``write``."""
    run_dir = Path(config.run_dir)
    recorded = settings.recorded_settings(run_dir)
    if not recorded:
        raise InputError(f"there is no run in {run_dir}: train one first, with --mode=all.")
    run_folder.open_run(config, lock=False)
    write(Config(**recorded | {"run_dir": config.run_dir}), again)  # the run may have moved


def write(config: Config, again: bool = True) -> Path:
    """Writes ``report.html`` into the run's folder: one page that contains all that it shows.

    Films that are too long for the page are put into ``films/`` and linked. ``again`` writes it
    also if nothing has changed since the last report. Returns the path of the page. Raises
    InputError if there is nothing to report, or the page cannot be written.
    """
    run_dir = Path(config.run_dir)
    path = run_dir / FILE
    if path.is_dir():
        raise InputError(f"{path} cannot be written: remove what is in its place.")
    made_from = _made_from(run_dir)
    if not again and provenance.is_current(run_dir, "report", made_from, [path]):
        logger.info("report is up to date: %s", path)
        return path
    lines = report_curves.read(run_dir / run_log.METRICS_FILE)
    pairs = player_film.pairs(config)
    sections = _sections(config, lines, pairs)
    if not any(section.content for section in sections):
        raise InputError(f"{run_dir} holds nothing to report: train it first, with --mode=all.")
    sections.append(_Section("settings", "Settings", "settings.html", _settings(config)))
    title = ", ".join(dict.fromkeys(pair.name for pair in pairs)) or run_dir.resolve().name
    template = _environment().get_template("page.html")
    page = template.render(
        title=title.replace("_", " "),
        config=config,
        last_step=max((line["step"] for line in lines), default=None),
        last_epoch=max(report_curves.epoch_ends(lines), default=0),
        sections=sections,
        command=COMMAND,
        run_dir=shlex.quote(storage.show_addresses(config.run_dir)),
    )
    content = page.encode(errors="replace")
    atomic_io.write(path, content)
    provenance.record(run_dir, "report", made_from, [path])
    logger.info("report: %s, %.1f MB", path, len(content) / 1e6)
    return path


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([TEMPLATES, pages.FOLDER]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # Long film names may break after an underscore.
    environment.filters["breakable"] = lambda name: escape(name).replace("_", Markup("_<wbr>"))
    return environment


def _made_from(run_dir: Path) -> dict[str, Any]:
    """The checksum of every file that the report shows or is made with, by path."""
    folders = [(run_log.SAMPLES_FOLDER, "*.png"), (measure_tables.FOLDER, "*.json")]
    folders += [(name, "*.png") for name in (FIGURES, EXPLORATIONS, COMPARISON)]
    paths = [path for name, pattern in folders for path in (run_dir / name).glob(pattern)]
    paths += [run_dir / run_log.METRICS_FILE, run_dir / settings.FILE]
    paths += [*TEMPLATES.iterdir(), pages.FOLDER / "base.css"]
    films = provenance.groups(run_dir, "films")
    film_paths = [path for _, paths in films.values() for path in paths if path.is_file()]
    checksums = {path: provenance.film_checksum([path], run_dir) for path in film_paths}
    checksums |= {path: provenance.checksum([path]) for path in paths if path.is_file()}
    return {
        "films": {name: made_from for name, (made_from, _) in films.items()},
        "files": {os.path.relpath(path, run_dir): checksums[path] for path in sorted(checksums)},
    }


def _sections(config: Config, lines: list[dict[str, Any]], pairs: list) -> list[_Section]:
    run_dir = Path(config.run_dir)
    measures = measure_tables.read(run_dir)
    tables = measure_tables.tables(measures) if measures else None
    if tables:
        tables["pictures"] = report_pictures.figures(run_dir / measure_tables.FOLDER)
    curves = report_curves.draw(lines)
    grids = report_pictures.samples(run_dir, lines)
    pictures = {
        name: report_pictures.figures(run_dir / name)
        for name in (FIGURES, EXPLORATIONS, COMPARISON)
    }
    heading = "Films" if len(pairs) > 1 else "The film"
    films = _films(run_dir, pairs, measures)
    beside = _Section(
        "comparison", "Compared with other runs", "pictures.html", pictures[COMPARISON]
    )
    return [
        _Section("films", heading, "films.html", films, "reconstruct"),
        _Section("measures", "Measures", "measures.html", tables, "evaluate"),
        *([beside] if beside.content else []),
        _Section("curves", "Training", "curves.html", curves["charts"] and curves, "train"),
        _Section("samples", "Samples by epoch", "samples.html", grids["grids"] and grids, "train"),
        _Section("figures", "Figures", "pictures.html", pictures[FIGURES], "figures"),
        _Section(
            "explorations", "Explorations", "pictures.html", pictures[EXPLORATIONS], "explore"
        ),
    ]


def _films(
    run_dir: Path, pairs: list[player_film.Pair], measures: dict[str, measure_tables.FilmMeasures]
) -> list[dict[str, Any]]:
    """A player for each film, with the time line of its shots."""
    sizes = [os.path.getsize(pair.film.path) for pair in pairs]
    players, names = [], []
    for pair, size in zip(pairs, sizes, strict=True):
        names.append(pair.name)
        count = names.count(pair.name)
        number = f"_{count}" if count > 1 else ""  # several films may have one name
        beside = run_dir / film_names.FILMS / f"{pair.name}_report{number}.mp4"
        film = player_film.make(pair, int(MAX_FILMS_BYTES * size / sum(sizes)), beside)
        measured = measures.get(pair.name)
        # Measures with another number of frames belong to another version of the film.
        fits = measured is not None and measured.frames == film.frames
        players.append(
            {
                "pair": pair,
                "film": film,
                "poster": report_pictures.data_uri("image/jpeg", film.poster_jpeg),
                "base64": base64.b64encode(film.content or b"").decode(),
                "timeline": measure_tables.timeline(measured) if fits else None,
            }
        )
    return players


def _settings(config: Config) -> dict[str, Any]:
    """The command that repeats the run, the settings that are not defaults, and all settings."""
    flags, changed = [], []
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        text = storage.show_addresses(to_text(field, value))
        flags.append(f"--{field.name}={text}")
        if value != field.default and field.name != "run_dir":
            changed.append((field.name, field.metadata["help"], text))
    flagfile = shlex.quote(os.path.join(storage.show_addresses(config.run_dir), settings.FILE))
    command = f"{COMMAND} --flagfile={flagfile} --run_dir=runs/again"
    return {"command": command, "changed": changed, "flags": flags}
