"""The report: whole in one page, true to what the run holds, and alive in a browser."""

import base64
import dataclasses
import io
import json
import os
import re
import shutil
import typing
from fractions import Fraction
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.film.films import counting_film, numbers, run_ffmpeg
from vae_gan_jax.config import InputError
from vae_gan_jax.film.read import video
from vae_gan_jax.film.write.encode import Encoder
from vae_gan_jax.report import player_film, report_curves, report_page, report_pictures
from vae_gan_jax.run import atomic_io, provenance
from vae_gan_jax.run.settings import record_settings

FRAMES, RATE = 72, 24
CUTS = (0, 25, 30, 61, FRAMES)
NAME = "a <b>film & 'more' 100% #1"  # everything that HTML minds


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A film that counts its frames, with a tone."""
    folder = tmp_path_factory.mktemp("source")
    silent = counting_film(folder / "silent.mp4", count=FRAMES)
    path = folder / f"{NAME}.mp4"
    run_ffmpeg(
        *("-i", silent, "-f", "lavfi", "-i", f"sine=440:duration={FRAMES / RATE}"),
        *("-c:v", "copy", "-c:a", "aac", path),
    )
    return path


def made_from(source) -> dict:
    """The record of a reconstruction, as ``--mode=reconstruct`` makes it."""
    settings = {"trim_start": "", "trim_end": "", "crop": "none", "video_stream": "", "fps": ""}
    film = provenance.film_checksum([source])
    return {"source": str(source), "film": film, "step": 12, "upscale": "", **settings}


@pytest.fixture(scope="module")
def config(small, source, tmp_path_factory):
    """The settings of a run with everything in it; its "reconstruction" is the film's negative."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    config = dataclasses.replace(small, run_dir=str(run_dir), film=str(source), crop="none")
    (run_dir / "films").mkdir(parents=True)
    record_settings(run_dir, config)
    framing = video.Framing(width=config.width, height=config.height, crop="none")
    path = run_dir / "films" / f"{NAME}.mp4"
    with Encoder(path, config.width, config.height, Fraction(RATE), source) as encoder:
        for frames_BHWC in video.decode_blocks(source, framing):
            encoder.write(255 - frames_BHWC)
    provenance.record(run_dir, f"films/{NAME}", made_from(source), [path])
    write_metrics(run_dir)
    for number, name in enumerate(("step_00000003", "epoch_001", "step_00000006", "epoch_002")):
        grid_HWC = np.full((58, 264, 3), 60 * number, np.uint8)
        atomic_io.write(run_dir / "samples" / f"{name}.png", atomic_io.png(grid_HWC))
    figure = atomic_io.png(np.zeros((30, 40, 3), np.uint8))
    atomic_io.write(run_dir / "figures" / f"{NAME}.png", figure)
    write_measures(run_dir)
    return config


