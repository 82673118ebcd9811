"""Comparison of runs: one table and one figure, missing measures, and refusals."""

import csv
import dataclasses
import json
from pathlib import Path

import pytest
from PIL import Image

from tests import runs
from vae_gan_jax import modes
from vae_gan_jax.config import InputError
from vae_gan_jax.evaluation import compare, compare_plot, evaluate
from vae_gan_jax.figures import thesis_figures
from vae_gan_jax.report import report_page
from vae_gan_jax.run import atomic_io, run_folder

pytestmark = pytest.mark.usefixtures("log_closed")


@pytest.fixture
def without_figures(without_figures, monkeypatch):
    """Draws no figure of the comparison either."""
    monkeypatch.setattr(compare_plot, "draw", lambda *_: None)


@pytest.fixture(scope="module")
def two_runs(small, film, frames_THWC, tmp_path_factory):
    """Two runs of one film; only the first has measures."""
    folder = tmp_path_factory.mktemp("runs")
    configs = [
        runs.make(folder / name, small, film, frames_THWC, seed)
        for seed, name in enumerate(("first", "second"))
    ]
    evaluate.evaluate_films(configs[0], again=True)
    run_folder.close_run()
    return configs


def given(*configs, **settings):
    return {"compare": tuple(config.run_dir for config in configs), **settings}


def content_of(config):
    """The measures in the run's folder."""
    path = Path(config.run_dir) / evaluate.FOLDER / "film.json"
    return json.loads(path.read_text())


