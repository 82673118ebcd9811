"""Charts of the training metrics: the positions of curves, ticks and labels in an SVG."""

import math
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.ticker import LogLocator, MaxNLocator

from vae_gan_jax.run import damaged_json

MAX_POINTS = 400  # of a curve; with more lines, each point is the mean of several
PLOT = {"width": 420, "height": 236, "left": 46, "right": 410, "top": 26, "bottom": 202}
LOG_AXIS_DECADES = 1.2  # an axis whose values span more decades is logarithmic
EPOCH_LABEL_WIDTH = 45
NETWORKS = ("encoder", "decoder", "discriminator")


class Panel(NamedTuple):
    """A chart of metrics that share a unit: the label of each curve by its key, three at most.

    ``limits`` are those of the vertical axis; default: of the values.
    """

    title: str
    note: str
    labels: dict[str, str]
    limits: tuple[float, float] | None = None


def _networks(prefix: str) -> dict[str, str]:
    return {f"{prefix}/{network}": network for network in NETWORKS}


KINDS = {"real": "frames", "reconstructed": "reconstructions", "sampled": "samples"}
PANELS = (
    Panel("Learned similarity", "L_like (4.3.3); 0 is equal", {"objective/similarity": "L_like"}),
    Panel("KL divergence", "L_KL, from codes to the prior (4.3.1)", {"objective/kl": "L_KL"}),
    Panel("Adversarial", "L_GAN, cross-entropy (4.3.2)", {"objective/adversarial": "L_GAN"}),
    Panel("Losses", "of each network, after clipping", _networks("loss")),
    Panel("Discriminator", "probability that a picture is real",
          {f"discriminator/{kind}": label for kind, label in KINDS.items()}, (0.0, 1.0)),
    Panel("Gradients", "gradient norms", _networks("gradient_norm")),
    Panel("Clipped", "fraction of steps outside the range (6.2)", _networks("clipped"), (0.0, 1.0)),
    Panel("Latent codes", "mean |μ|; 0 if unused", {"latent/mean_magnitude": "|μ|"}),
    Panel("Spread", "of reconstructions; 0 if all are equal", {"reconstruction/spread": "spread"}),
    Panel("Noise", "standard deviation (4.5.1)", {"noise_std": "noise"}),
    Panel("Speed", "frames per second", {"time/frames_per_second": "frames/s"}),
)  # fmt: skip
HIDDEN = {"step", "epoch", "skipped", "time/checkpoint_seconds"}


def read(path: Path) -> list[dict[str, Any]]:
    """The lines of ``metrics.jsonl`` as numbers by key; damaged lines and values are left out."""
    lines = []
    for text in path.read_text(errors="replace").splitlines() if path.is_file() else ():
        content = damaged_json.parse(text)
        line = damaged_json.numbers(content) if isinstance(content, dict) else {}
        if isinstance(line.get("step"), int) and line["step"] >= 0:
            if not isinstance(line.get("epoch"), int):
                line.pop("epoch", None)
            lines.append(line)
    return lines


def epoch_ends(lines: list[dict[str, Any]]) -> dict[int, int]:
    """The last step of each epoch, by the epoch's number from 1."""
    return {line["epoch"]: line["step"] for line in lines if "epoch" in line}


