"""Charts show the metrics where their axes say."""

import re
from pathlib import Path

import numpy as np
import pytest

from vae_gan_jax.report import report_curves


def test_curves_follow_their_axes_and_stop_at_missing_values(config):
    lines = report_curves.read(Path(config.run_dir) / "metrics.jsonl")
    assert [line["step"] for line in lines] == list(range(1, 13))
    drawn = report_curves.draw(lines)
    charts = {chart["title"]: chart for chart in drawn["charts"]}
    assert set(charts) == {"Losses", "Gradients", "Noise", "of <tomorrow>"}
    for title, key, index in (
        ("Losses", "loss/encoder", 0),
        ("Losses", "loss/decoder", 1),
        ("Gradients", "gradient_norm/encoder", 0),
    ):
        y, value = np.array(
            [(y, float(text.replace(",", ""))) for y, text in charts[title]["ticks"]]
        ).T
        logarithmic = "logarithmic" in charts[title]["note"]
        assert logarithmic == (title == "Gradients")
        value = np.log10(value) if logarithmic else value
        path = charts[title]["curves"][index][1]
        points = np.array(re.findall(r"[ML]([\d.]+) ([\d.]+)", path), float)
        expected = [line[key] for line in lines if line[key] is not None]
        read = np.polyval(np.polyfit(y, value, 1), points[:, 1])
        assert np.allclose(read, np.log10(expected) if logarithmic else expected, atol=0.02)
        assert path.count("M") == (2 if key == "loss/encoder" else 1)
    assert [label for *_, label in drawn["epochs"]] == ["epoch 1", "2"]


@pytest.mark.parametrize(
    "values",
    [[0.0], [5.0, 5.0], [-3.0, -2.0], [1e-300, 1e99], [1e-12, 0.0], [12.0, 180.0], [-1e99, 1e99]],
)
def test_an_axis_holds_all_values_between_its_ends(values):
    lines = [{"step": step, "new": value} for step, value in enumerate(values)]
    (chart,) = report_curves.draw(lines)["charts"]
    heights = [float(y) for y in re.findall(r"[ML][\d.]+ ([-\d.]+)", chart["curves"][0][1])]
    assert len(heights) == len(values)
    assert 2 <= len(chart["ticks"]) <= 8
    for y in [*heights, *(y for y, _ in chart["ticks"])]:
        assert report_curves.PLOT["top"] <= y <= report_curves.PLOT["bottom"]


def test_many_points_are_thinned_to_their_means():
    lines = [{"step": step, "noise_std": step % 4} for step in range(4 * report_curves.MAX_POINTS)]
    (chart,) = report_curves.draw(lines)["charts"]
    assert chart["data"]["values"] == [[1.5] * report_curves.MAX_POINTS]
    assert len(re.findall("[ML]", chart["curves"][0][1])) == report_curves.MAX_POINTS
