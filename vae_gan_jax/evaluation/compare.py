"""Measures of several runs of one film in one table and one figure."""

import csv
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vae_gan_jax.config import InputError
from vae_gan_jax.figures import style
from vae_gan_jax.run import atomic_io

VERSION = 1
# Key, how it is called, decimals, what is good: more, less, or 1.
MEASURES = (
    ("psnr", "PSNR, dB", 2, "↑"),
    ("ssim", "SSIM", 3, "↑"),
    ("ms_ssim", "MS-SSIM", 3, "↑"),
    ("vmaf", "VMAF", 1, "↑"),
    ("similarity", "L_like, own discriminator's", 4, ""),
    ("retention", "retention R", 3, "→ 1"),
    ("aligned_retention", "aligned retention β", 3, "→ 1"),
    ("correlation", "correlation ρ", 3, "→ 1"),
    ("freeze_fraction", "freeze fraction", 3, "↓"),
    ("collapsed_share", "collapsed share", 3, "↓"),
    ("active_units", "active units", 0, ""),
    ("within_shot_variance_share", "within-shot variance", 3, ""),
    ("recognised_shot", "recognised, shot", 3, "↑"),
    ("recognised_half_second", "recognised, half second", 3, "↑"),
    ("black_error", "error on black, 1/255", 2, "↓"),
    ("psnr_darkest_fifth", "PSNR of the darkest fifth, dB", 2, "↑"),
    ("sharpness", "sharpness", 3, "→ 1"),
)
COLUMNS, GAP = 3, 0.3  # of the figure's bars, inches between them
# What must agree, so that runs are measured with the same frames.
FILM = ("film", "video_stream", "fps", "trim_start", "trim_end", "crop")
SETTINGS = ("reconstruct_noise", "batch_norm")


def labels(runs: Sequence[str | os.PathLike]) -> list[str]:
    """What runs are called: their folders, with those above where two have one name."""
    names = [Path(run).resolve().name for run in runs]
    if len(set(names)) == len(names):
        return names
    return [os.path.normpath(run) for run in runs]


def require_one_film(runs: Sequence[str], origins: Sequence[dict[str, Any]]) -> None:
    """Refuses to compare what different films or stretches gave.

    Args:
      runs: folders of the runs.
      origins: of each, what ``evaluate.made_from`` gives.

    Raises:
      InputError: the films differ; the sentence names two runs.
    """
    first = [origins[0][key] for key in FILM]
    for run, origin in zip(runs, origins, strict=True):
        if [origin[key] for key in FILM] != first:
            raise InputError(
                f"{runs[0]} and {run} are of different films or stretches and cannot be compared: "
                "give --source, one film for all."
            )


def require_one_size(runs: Sequence[str], origins: Sequence[dict[str, Any]]) -> None:
    """Refuses to show frames of different sizes side by side.

    Args:
      runs, origins: as of ``require_one_film``.

    Raises:
      InputError: the sizes differ; the sentence names two runs.
    """
    sizes = [(origin["width"], origin["height"]) for origin in origins]
    for run, size in zip(runs, sizes, strict=True):
        if size != sizes[0]:
            raise InputError(
                f"{runs[0]} and {run} have frames of different sizes, which --at shows side by "
                "side: leave it out, or compare runs of one size."
            )


def compare(runs: Sequence[str], results: Sequence[dict[str, Any]], folder: str | Path) -> str:
    """Writes NAME.csv, .json, .png and .pdf, NAME that of the film.

    Args:
      runs: folders of the runs.
      results: what ``evaluate.evaluate`` returned of each.
      folder: where the files go.

    Returns:
      The table, to be read.

    Raises:
      InputError: the results are of different films.
    """
    require_one_film(runs, [result["made_from"] for result in results])
    names = labels(runs)
    path = Path(folder) / results[0]["name"]
    rows = [
        {
            "run": name,
            "step": result["step"],
            **{key: result["made_from"][key] for key in SETTINGS},
            "width": result["width"],
            "height": result["height"],
            "whole": result["whole"],
        }
        for name, result in zip(names, results, strict=True)
    ]
    content = {
        "version": VERSION,
        "name": results[0]["name"],
        "source": results[0]["source"],
        "frames": results[0]["frames"],
        "runs": rows,
    }
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    scalars = [key for key in rows[0] if key != "whole"]
    writer.writerow([*scalars, *(key for key, *_ in MEASURES)])
    for row in rows:
        values = [row["whole"][key] for key, *_ in MEASURES]
        writer.writerow(
            [*(row[key] for key in scalars), *("" if value is None else value for value in values)]
        )
    atomic_io.write(path.with_name(f"{path.name}.csv"), table.getvalue())
    _draw(path, content)
    atomic_io.write(
        path.with_name(f"{path.name}.json"), json.dumps(content, indent=1, allow_nan=False) + "\n"
    )
    return _readable(rows)


