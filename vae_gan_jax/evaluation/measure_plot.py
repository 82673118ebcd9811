"""The measures of a film as a figure: over its time, and by brightness."""

from pathlib import Path
from typing import Any

import numpy as np

from vae_gan_jax.evaluation import summary
from vae_gan_jax.figures import style

POINTS = 2000  # at the most on a line; of a longer film stretches are averaged


def draw(path: str | Path, result: dict[str, Any], frame_T: dict[str, np.ndarray]) -> list[Path]:
    """Writes the figure of a film's measures as PNG and PDF.

    Args:
      path: of the files, without the ending.
      result: what ``evaluate.evaluate`` returns.
      frame_T: measures by frame.

    Returns:
      The paths of the files.
    """
    whole = result["whole"]
    with style.figure(height=7.4) as figure:
        grid = figure.add_gridspec(4, 1, left=0.085, right=0.975, top=0.9, bottom=0.29, hspace=0.4)
        below = figure.add_gridspec(1, 1, left=0.085, right=0.975, top=0.2, bottom=0.045)
        axes = [figure.add_subplot(grid[0])]
        axes += [figure.add_subplot(grid[row], sharex=axes[0]) for row in range(1, 4)]
        _heading(figure, result)
        seconds_T = (
            result["shots"][0]["start_seconds"] + np.arange(result["frames"]) / result["rate"]
        )

        def line(axis, values_T, colour, label):
            axis.plot(
                _averaged(seconds_T), _averaged(values_T), color=style.COLOURS[colour],
                label=label, linewidth=0.8,
            )  # fmt: skip

        axes[0].set_title(f"PSNR, dB — whole: {_text(whole['psnr'], 2)}")
        line(axes[0], frame_T["psnr"], "first", None)
        axes[1].set_title(
            f"likeness, 1 is identity — whole: SSIM {_text(whole['ssim'])}, "
            f"MS-SSIM {_text(whole['ms_ssim'])}, VMAF {_text(whole['vmaf'], 1)} of 100"
        )
        line(axes[1], frame_T["ssim"], "first", "SSIM")
        line(axes[1], frame_T["ms_ssim"], "second", "MS-SSIM")
        if frame_T["vmaf"] is not None:
            line(axes[1], frame_T["vmaf"] / 100, "third", "VMAF / 100")
        axes[1].set_ylim(0, 1)
        axes[2].set_title("movement: mean change from frame to frame, 1/255")
        line(axes[2], frame_T["source_change"], "source", "source")
        line(axes[2], frame_T["output_change"], "second", "reconstruction")
        axes[2].set_ylim(bottom=0)
        _retention(axes[3], result)
        axes[3].set_xlabel("seconds of the film")
        for axis in axes:
            for shot in result["shots"][1:]:
                axis.axvline(
                    shot["start_seconds"], color=style.COLOURS["faint"], linewidth=0.35, zorder=0.5
                )
            axis.set_xlim(seconds_T[0], result["shots"][-1]["stop_seconds"])
            axis.grid(visible=False, axis="x")
            axis.tick_params(axis="x", labelbottom=axis is axes[-1])
        for axis in axes[1:]:
            axis.legend(
                loc="lower right", bbox_to_anchor=(1.0, 0.98), ncols=3, borderaxespad=0,
                handlelength=1.2, columnspacing=1.2,
            )  # fmt: skip
        _by_brightness(figure.add_subplot(below[0]), whole["psnr_by_brightness"])
        return style.save(figure, path)


def _heading(figure, result: dict[str, Any]) -> None:
    whole = result["whole"]
    held = result["excluded"]["still_shots"]
    shots = len(result["shots"])
    figure.text(0.02, 0.975, f"{result['name']}, step {result['step']}", size=style.SIZES["title"])
    figure.text(
        0.02,
        0.947,
        f"{shots} {'shot' if shots == 1 else 'shots'} ({held} without movement)   "
        f"collapsed {_text(whole['collapsed_share'])} of the time   "
        f"active units {whole['active_units']}   "
        f"recognised: shot {_text(whole['recognised_shot'])}, "
        f"half second {_text(whole['recognised_half_second'])}   "
        f"error on black {_text(whole['black_error'], 1)}",
        size=style.SIZES["small"],
    )


def _retention(axis, result: dict[str, Any]) -> None:
    whole = result["whole"]
    axis.set_title(
        f"collapse — whole: R {_text(whole['retention'])}, β {_text(whole['aligned_retention'])}, "
        f"ρ {_text(whole['correlation'])}; shaded: β < {summary.COLLAPSED}"
    )
    kinds = (
        ("retention", "sixth", "retention R"),
        ("aligned_retention", "first", "aligned retention β"),
        ("correlation", "second", "correlation ρ"),
    )
    for name, colour, label in kinds:
        for number, shot in enumerate(result["shots"]):
            value = np.nan if shot[name] is None else shot[name]
            axis.plot(
                [shot["start_seconds"], shot["stop_seconds"]], [value, value],
                color=style.COLOURS[colour], solid_capstyle="butt", linewidth=1.4,
                label=None if number else label,
            )  # fmt: skip
    for shot in result["shots"]:
        beta = shot["aligned_retention"]
        if beta is not None and beta < summary.COLLAPSED:
            axis.axvspan(
                shot["start_seconds"], shot["stop_seconds"], color="#f6dcd0", linewidth=0, zorder=0
            )
    low, high = axis.get_ylim()
    axis.set_ylim(min(low, -0.02), max(high, 1.02))


def _by_brightness(axis, classes: list[dict[str, Any]]) -> None:
    axis.set_title("PSNR, dB, by the brightness of the source's frame, and how many frames", pad=8)
    classes = [row for row in classes if row["frames"]]
    labels = [f"{row['low']:g}–{row['high']:g}" for row in classes]
    values = [row["psnr"] for row in classes]
    bars = axis.bar(labels, values, color=style.COLOURS["first"], width=0.7)
    axis.bar_label(
        bars, [str(row["frames"]) for row in classes], size=style.SIZES["small"], padding=1
    )
    axis.grid(visible=False, axis="x")
    axis.margins(y=0.15)


def _averaged(values_T: np.ndarray) -> np.ndarray:
    """Means of equal stretches, as many as fit a line; a stretch with a NaN is the mean of others.

    Stretches with nothing but NaN are NaN.
    """
    length = -(-len(values_T) // POINTS)
    values_T = np.pad(values_T.astype(float), (0, -len(values_T) % length), constant_values=np.nan)
    known = ~np.isnan(values_T.reshape(-1, length))
    sums = np.where(known, values_T.reshape(-1, length), 0).sum(1)
    return np.where(known.any(1), sums / np.maximum(known.sum(1), 1), np.nan)


def _text(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
