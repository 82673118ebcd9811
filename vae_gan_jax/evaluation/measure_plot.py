"""The figure of a film's measures: over time, and by brightness."""

from pathlib import Path
from typing import Any

import numpy as np

from vae_gan_jax.evaluation.summary import COLLAPSED_RETENTION, PARTS, is_collapsed
from vae_gan_jax.figures import style

MAX_POINTS = 2000  # of a curve; curves of longer films show means of several frames
COLLAPSED_COLOUR = "#f6dcd0"


def draw(path: str | Path, result: dict[str, Any], frame_T: dict[str, np.ndarray]) -> None:
    """Writes the figure of a film's measures as PNG and PDF; ``path`` has no extension.

    ``result`` is what ``evaluate.evaluate`` returns, ``frame_T`` the measures of each frame.
    """
    with style.figure(height=7.4) as figure:
        grid = figure.add_gridspec(4, 1, left=0.085, right=0.975, top=0.9, bottom=0.29, hspace=0.4)
        bottom = figure.add_gridspec(1, 1, left=0.085, right=0.975, top=0.2, bottom=0.045)
        axes = [figure.add_subplot(grid[0])]
        axes += [figure.add_subplot(grid[row], sharex=axes[0]) for row in range(1, 4)]
        _heading(figure, result)
        _curves(axes, result, frame_T)
        _retention(axes[3], result)
        _time_axes(axes, result["shots"])
        bands = result["whole"]["psnr_by_brightness"]
        _by_brightness(figure.add_subplot(bottom[0]), bands)
        style.save(figure, path)


def _heading(figure, result: dict[str, Any]) -> None:
    whole, shots = result["whole"], len(result["shots"])
    parts = (
        f"{shots} {'shot' if shots == 1 else 'shots'} "
        f"({result['excluded']['still_shots']} without movement)",
        f"collapsed {_text(whole['collapsed_share'])} of the time",
        f"active units {whole['active_units']}",
        f"recognised: shot {_text(whole['recognised_shot'])}, "
        f"half second {_text(whole['recognised_half_second'])}",
        f"error on black {_text(whole['black_error'], 1)}",
    )
    figure.text(0.02, 0.975, f"{result['name']}, step {result['step']}", size=style.SIZES["title"])
    figure.text(0.02, 0.947, "   ".join(parts), size=style.SIZES["small"])


def _curves(axes, result: dict[str, Any], frame_T: dict[str, np.ndarray]) -> None:
    """PSNR, similarity and movement of each frame."""
    whole, start = result["whole"], result["shots"][0]["start_seconds"]
    seconds_T = _reduce(start + np.arange(result["frames"]) / result["rate"])

    def curve(axis, values_T, colour, label):
        colour = style.COLOURS[colour]
        axis.plot(seconds_T, _reduce(values_T), color=colour, label=label, linewidth=0.8)

    apart = [
        f", {words}: {_text(result[p]['psnr'], 2)}" for p, words in PARTS.items() if p in result
    ]
    axes[0].set_title(f"PSNR, dB — film: {_text(whole['psnr'], 2)}{''.join(apart)}")
    curve(axes[0], frame_T["psnr"], "first", None)
    axes[1].set_title(
        f"similarity, 1 is equal — film: SSIM {_text(whole['ssim'])}, "
        f"MS-SSIM {_text(whole['ms_ssim'])}, VMAF {_text(whole['vmaf'], 1)} of 100"
    )
    curve(axes[1], frame_T["ssim"], "first", "SSIM")
    curve(axes[1], frame_T["ms_ssim"], "second", "MS-SSIM")
    if frame_T["vmaf"] is not None:
        curve(axes[1], frame_T["vmaf"] / 100, "third", "VMAF / 100")
    axes[1].set_ylim(0, 1)
    axes[2].set_title("movement: mean change since the previous frame, 1/255")
    curve(axes[2], frame_T["source_change"], "source", "source")
    curve(axes[2], frame_T["output_change"], "second", "reconstruction")
    axes[2].set_ylim(bottom=0)


def _retention(axis, result: dict[str, Any]) -> None:
    """Retention of each shot as horizontal lines; collapsed shots are shaded."""
    whole = result["whole"]
    axis.set_title(
        f"collapse — film: R {_text(whole['retention'])}, β {_text(whole['aligned_retention'])}, "
        f"ρ {_text(whole['correlation'])}; shaded: β < {COLLAPSED_RETENTION}"
    )
    lines = (
        ("retention", "sixth", "retention R"),
        ("aligned_retention", "first", "aligned retention β"),
        ("correlation", "second", "correlation ρ"),
    )
    spans = [[shot[f"{end}_seconds"] for shot in result["shots"]] for end in ("start", "stop")]
    for name, colour, label in lines:
        values = [np.nan if shot[name] is None else shot[name] for shot in result["shots"]]
        axis.hlines(values, *spans, color=style.COLOURS[colour], linewidth=1.4, label=label)
    for shot in result["shots"]:
        if is_collapsed(shot):
            span = shot["start_seconds"], shot["stop_seconds"]
            axis.axvspan(*span, color=COLLAPSED_COLOUR, linewidth=0, zorder=0)
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, -0.02), max(high, 1.02))


def _time_axes(axes, shots: list[dict[str, Any]]) -> None:
    """Marks the cuts, and adds a legend to each axis that has several curves."""
    for axis in axes:
        for shot in shots[1:]:
            colour = style.COLOURS["faint"]
            axis.axvline(shot["start_seconds"], color=colour, linewidth=0.35, zorder=0.5)
        axis.set_xlim(shots[0]["start_seconds"], shots[-1]["stop_seconds"])
        axis.grid(visible=False, axis="x")
        axis.tick_params(axis="x", labelbottom=axis is axes[-1])
    for axis in axes[1:]:
        axis.legend(
            loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, borderaxespad=0,
            handlelength=1.2, columnspacing=1.2,
        )  # fmt: skip
    axes[-1].set_xlabel("seconds of the film")


def _by_brightness(axis, bands: list[dict[str, Any]]) -> None:
    """Bars of PSNR, labelled with the number of frames."""
    axis.set_title("PSNR, dB, by the brightness of the source frame; number of frames", pad=8)
    bands = [band for band in bands if band["frames"]]
    ticks = [f"{band['low']:g}–{band['high']:g}" for band in bands]
    colour = style.COLOURS["first"]
    bars = axis.bar(ticks, [band["psnr"] for band in bands], color=colour, width=0.7)
    counts = [str(band["frames"]) for band in bands]
    axis.bar_label(bars, counts, size=style.SIZES["small"], padding=1)
    axis.grid(visible=False, axis="x")
    axis.margins(y=0.15)


def _reduce(values_T: np.ndarray) -> np.ndarray:
    """Means of groups of frames, at most ``MAX_POINTS``; NaN only where a whole group is NaN."""
    size = -(-len(values_T) // MAX_POINTS)
    padding = -len(values_T) % size
    groups = np.pad(values_T.astype(float), (0, padding), constant_values=np.nan).reshape(-1, size)
    counts = (~np.isnan(groups)).sum(1)
    return np.where(counts > 0, np.nansum(groups, axis=1) / np.maximum(counts, 1), np.nan)


def _text(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
