"""A run's report: its films, curves, samples and measures in one page that opens from disk."""

import base64
import dataclasses
import hashlib
import json
import logging
import os
import re
import shlex
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from vae_gan_jax.config import Config, InputError, to_text
from vae_gan_jax.report import measure_tables, player_film, report_curves, report_pictures
from vae_gan_jax.report.player_film import data_uri
from vae_gan_jax.run import atomic_io, storage
from vae_gan_jax.training.monitoring import metrics_log, samples

FILE = "report.html"
PAGE = Path(__file__).parent / "template"
FILMS_SIZE = 19 << 20  # of all films in the page, before they become text a third longer
COMMAND = "python -m vae_gan_jax.main"

logger = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Section:
    """A part of the page: its anchor, heading and HTML, or the command that it waits for."""

    name: str
    heading: str
    html: str
    mode: str = ""  # that makes what it shows


def write(config: Config, made: dict[str, dict[str, Any]], again: bool = True) -> Path:
    """Writes ``report.html`` in the run's folder: one page with all that it shows inside.

    Films too long for a page are put beside their reconstructions and linked.

    Args:
      config: the settings of the run.
      made: what each reconstructed film was made from, by its path relative to the run's folder.
      again: also where nothing has changed since the last report.

    Returns:
      Where the page is.

    Raises:
      InputError: there is nothing to report, or the page cannot be written.
    """
    run_dir = Path(config.run_dir)
    path = run_dir / FILE
    if path.is_dir() or not os.access(run_dir, os.W_OK):
        raise InputError(f"{path} cannot be written: make room for a file of that name.")
    made_from = _fingerprint(run_dir, made)
    if not again and _made_from(path) == made_from:
        logger.info("reported already: %s", path)
        return path
    lines = report_curves.read(run_dir / metrics_log.FILE)
    pairs = player_film.pairs(config, made)
    measures = measure_tables.read(run_dir)
    measured = measure_tables.tables(measures)
    if measured:
        measured += report_pictures.figures(run_dir / measure_tables.FOLDER)
    sections = [
        _Section(
            "films",
            "Films" if len(pairs) > 1 else "The film",
            _films(run_dir, pairs, measures),
            "reconstruct",
        ),
        _Section("measures", "Measures", measured, "evaluate"),
        _Section("curves", "Learning", _curves(lines), "train"),
        _Section(
            "samples",
            "Samples by epoch",
            report_pictures.samples(run_dir, lines),
            "train",
        ),
        _Section("figures", "Figures", report_pictures.figures(run_dir / "figures"), "figures"),
        _Section(
            "explorations",
            "Explorations",
            report_pictures.figures(run_dir / "explorations"),
            "explore",
        ),
    ]
    if not any(section.html for section in sections):
        raise InputError(f"{run_dir} holds nothing to report: train it first, with --mode=all.")
    sections.append(_Section("settings", "Settings", _settings(config)))
    title = ", ".join(dict.fromkeys(pair.name for pair in pairs)) or run_dir.resolve().name
    page = Template((PAGE / "page.html").read_text()).substitute(
        made_from=made_from,
        title=escape(title.replace("_", " ")),
        facts=" · ".join(map(escape, _facts(config, lines))),
        links="".join(
            f'<li><a href="#{section.name}">{escape(section.heading)}</a></li>'
            for section in sections
            if section.html
        ),
        sections="".join(_section(section) for section in sections if section.html),
        missing=_missing(sections, storage.told(config.run_dir)),
        style=(PAGE / "style.css").read_text(),
        script=(PAGE / "page.js").read_text(),
    )
    atomic_io.write(path, page)
    logger.info("report: %s, %.1f MB", path, len(page.encode()) / 1e6)
    return path


