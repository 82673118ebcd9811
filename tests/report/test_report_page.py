"""The page contains everything that a run holds, needs nothing else, and is written when needed."""

import base64
import dataclasses
import io
import re
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from tests.report.runs_to_report import (
    NAME,
    Reader,
    write_metrics,
)
from vae_gan_jax.config import InputError
from vae_gan_jax.report import report_page, report_pictures


def test_the_page_needs_nothing_but_itself(page, config):
    assert not re.search(r"https?:|//cdn|@import|url\(|<link [^>]*stylesheet", page)
    for tag, attributes in Reader(page).elements:
        for name in ("src", "href", "poster", "srcset", "data", "action"):
            value = attributes.get(name, "")
            inside = value.startswith(("data:", "#")) or not value
            linked = tag == "a" and (Path(config.run_dir) / unquote(value)).exists()
            assert inside or linked, (tag, value[:80])
    policy = Reader(page).all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"]
    assert policy.startswith("default-src 'none';")
    assert "http" not in policy


def test_names_are_escaped_everywhere(page):
    assert "<b>film" not in page
    assert "of <tomorrow>" not in page
    reader = Reader(page)
    assert NAME in reader.texts[""]  # the heading
    assert NAME in reader.texts["measures"]
    assert "of <tomorrow>" in reader.texts["curves"]
    assert NAME in reader.texts["settings"]
    assert all(picture["alt"] for picture in reader.all("img"))


def test_grids_are_in_the_order_of_training_and_the_last_is_visible(page):
    grids = [one for one in Reader(page).all("figure") if "data-label" in one]
    labels = [grid["data-label"] for grid in grids]
    assert labels == ["step 3", "epoch 1, step 6", "epoch 2, step 12"]
    assert ["hidden" in grid for grid in grids] == [True, True, False]
    assert page.index('alt="Samples at step 3"') < page.index('alt="Samples at epoch 1, step 6"')


def test_pictures_are_no_larger_than_allowed(tmp_path):
    noise_HWC = np.random.default_rng(0).integers(0, 256, (600, 2000, 3), dtype=np.uint8)
    Image.fromarray(noise_HWC).save(tmp_path / "noise.png")
    image = report_pictures._image(tmp_path / "noise.png", 100_000, "PNG")
    content = base64.b64decode(image["source"].partition("base64,")[2])
    assert len(content) <= 100_000
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.width / picture.height == pytest.approx(10 / 3, rel=0.02)


@pytest.mark.parametrize("extension", ["mp4", "mov", "mkv"])
def test_an_explorations_film_is_linked_whatever_its_codec(extension, tmp_path):
    folder = tmp_path / "explorations"
    folder.mkdir()
    Image.new("RGB", (9, 9)).save(folder / "walk_0h00m01.50s.png")
    (folder / f"walk_0h00m01.50s.{extension}").touch()
    (shown,) = report_pictures.figures(folder)
    assert shown["links"]["film"] == f"explorations/walk_0h00m01.50s.{extension}"


def test_measures_have_their_units(page):
    text = re.sub(r"\s+", " ", Reader(page).texts["measures"])
    for words in ("21.34 dB", "50.0%", "0–32", "31.50 dB", "–"):
        assert words in text, words
    assert "still" not in Reader(page).texts["films"]
    assert "32–64" not in text  # no frames, no bar


def test_learnt_and_held_out_frames_have_their_own_columns(page):
    text = re.sub(r"\s+", " ", Reader(page).texts["measures"])
    for words in (
        f"{NAME}, learnt", f"{NAME}, held out", f"{NAME}, gap", "23.46 dB", "15.25 dB", "-8.20 dB"
    ):  # fmt: skip
        assert words in text, words


def test_for_missing_sections_the_page_gives_the_command(small, tmp_path):
    write_metrics(tmp_path)
    config = dataclasses.replace(small, run_dir=str(tmp_path))
    reader = Reader(report_page.write(config).read_text())
    assert {one["id"] for one in reader.all("section")} == {"curves", "settings", "missing"}
    for mode in ("reconstruct", "evaluate", "train", "figures", "explore"):
        assert f"--mode={mode} --run_dir={tmp_path}" in reader.texts["missing"]
    assert not reader.all("video")
    assert {one["href"] for one in reader.all("a")} == {"#content", "#curves", "#settings"}


def test_it_is_written_again_only_if_something_changed(small, tmp_path):
    write_metrics(tmp_path)
    config = dataclasses.replace(small, run_dir=str(tmp_path))

    for change, again, expected in (
        (lambda path: None, False, False),
        (lambda path: None, True, True),
        (lambda path: path.write_text("damaged"), False, True),
        (
            lambda path: path.with_name("metrics.jsonl").write_text('{"step": 1, "noise_std": 1}'),
            False,
            True,
        ),
    ):
        path = report_page.write(config)
        change(path)
        before = path.stat().st_mtime_ns
        report_page.write(config, again=again)
        assert (path.stat().st_mtime_ns != before) == expected


def test_nothing_to_report_and_no_place_for_the_page_are_refused(small, tmp_path):
    config = dataclasses.replace(small, run_dir=str(tmp_path))
    with pytest.raises(InputError, match="nothing to report"):
        report_page.write(config)
    assert not list(tmp_path.iterdir())
    write_metrics(tmp_path)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html cannot be written"):
        report_page.write(config)