def draw(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """What ``curves.html`` needs: a chart per panel, and per metric that no panel names."""
    known = {key for panel in PANELS for key in panel.labels}
    others = sorted({key for line in lines for key in line} - known - HIDDEN)
    panels = [*PANELS, *(Panel(key.replace("_", " "), "", {key: key}) for key in others)]
    size = max(1, math.ceil(len(lines) / MAX_POINTS))
    blocks = [lines[start : start + size] for start in range(0, len(lines), size)]
    last = max([1, *(line["step"] for line in lines)])
    charts = [_chart(panel, blocks, last) for panel in panels]
    return {
        "plot": PLOT,
        "charts": [chart for chart in charts if chart],
        "lines_per_point": size,
        "steps": [(_x(step, last), _short(step)) for step in _step_ticks(last)],
        "epochs": _epochs(epoch_ends(lines), last),
    }


def _chart(panel: Panel, blocks: list[list[dict[str, Any]]], last: int) -> dict[str, Any] | None:
    """One chart; None if none of its metrics has a value."""
    curves = {}
    for key, label in panel.labels.items():
        values = [_mean([line[key] for line in block if line.get(key) is not None])
                  for block in blocks]  # fmt: skip
        if any(value is not None for value in values):
            curves[label] = values
    if not curves:
        return None
    axis = _Axis([v for values in curves.values() for v in values if v is not None], panel.limits)
    steps = [block[-1]["step"] for block in blocks]
    x = [_x(step, last) for step in steps]
    return {
        "title": panel.title,
        "note": panel.note + (", logarithmic" if axis.is_log else ""),
        "summary": f"{panel.title} over {last} steps: "
        + "; ".join(_summary(label, values) for label, values in curves.items()),
        "ticks": [(axis.y(tick), _short(tick)) for tick in axis.ticks],
        "curves": [(label, _path(x, values, axis)) for label, values in curves.items()],
        "data": {"step": steps, "x": x, "values": list(curves.values())},
    }


class _Axis:
    """A vertical axis that holds all values."""

    def __init__(self, values: list[float], limits: tuple[float, float] | None):
        low, high = limits or (min(values), max(values))
        decades = math.log10(high) - math.log10(low) if low > 0 else 0
        self.is_log = limits is None and decades > LOG_AXIS_DECADES
        if self.is_log:
            locator = LogLocator(subs=(1, 2, 5) if decades < 2 else (1,), numticks=7)
            self.ticks = [tick for tick in locator.tick_values(low, high) if low <= tick <= high]
        else:
            low, high = limits or (min(0.0, low), high if high > min(0.0, low) else low + 1)
            self.ticks = MaxNLocator(5, steps=(1, 2, 5, 10)).tick_values(low, high)
            low, high = self.ticks[0], self.ticks[-1]
        self._low, self._high = self._scaled(low), self._scaled(high)

    def _scaled(self, value: float) -> float:
        return math.log10(value) if self.is_log else value

    def y(self, value: float) -> float:
        """The vertical position of a value in the SVG."""
        height = (self._scaled(value) - self._low) / (self._high - self._low)
        return round(float(PLOT["bottom"] - (PLOT["bottom"] - PLOT["top"]) * height), 1)


def _x(step: float, last: int) -> float:
    return round(float(PLOT["left"] + (PLOT["right"] - PLOT["left"]) * step / last), 1)


def _step_ticks(last: int) -> list[float]:
    ticks = MaxNLocator(4, steps=(1, 2, 5, 10), integer=True).tick_values(0, float(last))
    return [tick for tick in ticks if tick <= last]


def _epochs(ends: dict[int, int], last: int) -> list[tuple[float, float, str]]:
    """Where each epoch ends, where its middle is, and its label if there is room for one."""
    every = max(1, math.ceil(len(ends) * EPOCH_LABEL_WIDTH / (PLOT["right"] - PLOT["left"])))
    marks, start = [], 0
    for index, (epoch, end) in enumerate(ends.items()):
        label = "" if index % every else str(epoch) if index else f"epoch {epoch}"
        marks.append((_x(end, last), _x((start + end) / 2, last), label))
        start = end
    return marks


def _mean(values: list[float]) -> float | None:
    """The mean to five digits, which is what the page shows; None without values."""
    return float(f"{sum(values) / len(values):.5g}") if values else None


def _path(x: list[float], values: list[float | None], axis: _Axis) -> str:
    """An SVG path that is interrupted where there is no value; a single value becomes a dot."""
    commands, pen = [], "M"
    for position, value in zip(x, values, strict=True):
        if value is None:
            pen = "M"
            continue
        commands.append(f"{pen}{position} {axis.y(value)}" + ("h0" if pen == "M" else ""))
        pen = "L"
    return "".join(commands)


def _summary(label: str, values: list[float | None]) -> str:
    numbers = [value for value in values if value is not None]
    return f"{label} from {_short(numbers[0])} to {_short(numbers[-1])}"


def _short(value: float) -> str:
    """A number for a tick: 0.02, 1.5, 12, 1,200, 20k, 1e-06."""
    if abs(value) >= 10_000:
        return f"{value / 1000:g}k"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{float(f'{value:.3g}'):g}"