def test_missing_measures_are_made_and_the_files_agree_with_them(two_runs, monkeypatch, capsys):
    evaluate_films, measured = evaluate.evaluate_films, []

    def count(config, again):
        measured.append(config)
        return evaluate_films(config, again)

    monkeypatch.setattr(evaluate, "evaluate_films", count)
    modes.compare(given(*two_runs), "evaluate")
    assert [config.run_dir for config in measured] == [two_runs[1].run_dir]
    folder = Path(two_runs[0].run_dir).parent / "comparison"
    assert {path.name for path in folder.iterdir()} == {
        "film.csv", "film.json", "film.png", "film.pdf", "film_frames.png", "film_frames.pdf"
    }  # fmt: skip
    content = json.loads((folder / "film.json").read_text())
    assert content["frames"] == 26
    with (folder / "film.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    printed = capsys.readouterr().out
    for row, run, config in zip(rows, content["runs"], two_runs, strict=True):
        whole = content_of(config)["whole"]
        assert run["whole"] == whole
        assert row["run"] == Path(config.run_dir).name
        assert float(row["psnr"]) == whole["psnr"]
        assert f"{whole['psnr']:.2f}" in printed
    assert rows[0]["psnr"] != rows[1]["psnr"]
    modes.compare(given(*two_runs), "evaluate")
    assert len(measured) == 1


@pytest.mark.usefixtures("without_figures")
def test_a_run_with_a_newer_checkpoint_is_measured_again(two_runs, frames_THWC):
    runs.add_checkpoint(two_runs[1], frames_THWC, 2, 12)
    modes.compare(given(*two_runs), "evaluate")
    assert [content_of(config)["step"] for config in two_runs] == [6, 12]


@pytest.mark.usefixtures("without_figures")
def test_settings_of_reconstruction_are_compared_as_measured_unless_given(two_runs, tmp_path):
    """Measures with noise stay, unless the command gives the noise."""
    output = str(tmp_path / "out")
    for settings, noise in (
        ({"reconstruct_noise": 1.0}, 1),
        ({}, 1),
        ({"reconstruct_noise": 0.0}, 0),
    ):
        modes.compare(given(two_runs[0], **settings, output=output), "evaluate")
        content = json.loads((tmp_path / "out" / "film.json").read_text())
        assert [float(run["reconstruct_noise"]) for run in content["runs"]] == [noise]


def test_other_parts_of_a_film_are_refused_before_measuring(
    two_runs, small, film, frames_THWC, tmp_path, monkeypatch
):
    other = runs.make(tmp_path / "other", small, film, frames_THWC, trim_end=0.5)
    monkeypatch.setattr(evaluate, "evaluate_films", lambda *_, **__: pytest.fail("measured"))
    with pytest.raises(InputError, match=r"different films or parts .*--source"):
        modes.compare(given(two_runs[0], other), "evaluate")


def test_an_output_that_cannot_be_a_folder_is_refused_before_measuring(
    two_runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(compare, "_measure", lambda *_: pytest.fail("measured"))
    (tmp_path / "file").touch()
    for output in ("file", "none/folder"):
        with pytest.raises(InputError, match=r"--output=.* cannot be a folder: give"):
            modes.compare(given(*two_runs, output=str(tmp_path / output)), "evaluate")


def test_what_would_be_ignored_or_cannot_be_written_is_refused_before_measuring(
    two_runs, tmp_path, monkeypatch
):
    monkeypatch.setattr(compare, "_measure", lambda *_: pytest.fail("measured"))
    with pytest.raises(InputError, match="--run_dir is not compared: add that run to --compare"):
        modes.compare(given(*two_runs, run_dir=str(tmp_path)), "evaluate")
    monkeypatch.setattr(atomic_io, "is_writable", lambda folder: folder != tmp_path)
    with pytest.raises(InputError, match="new is not writable: give another --output"):
        modes.compare(given(*two_runs, output=str(tmp_path / "new")), "evaluate")


def test_a_folder_that_is_no_run_is_refused(two_runs, tmp_path):
    with pytest.raises(InputError, match="there is no run in"):
        modes.compare({"compare": (two_runs[0].run_dir, str(tmp_path / "nowhere"))}, "evaluate")
    with pytest.raises(InputError, match="is not a run folder"):
        modes.compare({"compare": (two_runs[0].run_dir, str(Path(__file__).parent))}, "evaluate")


def test_labels_of_equal_folder_names_are_paths():
    assert compare.labels(["a/run", "b/other"]) == ["run", "other"]
    assert compare.labels(["a/run", "b/run"]) == ["a/run", "b/run"]


def test_a_run_beside_others_has_them_on_its_page(two_runs, without_figures, tmp_path):
    """The step of ``--mode=all``; the pages of frames are drawn without ``--at`` too."""
    first, second = two_runs
    config = dataclasses.replace(second, compare=(first.run_dir,))
    modes.compare_with_others(config, again=False)
    folder = Path(second.run_dir) / "comparison"
    content = json.loads((folder / "film.json").read_text())
    assert [row["run"] for row in content["runs"]] == ["first", "second"]
    Image.new("RGB", (40, 20)).save(folder / "film_frames.png")
    page = report_page.write(second).read_text()
    assert "Compared with other runs" in page
    assert "film_frames" in page
    assert "Compared with other runs" not in report_page.write(first).read_text()


def test_a_run_that_cannot_be_compared_is_a_warning_after_the_training(
    two_runs, small, film, frames_THWC, tmp_path, caplog
):
    other = runs.make(tmp_path / "other", small, film, frames_THWC, trim_end=0.5)
    config = dataclasses.replace(two_runs[1], compare=(other.run_dir,))
    modes.compare_with_others(config, again=False)
    assert "the page has no comparison: " in caplog.text


@pytest.mark.usefixtures("without_figures")
def test_all_draws_the_comparison_only_when_a_run_has_changed(
    two_runs, frames_THWC, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(thesis_figures, "write", lambda path, *page: drawn.append(path))
    first, second = two_runs
    config = dataclasses.replace(second, compare=(first.run_dir,))
    modes.compare_with_others(config, again=True)
    modes.compare_with_others(config, again=False)
    assert len(drawn) == 1
    path = Path(second.run_dir, "comparison", "film.csv")
    content = path.read_text()
    path.write_text("damaged")
    modes.compare_with_others(config, again=False)
    assert (len(drawn), path.read_text()) == (2, content)
    runs.add_checkpoint(first, frames_THWC, 3, 18)
    modes.compare_with_others(config, again=False)
    assert len(drawn) == 3
    assert path.read_text() != content


def test_all_refuses_a_missing_run_to_compare_with_before_it_trains(two_runs, tmp_path):
    config = dataclasses.replace(two_runs[0], compare=(str(tmp_path / "nowhere"),))
    with pytest.raises(InputError, match="there is no run in"):
        modes.check_output(config, again=False)


@pytest.mark.parametrize("arguments", [["--mode=train"], ["--mode=evaluate", "--seed=-1"]])
def test_bad_input_on_the_command_line_is_one_sentence(arguments, two_runs, program):
    code, stderr = program([*arguments, f"--compare={two_runs[0].run_dir}"])
    assert code == 2
    (sentence,) = stderr.splitlines()
    assert sentence.startswith("vae_gan_jax: --")


def test_a_time_outside_the_film_is_refused_before_anything_is_measured(two_runs, monkeypatch):
    monkeypatch.setattr(evaluate, "load", lambda *_: pytest.fail("measures are read"))
    with pytest.raises(InputError, match=r"--at=0:01:39\.00 lies outside the film"):
        modes.compare(given(*two_runs, at=(99.0,)), "evaluate")


def test_at_shows_frames_of_all_runs(two_runs, without_figures, tmp_path, monkeypatch):
    """One row of the film and one of each run, at the given times."""
    pages = []
    monkeypatch.setattr(thesis_figures, "write", lambda *page: pages.append(page))
    modes.compare(given(*two_runs, at=(0.0, 0.5), output=str(tmp_path / "side")), "evaluate")
    ((path, rows, _, _, labels),) = pages
    assert path == tmp_path / "side" / "film_frames"
    assert labels.rows == ["film", "first", "second"]
    assert [row_BHWC.shape for row_BHWC in rows] == 3 * [(2, 18, 20, 3)]
    source, first, second = (row_BHWC.astype(int) for row_BHWC in rows)
    assert (source != first).any()
    assert (first != second).any()
    larger = [{"width": 20, "height": 18}, {"width": 40, "height": 36}]
    with pytest.raises(InputError, match="frames of different sizes"):
        compare.require_one_size(("a", "b"), larger)
