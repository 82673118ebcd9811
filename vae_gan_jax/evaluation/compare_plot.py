"""The figure that compares the measures of several runs."""

from pathlib import Path
from typing import Any, NamedTuple

from vae_gan_jax.evaluation.compare_columns import Column, columns
from vae_gan_jax.figures import style

COLUMNS, MAX_LEGEND_COLUMNS = 3, 4  # of bar charts; of the legend
# Inches: between bar charts, for the heading, above the curves, and for the labels below them.
GAP, HEADING, CURVES_GAP, LABELS = 0.3, 0.75, 0.7, 0.45
LETTER, MIN_CHARTS_WIDTH = 0.06, 4.9  # inches: of small text; of the charts beside the titles
PART_ALPHA = {"whole": 1.0, "learnt": 0.7, "held_out": 0.4}  # opacity of the bars
ROOM, ROOM_FOR_MEANS = 0.28, 1.0  # for the labels right of the bars, in lengths of the longest bar


class Measure(NamedTuple):
    """How a measure of ``whole`` is shown; ``better`` is ↑ for more, ↓ for less, or → 1."""

    key: str
    title: str
    digits: int  # decimals
    better: str


MEASURES = (
    Measure("psnr", "PSNR, dB", 2, "↑"),
    Measure("ssim", "SSIM", 3, "↑"),
    Measure("ms_ssim", "MS-SSIM", 3, "↑"),
    Measure("vmaf", "VMAF", 1, "↑"),
    Measure("similarity", "L_like, own discriminator", 4, ""),
    Measure("retention", "retention R", 3, "→ 1"),
    Measure("aligned_retention", "aligned retention β", 3, "→ 1"),
    Measure("correlation", "correlation ρ", 3, "→ 1"),
    Measure("freeze_fraction", "freeze fraction", 3, "↓"),
    Measure("collapsed_share", "collapsed share", 3, "↓"),
    Measure("active_units", "active units", 0, ""),
    Measure("within_shot_variance_share", "within-shot variance", 3, ""),
    Measure("recognised_shot", "recognised, shot", 3, "↑"),
    Measure("recognised_half_second", "recognised, half second", 3, "↑"),
    Measure("black_error", "error on black, 1/255", 2, "↓"),
    Measure("psnr_darkest_fifth", "PSNR of the darkest fifth, dB", 2, "↑"),
    Measure("sharpness", "sharpness", 3, "→ 1"),
    Measure("half_way_ratio", "half-way ratio", 3, "↓"),
    Measure("film_path_ratio", "film-path ratio", 3, "↓"),
    Measure("prior_ratio", "prior ratio", 2, "↓"),
    Measure("mixture_ratio", "mixture ratio", 2, "↓"),
    Measure("half_way_probability", "half-way, own discriminator", 3, ""),
    Measure("prior_probability", "prior, own discriminator", 3, ""),
    Measure("film_probability", "film, own discriminator", 3, ""),
)