def write_metrics(run_dir: Path) -> None:
    lines = [
        {
            "step": step,
            "epoch": 1 + (step > 6),
            "noise_std": 0.5 if step <= 6 else 0.1,
            "loss/encoder": None if step in (4, 5) else 0.2 * step,
            "loss/decoder": 3.0 - 0.1 * step,
            "gradient_norm/encoder": 10.0 ** (step / 4),
            "of <tomorrow>": float(step),
        }
        for step in range(1, 13)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (run_dir / "metrics.jsonl").write_text(text + '{"step": 13, "ep')  # cut short


def write_measures(run_dir: Path, name: str = NAME) -> None:
    shots = [
        {
            "first": first, "stop": stop,
            "start_seconds": first / RATE, "stop_seconds": stop / RATE,
            "still": False,
            "psnr": 20.0 + first / 10, "aligned_retention": None if first == 25 else 0.5,
        }
        for first, stop in pairwise(CUTS)
    ]  # fmt: skip
    bands = [
        {"low": 0, "high": 32, "frames": 12, "psnr": 31.5},
        {"low": 32, "high": 64, "frames": 0, "psnr": None},
    ]
    whole = {
        "psnr": 21.345, "recognised_shot": 0.5, "black_error": None, "psnr_by_brightness": bands
    }  # fmt: skip
    measures = {
        "version": 1, "name": name, "rate": RATE, "frames": FRAMES, "whole": whole, "shots": shots
    }  # fmt: skip
    (run_dir / "measures").mkdir(exist_ok=True)
    (run_dir / "measures" / f"{name}.json").write_text(json.dumps(measures))


@pytest.fixture(scope="module")
def page(config) -> str:
    """The HTML of the report of that run."""
    return report_page.write(config).read_text()


class Reader(HTMLParser):
    """What a page's elements are, and the text of each section."""

    def __init__(self, page):
        super().__init__()
        self.elements, self.texts, self._section = [], {}, ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.elements.append((tag, attributes))
        if tag == "section":
            self._section = attributes["id"]

    def handle_data(self, data):
        self.texts[self._section] = self.texts.get(self._section, "") + data

    def all(self, tag, **attributes):
        """The attributes of all such elements."""
        wanted = attributes.items()
        return [found for name, found in self.elements if name == tag and wanted <= found.items()]


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


def test_names_are_text_wherever_they_stand(page):
    assert "<b>film" not in page
    assert "of <tomorrow>" not in page
    reader = Reader(page)
    assert NAME in reader.texts[""]  # the heading
    assert NAME in reader.texts["measures"]
    assert "of <tomorrow>" in reader.texts["curves"]
    assert NAME in reader.texts["settings"]
    assert all(picture["alt"] for picture in reader.all("img"))


def film_in(page, number=0) -> bytes:
    found = re.search(rf'id="film-{number}-data">([\w+/=]+)</script>', page)
    return base64.b64decode(found[1], validate=True)


def test_the_film_in_the_page_is_the_source_beside_its_reconstruction(page, tmp_path):
    (tmp_path / "film.mp4").write_bytes(film_in(page))
    film = video.probe(tmp_path / "film.mp4")
    assert (film.frames, film.rate, film.audio_streams) == (FRAMES, RATE, 1)
    assert (film.pixel_format, film.matrix) == ("yuv420p", "bt709")
    framing = video.Framing(width=film.width, height=film.height, crop="none")
    frames_THWC = np.stack(list(video.decode(film.path, framing)))
    left_THWC, right_THWC = np.split(frames_THWC, 2, axis=2)
    assert numbers(left_THWC) == list(range(FRAMES))
    assert numbers(255 - right_THWC) == list(range(FRAMES))
    listed = film_list(film.path)
    assert "Constrained Baseline" in listed
    assert "Audio: aac (LC)" in listed


def film_list(path) -> str:
    from vae_gan_jax.film import ffmpeg

    return ffmpeg.output_of(["-hide_banner", "-i", str(path)])[2]


def test_one_layout_of_a_film_is_shown(config, source, tmp_path):
    """Side by side is preferred; a film that is missing, replaced or not recorded is not shown."""
    films = tmp_path / "films"
    films.mkdir()
    config = dataclasses.replace(config, run_dir=str(tmp_path))
    for name, size in (("x", (20, 18)), ("x_side_by_side", (40, 18)), ("x_stacked", (20, 36))):
        with Encoder(films / f"{name}.mp4", *size, Fraction(RATE)) as encoder:
            encoder.write(np.zeros((2, size[1], size[0], 3), np.uint8))

    def recorded(*names, **changes):
        paths = [films / f"{name}.mp4" for name in names]
        provenance.record(tmp_path, "films/x", made_from(source) | changes, paths)
        return player_film.pairs(config)

    assert player_film.pairs(config) == []
    (pair,) = recorded("x", "x_side_by_side", "x_stacked")
    assert (pair.name, pair.layout, Path(pair.film.path).name) == (
        "x",
        "side_by_side",
        "x_side_by_side.mp4",
    )
    (films / "x_side_by_side.mp4").write_bytes(b"replaced")
    (films / "x.mp4").unlink()
    (pair,) = player_film.pairs(config)
    assert (pair.name, pair.layout) == ("x", "stacked")


def test_without_its_source_the_reconstruction_is_shown_alone(config, source, tmp_path):
    config = dataclasses.replace(config, run_dir=str(tmp_path))
    path = tmp_path / "films" / "x.mp4"
    path.parent.mkdir()
    with Encoder(path, 20, 18, Fraction(RATE)) as encoder:
        encoder.write(np.zeros((2, 18, 20, 3), np.uint8))
    for changes in ({"film": "another checksum"}, {"source": "gone.mp4"}):
        provenance.record(tmp_path, "films/x", made_from(source) | changes, [path])
        (pair,) = player_film.pairs(config)
        assert not pair.needs_source
    film = player_film.make(pair, 10**6, path.with_stem("page"))
    assert film.width / film.height == pytest.approx(20 / 18, rel=0.01)
    assert "gone.mp4" in pair.caption


def test_a_film_too_long_for_the_page_lies_beside_it_and_one_in_between_shrinks(config, tmp_path):
    (pair,) = player_film.pairs(config)
    beside = tmp_path / "films" / "x_report.mp4"
    whole = player_film.make(pair, 10**6, beside)
    assert whole.link == ""
    assert len(whole.content) <= 10**6
    assert not list(beside.parent.iterdir())
    seconds = FRAMES / RATE
    kilobits = player_film.AUDIO_KBITS + 70
    smaller = player_film.make(
        pair, int(kilobits * 125 / 0.95 * (seconds + player_film.BUFFER_SECONDS)), beside
    )
    assert smaller.link == ""
    assert smaller.width < whole.width
    linked = player_film.make(pair, 1000, beside)
    assert linked.content is None
    assert linked.link == "films/x_report.mp4"
    assert [path.name for path in beside.parent.iterdir()] == ["x_report.mp4"]
    assert video.probe(beside).frames == FRAMES


def test_curves_are_where_their_axes_say_and_stop_where_there_is_no_value(config):
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


def test_grids_stand_in_the_order_they_were_made_and_the_last_is_shown(page):
    grids = [one for one in Reader(page).all("figure") if "data-label" in one]
    labels = [grid["data-label"] for grid in grids]
    assert labels == ["step 3", "epoch 1, step 6", "epoch 2, step 12"]
    assert ["hidden" in grid for grid in grids] == [True, True, False]
    assert page.index('alt="Samples at step 3"') < page.index('alt="Samples at epoch 1, step 6"')


def test_pictures_keep_to_their_share(tmp_path):
    noise_HWC = np.random.default_rng(0).integers(0, 256, (600, 2000, 3), dtype=np.uint8)
    Image.fromarray(noise_HWC).save(tmp_path / "noise.png")
    image = report_pictures._image(tmp_path / "noise.png", 100_000, "PNG")
    content = base64.b64decode(image["source"].partition("base64,")[2])
    assert len(content) <= 100_000
    with Image.open(io.BytesIO(content)) as picture:
        assert picture.width / picture.height == pytest.approx(10 / 3, rel=0.02)


def test_measures_are_told_with_their_units(page):
    text = re.sub(r"\s+", " ", Reader(page).texts["measures"])
    for words in ("21.34 dB", "50.0%", "0–32", "31.50 dB", "–"):
        assert words in text, words
    assert "still" not in Reader(page).texts["films"]
    assert "32–64" not in text  # no frames, no bar


def test_what_is_missing_is_told_in_a_line_with_its_command(small, tmp_path):
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


def test_nothing_to_report_and_no_place_are_told_in_a_sentence(small, tmp_path):
    config = dataclasses.replace(small, run_dir=str(tmp_path))
    with pytest.raises(InputError, match="nothing to report"):
        report_page.write(config)
    assert not list(tmp_path.iterdir())
    write_metrics(tmp_path)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match=r"report\.html cannot be written"):
        report_page.write(config)


