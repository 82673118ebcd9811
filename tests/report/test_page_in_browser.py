"""The page in Chromium: it plays, its shots, charts and grids answer to mouse and keys."""

import base64
import dataclasses
import io
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser import check_widths
from tests.film.films import numbers
from tests.report.runs_to_report import (
    CUTS,
    FRAMES,
    RATE,
)
from vae_gan_jax.report import report_page


@pytest.fixture
def opened(browser, page, config):
    """The page in the browser with its film loaded; the console must stay empty."""
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
    """The number of the visible frame, read from the left half of the picture."""
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


def test_the_player_plays_the_whole_film_with_sound(opened):
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
    check_widths(opened, width)


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