def draw(path: Path, content: dict[str, Any]) -> None:
    """Draws a bar chart for each measure, and PSNR by brightness.

    Bars of means over seeds have the standard deviation as error bar. ``path`` has no extension;
    ``content`` is that of the comparison's JSON file.
    """
    runs = content["runs"]
    bar_columns = [column for column in columns(content) if column.part != "gap"]
    shown = [m for m in MEASURES if any(run["whole"][m.key] is not None for run in runs)]
    rows = -(-len(shown) // COLUMNS)
    chart, lines = 0.16 + 0.13 * len(bar_columns), 1.5 + 0.13 * _legend_rows(runs)  # inches
    charts = rows * chart + (rows - 1) * GAP
    height = HEADING + charts + CURVES_GAP + lines + LABELS
    titles = 0.21 + LETTER * max(len(column.title) for column in bar_columns)  # inches
    width = max(style.WIDTH, titles + MIN_CHARTS_WIDTH)
    left = titles / width
    with style.figure(width, height) as figure:
        bars = figure.add_gridspec(
            rows, COLUMNS, top=1 - HEADING / height, bottom=1 - (HEADING + charts) / height,
            left=left, right=0.97, hspace=GAP / chart, wspace=0.12,
        )  # fmt: skip
        brightness = figure.add_gridspec(
            1, 1, top=(LABELS + lines) / height, bottom=LABELS / height, left=left, right=0.97
        )
        title = f"{content['name']}, {content['frames']} frames"
        key = "↑ more is better, ↓ less is better, → 1 closer to 1 is better"
        figure.text(0.02, 1 - 0.24 / height, title, size=style.SIZES["title"])
        figure.text(0.02, 1 - 0.42 / height, key, size=style.SIZES["small"])
        for number, measure in enumerate(shown):
            axis = figure.add_subplot(bars[number // COLUMNS, number % COLUMNS])
            _bars(axis, bar_columns, measure)
            axis.tick_params(axis="y", length=0, labelleft=number % COLUMNS == 0)
        _by_brightness(figure.add_subplot(brightness[0]), runs)
        style.save(figure, path)


def _colour(number: int, part: str = "whole") -> dict[str, Any]:
    """The colour of a run; its parts are paler, and so are colours that repeat."""
    turn, colour = divmod(number, len(style.CYCLE))
    alpha = PART_ALPHA[part] / (1 + turn)
    return {"color": style.COLOURS[style.CYCLE[colour]], "alpha": alpha}


def _bars(axis, shown: list[Column], measure: Measure) -> None:
    low = high = 0.0
    for number, column in enumerate(shown):
        value = column.measures.get(measure.key) or 0.0
        error = column.deviation.get(measure.key) or 0.0
        colour = _colour(column.number, column.part)
        axis.barh(number, value, height=0.72, xerr=error or None, **colour)
        low, high = min(low, value - error), max(high, value + error)
        axis.annotate(
            column.text(measure.key, measure.digits), (max(0.0, value + error), number), (2, 0),
            textcoords="offset points", va="center", size=style.SIZES["small"],
        )  # fmt: skip
    axis.set_title(f"{measure.title} {measure.better}", size=style.SIZES["small"], pad=3)
    axis.set_yticks(range(len(shown)), [column.title for column in shown])
    axis.invert_yaxis()
    room = ROOM_FOR_MEANS if any(column.deviation for column in shown) else ROOM
    axis.set_xlim(low, high + room * (high - low or 1.0))
    axis.set_xticks([])
    axis.grid(visible=False)
    axis.spines["bottom"].set_visible(False)


def _by_brightness(axis, runs: list[dict[str, Any]]) -> None:
    bands = runs[0]["whole"]["psnr_by_brightness"]
    shown = [number for number, band in enumerate(bands) if band["frames"]]
    for number, run in enumerate(runs):
        psnr = [run["whole"]["psnr_by_brightness"][band]["psnr"] for band in shown]
        axis.plot(psnr, marker="o", markersize=3, label=run["run"], **_colour(number))
    ticks = [
        f"{band['low']:g}–{band['high']:g}\n{band['frames']} frames"
        for band in (bands[number] for number in shown)
    ]
    axis.set_xticks(range(len(shown)), ticks)
    axis.set_xlim(-0.5, len(shown) - 0.5)
    axis.set_title("PSNR, dB, by the brightness of the source frame, 0–255")
    low, high = axis.get_ylim()  # makes room for the legend below the lines
    axis.set_ylim(low - 0.14 * (high - low) * _legend_rows(runs), high)
    axis.legend(loc="lower center", ncols=_legend_columns(runs))


def _legend_columns(runs: list[dict[str, Any]]) -> int:
    entry = 0.4 + LETTER * max(len(run["run"]) for run in runs)  # inches
    return min(MAX_LEGEND_COLUMNS, max(1, int(MIN_CHARTS_WIDTH / entry)))


def _legend_rows(runs: list[dict[str, Any]]) -> int:
    return -(-len(runs) // _legend_columns(runs))