def _readable(rows: list[dict[str, Any]]) -> str:
    """A line for each measure, a column for each run."""
    cells = [["", *(row["run"] for row in rows)], ["step", *(str(row["step"]) for row in rows)]]
    cells.append(["size", *(f"{row['width']}x{row['height']}" for row in rows)])
    for key in SETTINGS:
        cells.append([key.replace("_", " "), *(str(row[key]) for row in rows)])
    for key, title, digits, _ in MEASURES:
        cells.append([title, *(_text(row["whole"][key], digits) for row in rows)])
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]))]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in cells
    )


def _text(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _draw(path: Path, content: dict[str, Any]) -> None:
    """Bars for each measure, and PSNR by brightness as a line for each run."""
    runs = content["runs"]
    shown = [row for row in MEASURES if any(run["whole"][row[0]] is not None for run in runs)]
    rows = -(-len(shown) // COLUMNS)
    panel, below = 0.16 + 0.13 * len(runs), 1.6 + 0.13 * (len(runs) + 1) // 2  # inches
    bars = rows * panel + (rows - 1) * GAP
    height = 0.75 + bars + 0.7 + below + 0.45
    left = min(0.3, 0.03 + 0.0085 * max(len(run["run"]) for run in runs))
    with style.figure(height=height) as figure:
        place = {"left": left, "right": 0.97}
        above = figure.add_gridspec(
            rows, COLUMNS, top=1 - 0.75 / height, bottom=1 - (0.75 + bars) / height,
            hspace=GAP / panel, wspace=0.12, **place,
        )  # fmt: skip
        beneath = figure.add_gridspec(
            1, 1, top=(0.45 + below) / height, bottom=0.45 / height, **place
        )
        figure.text(
            0.02, 1 - 0.24 / height,
            f"{content['name']}, {content['frames']} frames", size=style.SIZES["title"],
        )  # fmt: skip
        figure.text(
            0.02, 1 - 0.42 / height, "↑ more is better, ↓ less, → 1 as near to 1 as can be",
            size=style.SIZES["small"],
        )  # fmt: skip
        for number, measure in enumerate(shown):
            axis = figure.add_subplot(above[number // COLUMNS, number % COLUMNS])
            _bars(axis, runs, *measure)
            axis.tick_params(axis="y", length=0, labelleft=number % COLUMNS == 0)
        _by_brightness(figure.add_subplot(beneath[0]), runs)
        style.save(figure, path)


def _look(number: int) -> dict[str, Any]:
    """Colour of a run, and where these come round again, paler."""
    turn, colour = divmod(number, len(style.CYCLE))
    return {"color": style.COLOURS[style.CYCLE[colour]], "alpha": 1 / (1 + turn)}


def _bars(axis, runs: list[dict[str, Any]], key: str, title: str, digits: int, good: str) -> None:
    for number, run in enumerate(runs):
        value = run["whole"][key]
        bar = axis.barh(number, value or 0.0, height=0.72, **_look(number))
        axis.bar_label(bar, [_text(value, digits)], size=style.SIZES["small"], padding=2)
    axis.set_title(f"{title} {good}", size=style.SIZES["small"], pad=3)
    axis.set_yticks(range(len(runs)), [run["run"] for run in runs])
    axis.invert_yaxis()
    axis.margins(x=0.28)
    axis.set_xticks([])
    axis.grid(visible=False)
    axis.spines["bottom"].set_visible(False)


def _by_brightness(axis, runs: list[dict[str, Any]]) -> None:
    classes = runs[0]["whole"]["psnr_by_brightness"]
    shown = [number for number, row in enumerate(classes) if row["frames"]]
    for number, run in enumerate(runs):
        psnr = [run["whole"]["psnr_by_brightness"][place]["psnr"] for place in shown]
        axis.plot(
            range(len(shown)), psnr, marker="o", markersize=3, label=run["run"], **_look(number)
        )
    rows = [classes[place] for place in shown]
    ticks = [f"{row['low']:g}–{row['high']:g}\n{row['frames']} frames" for row in rows]
    axis.set_xticks(range(len(shown)), ticks)
    axis.set_xlim(-0.5, len(shown) - 0.5)
    axis.set_title("PSNR, dB, by the brightness of the source's frame, 0–255")
    low, high = axis.get_ylim()  # room for the legend below all lines
    axis.set_ylim(low - 0.14 * (high - low) * (1 + (len(runs) - 1) // 4), high)
    axis.legend(loc="lower center", ncols=4)