def _fingerprint(run_dir: Path, made: dict) -> str:
    """Of all that a report shows, so that it is seen whether anything has changed."""
    folders = [(samples.FOLDER, "*.png"), (measure_tables.FOLDER, "*.json")]
    folders += [("figures", "*.png"), ("explorations", "*")]
    files = [path for name, kind in folders for path in sorted((run_dir / name).glob(kind))]
    films = [Path(os.path.normpath(run_dir / name)) for name in made]
    files += [run_dir / metrics_log.FILE, *films, *PAGE.iterdir()]
    flags = run_dir / "flags.txt"
    seen = [[flags.read_text() if flags.exists() else "", made]]
    for path in sorted(filter(Path.is_file, files)):
        status = path.stat()
        seen.append([os.path.relpath(path, run_dir), status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()


def _made_from(path: Path) -> str | None:
    """The fingerprint that an earlier report carries in its head."""
    if not path.exists():
        return None
    with path.open(encoding="utf-8", errors="replace") as file:
        found = re.search(r'<meta name="made-from" content="(\w+)">', file.read(4000))
    return found and found[1]


def _section(section: _Section) -> str:
    name = section.name
    return (
        f'<section id="{name}" aria-labelledby="{name}-heading">'
        f'<h2 id="{name}-heading">{escape(section.heading)}</h2>{section.html}</section>'
    )


def _missing(sections: list[_Section], run_dir: str) -> str:
    """One line for each section that is left out: the command that makes it."""
    lines = [
        f"<li>{escape(section.heading)}"
        f"<pre><code>{escape(f'{COMMAND} --mode={section.mode} --run_dir={shlex.quote(run_dir)}')}"
        "</code></pre></li>"
        for section in sections
        if not section.html
    ]
    if not lines:
        return ""
    return (
        '<section id="missing"><h2>Not here yet</h2><p class="note">What this run does not hold, '
        f"and the command that makes it.</p><ul>{''.join(lines)}</ul></section>"
    )


def _facts(config: Config, lines: list[dict[str, Any]]) -> list[str]:
    facts = [
        f"{config.width}×{config.height} pixels",
        f"{config.filters} filters",
        f"{config.z_dim} latent dimensions",
    ]
    if lines:
        epochs = max(report_curves.epoch_ends(lines), default=0)
        facts.append(f"{lines[-1]['step']:,} steps, epoch {epochs} of {config.epochs}")
    return facts


def _films(run_dir: Path, pairs: list[player_film.Pair], measures: dict[str, dict]) -> str:
    """A player for each film, and beneath it the time line of its shots."""
    names = [pair.name for pair in pairs]
    lengths = [pair.path.stat().st_size for pair in pairs]
    parts = []
    for number, (pair, length) in enumerate(zip(pairs, lengths, strict=True)):
        share = int(FILMS_SIZE * length / sum(lengths))
        film = player_film.make(pair, share, run_dir / "films" / _report_film(names, number))
        size = f"{film.size / 1e6:.1f} MB at {film.width}×{film.height} pixels"
        address, held = f' src="{film.link}"', ""
        where = f"Too long for a page, it lies beside this one: {film.link}, {size}."
        if film.content is not None:
            text = base64.b64encode(film.content).decode()
            address, held = "", f'<script type="text/plain" id="film-{number}-data">{text}</script>'
            where = f"Held in this page: {size}, of {FILMS_SIZE / 1e6:.0f} MB that films may have."
        measured, shots = measures.get(pair.name), ""
        if measured and measured["frames"] == film.frames:  # if not, they are another version's
            shots = measure_tables.timeline(measured, f"film-{number}")
        heading = f"<h3>{measure_tables.breakable(pair.title)}</h3>" if len(pairs) > 1 else ""
        parts.append(
            f'<article class="film">{heading}<video id="film-{number}" controls playsinline '
            f'preload="metadata" width="{film.width}" height="{film.height}"{address} '
            f'poster="{data_uri("image/jpeg", film.poster)}" '
            f'aria-label="{escape(f"{pair.title}. {pair.shows}")}"></video>{held}'
            f'<p class="note">{escape(pair.shows)} {escape(where)}</p>{shots}</article>'
        )
    return "".join(parts)


def _report_film(names: list[str], number: int) -> str:
    """What a film too long for the page is called; of several of one name, with a number."""
    earlier = names[:number].count(names[number])
    return f"{names[number]}_report{f'_{earlier + 1}' if earlier else ''}.mp4"


def _curves(lines: list[dict[str, Any]]) -> str:
    charts = report_curves.draw(lines)
    if not charts:
        return ""
    every = -(-len(lines) // report_curves.POINTS)
    each = f" Each point is the mean of {every} lines of metrics.jsonl." if every > 1 else ""
    return (
        '<p class="note">Vertical lines: the ends of epochs. Point at a chart, or go through it '
        f'with the arrow keys, to read its values.{each}</p><div class="charts">'
        f"{''.join(charts)}</div>"
    )


def _settings(config: Config) -> str:
    """The command for another such run, what was set otherwise than by default, every setting."""
    rows, flags = [], []
    for field in dataclasses.fields(Config):
        value = getattr(config, field.name)
        text = storage.told(to_text(field, value))
        flags.append(f"--{field.name}={text}")
        if value != field.default and field.name != "run_dir":
            rows.append(
                f'<tr><th scope="row"><code>--{field.name}</code>'
                f'<span class="note">{escape(field.metadata["help"])}</span></th>'
                f"<td><code>{escape(text)}</code></td></tr>"
            )
    flagfile = shlex.quote(os.path.join(storage.told(config.run_dir), "flags.txt"))
    command = f"{COMMAND} --flagfile={flagfile} --run_dir=runs/again"
    return (
        f"<p>The same run again, in a folder of its own:</p><pre><code>{escape(command)}</code>"
        '</pre><div class="wide"><table class="settings">'
        "<caption>Settings other than the defaults</caption>"
        f"<tbody>{''.join(rows)}</tbody></table></div><details><summary>All settings</summary>"
        f"<pre><code>{escape(chr(10).join(flags))}</code></pre></details>"
    )