HOSTILE = '<script>alert(\'1\')</script>"><b onload="x">&amp; {{ 7*7 }}'


def test_hostile_keys_names_and_captions_are_text(small, tmp_path):
    """Whatever a run's JSON files hold, no element and no attribute of the page comes from it."""
    values = {"psnr": 21.0, HOSTILE: 1.0}
    measures = {
        "frames": FRAMES, "rate": RATE, "whole": values, "shots": [{"first": 0, "stop": 9} | values]
    }  # fmt: skip
    name = HOSTILE.replace("/", "")
    (tmp_path / "measures").mkdir()
    (tmp_path / "measures" / f"{name}.json").write_text(json.dumps(measures))
    lines = [{"step": step, "epoch": 1, HOSTILE: step} for step in (1, 2)]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    picture = atomic_io.png(np.zeros((9, 16, 3), np.uint8))
    atomic_io.write(tmp_path / "figures" / f"{name}.png", picture)
    config = dataclasses.replace(small, run_dir=str(tmp_path), film=HOSTILE)
    path = tmp_path / "films" / f"{name}.mp4"
    path.parent.mkdir()
    with Encoder(path, 20, 18, Fraction(RATE)) as encoder:
        encoder.write(np.zeros((FRAMES, 18, 20, 3), np.uint8))
    recorded = {"source": HOSTILE, "film": HOSTILE, "step": 1, "upscale": ""}
    recorded |= dict.fromkeys(("trim_start", "trim_end", "crop", "video_stream", "fps"), "")
    provenance.record(tmp_path, f"films/{name}", recorded | {"crop": "none"}, [path])
    reader = Reader(report_page.write(config).read_text())
    assert not reader.all("b", onload="x")
    assert len(reader.all("script")) == 2  # the film's bytes and the page's own
    for section in ("films", "measures", "curves", "settings"):
        assert HOSTILE in reader.texts[section], section
    assert name in reader.texts["figures"]
    (points,) = [
        json.loads(one["data-measures"]) for one in reader.all("div", **{"class": "timeline"})
    ]
    assert set(points["values"]) == {"psnr", HOSTILE}


