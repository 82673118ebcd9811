"""Runs that differ in their seed alone give a row of means and standard deviations."""

import csv
import dataclasses
import itertools
import json
import statistics

import numpy as np
import pytest
from matplotlib.text import Text

from vae_gan_jax.config.flag_text import parse_hold_out
from vae_gan_jax.evaluation import compare
from vae_gan_jax.evaluation.compare_plot import MEASURES
from vae_gan_jax.figures import style
from vae_gan_jax.run.settings import record_settings

PARTIAL = {"collapsed_share", "active_units", "within_shot_variance_share", "psnr_darkest_fifth"}
BANDS = [{"low": 0.0, "high": 256.0, "frames": 48, "psnr": 20.0}]


@pytest.fixture
def comparison(small, tmp_path, capsys):
    """Compares runs with these settings: CSV rows, JSON content, and the printed table."""

    def compare_runs(settings, step=lambda number: 6):
        runs, results = [], []
        for number, (name, changed) in enumerate(settings.items()):
            config = dataclasses.replace(small, film=str(tmp_path / "film.mp4"), **changed)
            run_dir = tmp_path / name
            record_settings(run_dir, dataclasses.replace(config, run_dir=str(run_dir)))
            runs.append(str(run_dir))
            results.append(result(number, step(number), config.hold_out))
        printed = compare.write_comparison(runs, results, tmp_path)
        with (tmp_path / "film.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert (tmp_path / "film.png").stat().st_size > 10_000
        return rows, json.loads((tmp_path / "film.json").read_text()), printed

    return compare_runs


def result(number, step, hold_out):
    """Measures of a run, drawn from its number; one has no value, and two have negative ones."""
    generator = np.random.default_rng(number)
    whole = {measure.key: float(generator.uniform(20, 30)) for measure in MEASURES}
    whole |= {"black_error": None, "psnr_by_brightness": BANDS}
    whole["similarity"] *= -1e-3
    origin = dict.fromkeys(("film", *compare.FILM_KEYS, *compare.SETTINGS), "0")
    parts = {}
    if hold_out:
        some = {key: whole[key] for key in whole.keys() - PARTIAL - {"psnr_by_brightness"}}
        parts = {"learnt": {"frames": 40, **some}, "held_out": {"frames": 8, **some}}
        parts["held_out"]["correlation"] *= -0.1
        parts |= {"gap": some | {"psnr": -1.5}, "hold_out": "10s/60s"}
    size = {"frames": 48, "width": 20, "height": 18}
    names = {"name": "film", "source": "film.mp4", "step": step, "made_from": origin}
    return {**names, **size, "whole": whole, **parts}


def test_mean_and_spread_of_three_seeds_beside_the_runs(comparison):
    rows, content, printed = comparison({f"run{seed}": {"seed": seed} for seed in (0, 1, 7)})
    (mean,) = content["seeds"]
    assert mean["seeds"] == [0, 1, 7]
    assert mean["runs"] == [run["run"] for run in content["runs"]] == ["run0", "run1", "run7"]
    values = [run["whole"]["psnr"] for run in content["runs"]]
    centre, spread = statistics.fmean(values), statistics.stdev(values)
    assert (mean["whole"]["psnr"], mean["deviation"]["whole"]["psnr"]) == (centre, spread)
    assert mean["whole"]["black_error"] is mean["deviation"]["whole"]["black_error"] is None
    assert [row["run"] for row in rows] == ["run0", "run1", "run7", "run0…run7, 3 seeds"]
    assert (float(rows[3]["psnr"]), float(rows[3]["psnr_deviation"])) == (centre, spread)
    assert rows[0]["psnr_deviation"] == rows[3]["black_error"] == ""
    assert f"{centre:.2f} ± {spread:.2f}" in printed
    assert f"{values[0]:.2f} " in printed


def test_only_runs_that_differ_in_the_seed_alone_are_averaged(comparison):
    """Two pairs of seeds; a copy of a seed; another setting; another length of training."""
    settings = {
        "a0": {"seed": 0}, "b0": {"seed": 0, "gamma": 2.0}, "a1": {"seed": 1},
        "b1": {"seed": 1, "gamma": 2.0}, "a1_copy": {"seed": 1},
        "c2": {"seed": 2, "kl_weight": 0.5}, "d3": {"seed": 3},
        "e4": {"seed": 4, "output": "elsewhere.mp4"},
    }  # fmt: skip
    _, content, _ = comparison(settings, step=lambda number: 12 if number == 6 else 6)
    assert [mean["runs"] for mean in content["seeds"]] == [["a0", "a1", "e4"], ["b0", "b1"]]
    alone = {name: settings[name] for name in ("a0", "b1", "c2")}
    rows, content, printed = comparison(alone)
    assert content["seeds"] == []
    assert len(rows) == 3
    assert "±" not in printed


def test_learnt_and_held_out_frames_have_columns_of_their_own(comparison):
    hold_out = parse_hold_out("10s/60s")
    rows, content, printed = comparison(
        {
            "a0": {"seed": 0, "hold_out": hold_out}, "a1": {"seed": 1, "hold_out": hold_out},
            "none": {"seed": 2},
        }
    )  # fmt: skip
    parts = ["whole", "learnt", "held_out", "gap"]
    assert [row["part"] for row in rows] == [*parts, *parts, "whole", *parts]
    assert [row["hold_out"] for row in rows] == [*8 * ["10s/60s"], "", *4 * ["10s/60s"]]
    assert (rows[3]["psnr"], rows[3]["active_units"]) == ("-1.5", "")
    assert "learnt" not in content["runs"][2]
    (mean,) = content["seeds"]
    assert mean["gap"]["psnr"] == -1.5
    assert mean["deviation"]["gap"]["psnr"] == 0
    for words in ("a0, learnt", "a1, held out", "a0…a1, 2 seeds, gap", "-1.50 ± 0.00", "hold out"):
        assert words in printed, words


def test_the_texts_of_the_figure_fit_and_never_overlap(comparison, monkeypatch):
    """All bars of a measure are negative, and some of another; the runs have long names."""
    save, texts = style.save, []

    def measure_texts(figure, path):
        figure.draw_without_rendering()
        for text in figure.findobj(Text):
            if text.get_visible() and text.get_text():
                box = text.get_window_extent()
                assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text.get_text()
                texts.append((text.get_text(), box))
        save(figure, path)

    monkeypatch.setattr(style, "save", measure_texts)
    hold_out = parse_hold_out("10s/60s")
    names = [f"residual_networks_of_256_filters_{seed}" for seed in (0, 1)]
    comparison({name: {"seed": int(name[-1]), "hold_out": hold_out} for name in names})
    assert len(texts) > 9 * (len(MEASURES) - 1)
    for (one, box), (other, other_box) in itertools.combinations(texts, 2):
        assert not box.overlaps(other_box), f"{one} and {other} overlap"
