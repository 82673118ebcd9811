"""Curves of what a run measured while it trained, drawn as SVG that follows the page's colours."""

import dataclasses
import json
import math
from html import escape
from pathlib import Path
from typing import Any

POINTS = 400  # on a curve; of more, neighbours are averaged
WIDTH, HEIGHT = 420, 236
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 26, 34  # margins of the plot, for the labels of the axes
DECADES = 1.2  # of a range from which on its axis is logarithmic
COLOURS = 3  # that the style sheet has
NETWORKS = ("encoder", "decoder", "discriminator")


@dataclasses.dataclass(frozen=True)
class Panel:
    """One chart: metrics of one unit, by key, each with its label; ``limits`` fix the axis."""

    title: str
    note: str
    labels: dict[str, str]
    limits: tuple[float, float] | None = None


def _of_networks(prefix: str) -> dict[str, str]:
    return {f"{prefix}/{network}": network for network in NETWORKS}


PANELS = (
    Panel(
        "Learned similarity",
        "L_like, the learned similarity (4.3.3)",
        {"objective/similarity": "L_like"},
    ),
    Panel("KL divergence", "L_KL, how far z is from its prior (4.3.1)", {"objective/kl": "L_KL"}),
    Panel("Adversarial", "L_GAN, cross-entropy (4.3.2)", {"objective/adversarial": "L_GAN"}),
    Panel("Losses", "of each network, after clipping", _of_networks("loss")),
    Panel(
        "Discriminator",
        "its probability that a picture is film",
        {
            "discriminator/real": "frames",
            "discriminator/reconstructed": "reconstructions",
            "discriminator/sampled": "samples",
        },
        (0.0, 1.0),
    ),
    Panel("Gradients", "their norms", _of_networks("gradient_norm")),
    Panel("Clipped", "share of steps outside the range (6.2)", _of_networks("clipped"), (0.0, 1.0)),
    Panel(
        "Latent codes",
        "mean |μ|; 0 where they carry nothing",
        {"latent/mean_magnitude": "|μ|"},
    ),
    Panel(
        "Spread",
        "of reconstructions; 0 where all look alike",
        {"reconstruction/spread": "spread"},
    ),
    Panel("Noise", "its standard deviation (4.5.1)", {"noise_std": "noise"}),
    Panel("Speed", "frames a second", {"time/frames_per_second": "frames/s"}),
)
# Counts of steps, and what has meaning for the machine alone.
NOT_DRAWN = {"step", "epoch", "skipped", "time/checkpoint_seconds"}


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl``; a last one cut short is left out, what is not finite null."""
    lines = []
    for text in path.read_text().splitlines() if path.exists() else ():
        try:
            line = json.loads(text, parse_constant=lambda _: None)
        except ValueError:
            continue
        if isinstance(line, dict) and isinstance(line.get("step"), int):
            lines.append(line)
    return lines


def epoch_ends(lines: list[dict[str, Any]]) -> dict[int, int]:
    """The last step of each epoch, by its number from 1."""
    return {line["epoch"]: line["step"] for line in lines if "epoch" in line}


def draw(lines: list[dict[str, Any]]) -> list[str]:
    """All charts as HTML figures; metrics that no panel knows get a panel of their own."""
    known = {key for panel in PANELS for key in panel.labels}
    new = sorted({key for line in lines for key in line} - known - NOT_DRAWN)
    panels = [*PANELS, *(Panel(key.replace("_", " "), "", {key: key}) for key in new)]
    charts = (_chart(panel, lines) for panel in panels)
    return [chart for chart in charts if chart]


def _chart(panel: Panel, lines: list[dict[str, Any]]) -> str:
    """One panel as an HTML figure; empty where nothing of it was measured."""
    curves = {}
    for key, label in panel.labels.items():
        points = [(line["step"], line.get(key)) for line in lines]
        if any(_is_number(value) for _, value in points):
            curves[label] = _thin(points)
    if not curves:
        return ""
    last = max(line["step"] for line in lines)
    values = [value for points in curves.values() for _, value in points if value is not None]
    axis = _Axis(values, panel.limits)

    def x(step):
        return LEFT + (WIDTH - LEFT - RIGHT) * step / last

    def y(value):
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * axis.position(value)

    svg = [*_epoch_marks(epoch_ends(lines), x), *_grid(axis, y), *_steps(last, x)]
    for index, points in enumerate(curves.values()):
        svg.append(f'<path class="curve c{index % COLOURS}" d="{_path(points, x, y)}"/>')
    svg.append(f'<line class="readout" y1="{TOP}" y2="{HEIGHT - BOTTOM}" hidden=""/>')
    told = "; ".join(_tell(label, points) for label, points in curves.items())
    legend = "".join(
        f'<span class="key c{index % COLOURS}">{escape(label)}<b></b></span>'
        for index, label in enumerate(curves)
    )
    data = {
        "x": [[step for step, _ in points] for points in curves.values()],
        "y": [[value for _, value in points] for points in curves.values()],
        "left": LEFT, "right": WIDTH - RIGHT, "last": last,
    }  # fmt: skip
    return (
        f'<figure class="chart" data-points="{escape(json.dumps(data))}">'
        f'<h3>{escape(panel.title)}</h3><p class="note">{escape(panel.note)}'
        f"{', logarithmic' if axis.logarithmic else ''}</p>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" '
        f'aria-label="{escape(f"{panel.title} over {last} steps: {told}")}">'
        f'{"".join(svg)}</svg><figcaption aria-live="polite">{legend}<output></output></figcaption>'
        "</figure>"
    )


class _Axis:
    """A vertical axis that holds all values: where each lies, from 0 to 1, and its ticks."""

    def __init__(self, values: list[float], limits: tuple[float, float] | None):
        low, high = limits or (min(values), max(values))
        self.logarithmic = not limits and low > 0 and math.log10(high / low) > DECADES
        if self.logarithmic:
            self.low, self.high = math.log10(low), math.log10(high)
            first, last = math.floor(self.low), math.ceil(self.high)
            ticks = [10.0**power for power in range(first, last + 1)]
            if last - first < 3:
                ticks = sorted(factor * tick for tick in ticks for factor in (1, 2, 5))
            every = max(1, round(len(ticks) / 6)) if last - first >= 3 else 1
            self.ticks = [t for t in ticks[::every] if self.low <= math.log10(t) <= self.high]
            return
        if not limits:
            low = min(0.0, low)
            high = high if high > low else low + 1
        step = _nice((high - low) / 4)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        self.ticks = [number * step for number in range(first, last + 1)]
        self.low, self.high = self.ticks[0], self.ticks[-1]

    def position(self, value: float) -> float:
        """0 at the bottom, 1 at the top."""
        value = math.log10(value) if self.logarithmic else value
        return (value - self.low) / (self.high - self.low)


def _nice(size: float) -> float:
    """The round number, 1, 2 or 5 times a power of ten, next above."""
    power = 10.0 ** math.floor(math.log10(size))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= size * 0.999)


def _grid(axis: _Axis, y) -> list[str]:
    parts = []
    for tick in axis.ticks:
        at = f"{y(tick):.1f}"
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at}" y2="{at}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 6}" y="{at}" dy="4">{_short(tick)}</text>')
    return parts


def _steps(last: int, x) -> list[str]:
    every = max(1, _nice(last / 4))
    parts = []
    for number in range(int(last / every) + 1):
        step = number * every
        parts.append(
            f'<text class="tick middle" x="{x(step):.1f}" y="{HEIGHT - BOTTOM + 15}">'
            f"{_short(step)}</text>"
        )
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*parts, f'<text class="tick middle" x="{middle}" y="{HEIGHT - 4}">step</text>']


def _epoch_marks(ends: dict[int, int], x) -> list[str]:
    """A line where each epoch ends, and as many of their numbers as there is room for."""
    parts, free, start = [], 0.0, 0
    for epoch, end in ends.items():
        middle, start = x((start + end) / 2), end
        parts.append(
            f'<line class="epoch" x1="{x(end):.1f}" x2="{x(end):.1f}" y1="{TOP}" '
            f'y2="{HEIGHT - BOTTOM}"/>'
        )
        label = f"epoch {epoch}" if epoch == min(ends) else str(epoch)
        width = 6.2 * len(label)
        if middle - width / 2 >= free:
            parts.append(f'<text class="tick middle" x="{middle:.1f}" y="{TOP - 8}">{label}</text>')
            free = middle + width / 2 + 8
    return parts


def _thin(points: list[tuple[int, Any]]) -> list[tuple[int, float | None]]:
    """Means of neighbours where there are more than ``POINTS``; null where all of them are."""
    count = math.ceil(len(points) / POINTS)
    thinned = []
    for start in range(0, len(points), count):
        part = points[start : start + count]
        values = [float(value) for _, value in part if _is_number(value)]
        thinned.append((part[-1][0], sum(values) / len(values) if values else None))
    return [(step, None if value is None else float(f"{value:.5g}")) for step, value in thinned]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _path(points, x, y) -> str:
    """The curve, interrupted where there is no value; one value alone becomes a dot."""
    words, drawing = [], False
    for index, (step, value) in enumerate(points):
        if value is None:
            drawing = False
            continue
        words.append(f"{'L' if drawing else 'M'}{x(step):.1f} {y(value):.1f}")
        alone = not drawing and (index + 1 == len(points) or points[index + 1][1] is None)
        words += ["h0.1"] if alone else []
        drawing = True
    return "".join(words)


def _tell(label: str, points) -> str:
    values = [value for _, value in points if value is not None]
    return f"{label} from {_short(values[0])} to {_short(values[-1])}"


def _short(value: float) -> str:
    """A number for a tick: 0.02, 1.5, 12, 1,200, 20k, 1e-06."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"