DAMAGED = (
    "", "{", "null", "[]", "[" * 100_000, '"text"', "{}", "\ud800", "1e999",
    '{"made_from": {}, "files": {}}', '{"made_from": 1, "files": {"films/x.mp4": 1}}',
)  # fmt: skip


def mutations(content: dict, random) -> typing.Iterator[str]:
    """The JSON of an object in which one value anywhere was exchanged or removed."""
    strange = (None, True, -1, 0, 1e300, float("nan"), 10**50, "text", [], {}, [None], {"a": []})
    for _ in range(12):
        copy = json.loads(json.dumps(content))
        parent, keys = copy, list(copy)
        while True:
            key = keys[random.integers(len(keys))]
            child = parent[key]
            inside = (
                list(child)
                if isinstance(child, dict)
                else range(len(child or ()))
                if isinstance(child, list)
                else []
            )
            if not inside or random.random() < 0.3:
                break
            parent, keys = child, inside
        parent[key] = strange[random.integers(len(strange))]
        if random.random() < 0.2:
            del parent[key]
        yield json.dumps(copy)


def test_damaged_files_never_end_in_a_traceback(config, tmp_path, caplog, monkeypatch):
    """Measures, metrics and records that are damaged or foreign are left out of the page."""
    shutil.copytree(config.run_dir, tmp_path / "run")
    config = dataclasses.replace(config, run_dir=str(tmp_path / "run"))
    film = player_film.PlayerFilm(b"film", "", b"poster", 40, 18, FRAMES, 4)
    monkeypatch.setattr(player_film, "make", lambda *_: film)  # encoding would take all the time
    random = np.random.default_rng(0)
    files = [tmp_path / "run" / name for name in (
        f"measures/{NAME}.json", "metrics.jsonl", f"provenance/films/{NAME}.json",
        "provenance/report.json", "provenance/film_checksums.json",
    )]  # fmt: skip
    report_page.write(config)
    for path in files:
        whole = path.read_bytes()
        content = (
            json.loads(whole.splitlines()[0]) if path.suffix == ".jsonl" else json.loads(whole)
        )
        for text in (*DAMAGED, *mutations(content, random)):
            path.write_bytes(text.encode(errors="surrogatepass"))
            assert 'id="samples"' in report_page.write(config, again=False).read_text()
        path.write_bytes(whole)
    (tmp_path / "run" / "samples" / "epoch_002.png").write_bytes(b"\x89PNG damaged")
    labels = Reader(report_page.write(config).read_text()).all("figure")
    assert "epoch 2, step 12" not in [one.get("data-label") for one in labels]
    assert "epoch_002.png is damaged" in caplog.text


# In a browser.


@pytest.fixture(scope="module")
def browser():
    """Chromium without a window. Where there is none, tests are skipped, but not in CI."""
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and chromedriver):
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs chromium and chromedriver for the report's tests")
        pytest.skip("no chromium here")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for option in (
        *("--headless=new", "--disable-dev-shm-usage", "--force-prefers-reduced-motion"),
        "--autoplay-policy=no-user-gesture-required",
    ):
        options.add_argument(option)
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(chromedriver))
    driver.set_script_timeout(20)
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser, page, config):
    """The page in the browser, its film ready; afterwards the console must be empty."""
    open_page(browser, Path(config.run_dir) / "report.html")
    yield browser
    assert browser.get_log("browser") == []


def open_page(browser, path: Path) -> None:
    browser.get(path.as_uri())
    browser.execute_async_script(
        """const [done] = arguments, video = document.querySelector("video");
        if (video.readyState >= 2 || video.error) done();
        video.onloadeddata = video.onerror = () => done();"""
    )


def shown_frame(browser) -> int:
    """The number of the frame that the player shows, read off the left half of its picture."""
    address = browser.execute_async_script(
        """const [done] = arguments, video = document.querySelector("video");
        const read = () => {
          if (video.seeking) return setTimeout(read, 20);
          const canvas = document.createElement("canvas");
          [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
          canvas.getContext("2d").drawImage(video, 0, 0);
          done(canvas.toDataURL("image/png"));
        };
        read();"""
    )
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        frame_HWC = np.asarray(picture.convert("RGB"))
    return numbers([frame_HWC[:, : frame_HWC.shape[1] // 2]])[0]


def test_the_player_has_the_whole_film(opened):
    duration, error = opened.execute_script(
        "const video = document.querySelector('video'); return [video.duration, video.error];"
    )
    assert error is None
    assert duration == pytest.approx(FRAMES / RATE, abs=0.1)
    assert shown_frame(opened) == 0
    sound = opened.execute_async_script(
        """const [done] = arguments, video = document.querySelector("video");
        video.onended = () => done(video.webkitAudioDecodedByteCount);
        video.currentTime = 2;
        video.play();"""
    )
    assert sound > 0


def test_a_click_on_a_shot_shows_its_first_frame(opened):
    bars = opened.find_elements(By.CSS_SELECTOR, ".shots button")
    assert len(bars) == len(CUTS) - 1
    for number in (2, 1, 3, 0):
        bars[number].click()
        assert shown_frame(opened) == CUTS[number]
        assert bars[number].get_attribute("aria-current") == "true"


def test_shots_are_reached_by_keys_and_from_the_table(opened):
    bars = opened.find_elements(By.CSS_SELECTOR, ".shots button")
    assert [bar.get_attribute("tabindex") for bar in bars] == ["0", "-1", "-1", "-1"]
    bars[0].send_keys(Keys.ARROW_RIGHT, Keys.NULL)
    opened.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    focused = opened.switch_to.active_element
    assert focused == bars[2]
    assert focused.get_attribute("aria-label") == "Shot 3, 0:01–0:02: PSNR 23.00 dB"
    focused.send_keys(Keys.ENTER)
    assert shown_frame(opened) == CUTS[2]
    opened.find_element(By.CSS_SELECTOR, ".timeline summary").click()
    opened.find_elements(By.CSS_SELECTOR, ".timeline td button, .timeline th button")[1].click()
    assert shown_frame(opened) == CUTS[1]


def test_another_measure_changes_the_bars(opened):
    def heights():
        bars = opened.find_elements(By.CSS_SELECTOR, ".shots button")
        return [bar.find_element(By.TAG_NAME, "span").size["height"] for bar in bars]

    assert heights() == sorted(heights())
    assert heights()[0] < heights()[-1]
    opened.find_element(By.CSS_SELECTOR, "select").send_keys("Aligned")
    none = opened.find_elements(By.CSS_SELECTOR, ".shots button.none")
    assert [bar.get_attribute("data-shot") for bar in none] == ["1"]


def test_the_slider_changes_the_grid(opened):
    slider = opened.find_element(By.ID, "epoch")
    for keys, label in (
        ((), "epoch 2, step 12"),
        ((Keys.ARROW_LEFT,), "epoch 1, step 6"),
        ((Keys.HOME,), "step 3"),
    ):
        slider.send_keys(*keys) if keys else None
        shown = [
            grid.get_attribute("data-label")
            for grid in opened.find_elements(By.CSS_SELECTOR, ".grids figure")
            if grid.is_displayed()
        ]
        assert shown == [label]
        assert opened.find_element(By.CSS_SELECTOR, ".slider output").text == label


def test_arrow_keys_read_a_chart(opened):
    chart = opened.find_element(By.CSS_SELECTOR, ".chart svg")
    chart.send_keys(Keys.HOME)
    caption = opened.find_element(By.CSS_SELECTOR, ".chart figcaption").text
    assert "step 1" in caption
    assert "encoder 0.2" in caption


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_sticks_out_of_the_page(width, opened):
    metrics = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    opened.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    finally:
        opened.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_linked_film_plays_from_disk(browser, config, tmp_path, monkeypatch):
    monkeypatch.setattr(report_page, "MAX_FILMS_BYTES", 1000)
    shutil.copytree(config.run_dir, tmp_path / "run")
    config = dataclasses.replace(config, run_dir=str(tmp_path / "run"))
    open_page(browser, report_page.write(config))
    address, error = browser.execute_script(
        "const video = document.querySelector('video'); return [video.currentSrc, video.error];"
    )
    assert error is None
    assert address.startswith("file:")
    assert browser.get_log("browser") == []
    browser.find_elements(By.CSS_SELECTOR, ".shots button")[2].click()
    time = browser.execute_script("return document.querySelector('video').currentTime")
    assert time == pytest.approx((CUTS[2] + 0.5) / RATE, abs=1e-3)
