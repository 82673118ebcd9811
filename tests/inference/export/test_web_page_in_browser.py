"""The page of an export in Chromium, with a film as its camera."""

import dataclasses
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import vae_gan_jax
from tests.browser import (
    check_requests,
    check_widths,
    chromium,
    chromium_with_camera,
    served,
)
from tests.film.films import run_ffmpeg
from tests.page_in_browser import (
    RED,
    WATCH_WORKER,
    check_frames,
    difference,
    drop,
    drop_red,
    errors,
    is_pressed,
    open_page,
    picture,
    press,
    still,
    text,
    too_large,
    until,
    watch,
)
from tests.pca_run import save_principal_components
from vae_gan_jax.config import Config
from vae_gan_jax.inference.export import web_page
from vae_gan_jax.inference.export.export import export_run
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.run import run_folder

WIDTH, HEIGHT, FRAMES = 20, 18, 24
MAX_DIFFERENCE = 3.0  # of 255, mean over pixels and channels


@pytest.fixture(scope="module")
def camera(tmp_path_factory) -> Path:
    """A film of 4:3, of which the model sees the middle, in two shots of different frames."""
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    source = f"gradients=s=128x96:r=10:n=6:seed=4:speed=0.15:d={FRAMES / 10}"
    cut = ("-vf", f"negate=enable='gte(n,{FRAMES // 2})'")
    run_ffmpeg("-f", "lavfi", "-i", source, *cut, "-frames:v", FRAMES, "-pix_fmt", "yuv420p", path)
    return path


@pytest.fixture(scope="module")
def config(small, camera, onnxruntime_web, tmp_path_factory) -> Config:
    """A run of residual networks at their start, which are the film's principal components."""
    config = dataclasses.replace(
        small,
        networks="residual",
        width=WIDTH,
        height=HEIGHT,
        crop=f"{WIDTH}:{HEIGHT}",
        z_dim=8,
        film=str(camera),
        run_dir=str(tmp_path_factory.mktemp("runs") / "A_run"),
        web=True,
        onnxruntime_web=str(onnxruntime_web),
    )
    save_principal_components(config)
    return config


@pytest.fixture(scope="module")
def folder(config) -> Path:
    """The export of that run with its page."""
    export_run(config)
    run_folder.close_run()
    return Path(config.run_dir) / "export"


@pytest.fixture(scope="module")
def model(config) -> Model:
    return vae_gan_jax.open(config.run_dir)


@pytest.fixture(scope="module")
def reconstructed_THWC(model) -> np.ndarray:
    """The film as JAX reconstructs it."""
    return model.decode(model.encode_film().mean).astype(np.float32)


@pytest.fixture(scope="module")
def browser(camera):
    with chromium_with_camera(camera) as driver:
        watch(driver, WATCH_WORKER)
        yield driver


@pytest.fixture(scope="module")
def address(folder):
    with served(folder) as address:
        yield address


@pytest.fixture
def opened(browser, address):
    """The page at its start; afterwards no error and no request to elsewhere was logged."""
    open_page(browser, address)
    yield browser
    assert errors(browser) == []
    check_requests(browser, address)


def test_the_canvas_shows_what_jax_reconstructs_of_the_camera(opened, reconstructed_THWC):
    opened.find_element(By.ID, "camera").click()
    until(lambda: picture(opened, "input").any() and picture(opened).any())
    check_frames(opened, reconstructed_THWC, MAX_DIFFERENCE, min_median=3 * MAX_DIFFERENCE)
    assert until(lambda: "frames/s" in text(opened, "speed"))
    assert "WASM, 1 thread · 20×18" in text(opened, "meter")
    assert "cross-origin isolation" in text(opened, "notes")
    press(opened, "c")
    until(lambda: not is_pressed(opened, "camera"))


def test_sliders_move_a_frozen_picture_and_come_back(opened):
    press(opened, "c")
    until(lambda: picture(opened, "input").any())
    press(opened, "f")
    frozen = still(opened)
    slider = opened.find_element(By.ID, "direction0")
    slider.send_keys(Keys.END)
    moved = until(lambda: (now := picture(opened)) is not None and difference(now, frozen) > 3)
    assert moved
    assert "+3.00 σ" in text(opened, "sliders")
    press(opened, "0")
    assert difference(still(opened), frozen) == 0


@pytest.mark.slow
def test_the_walk_and_the_nearest_moment_show_codes_of_the_film(opened, folder, model):
    press(opened, "w")
    first = picture(opened)
    until(lambda: difference(picture(opened), first) > 3)
    press(opened, "w")
    still(opened)
    press(opened, "cn")
    until(lambda: "nearest moment of the film: 0:0" in text(opened, "moment"))
    press(opened, "f")
    shown = still(opened)
    moments_THWC = model.decode(np.load(folder / "codes.npz")["codes"])
    assert min(difference(shown, frame) for frame in moments_THWC) < 1


def test_shots_are_reached_by_keys(opened):
    buttons = opened.find_elements(By.CSS_SELECTOR, "#shots button")
    assert [button.get_attribute("tabindex") for button in buttons[:2]] == ["0", "-1"]
    before = still(opened)
    buttons[0].send_keys(Keys.END)
    opened.switch_to.active_element.send_keys(Keys.ENTER)
    until(lambda: difference(picture(opened), before) > 3)


def test_every_control_has_a_key_or_a_place_in_the_tab_order(opened):
    """Tab reaches all controls but the shots after the first, which arrow keys reach."""
    controls = "button:not([tabindex='-1']):not(:disabled), input:not([hidden]), summary"
    count = len(opened.find_elements(By.CSS_SELECTOR, controls))
    press(opened, Keys.TAB)  # the link that skips to the controls
    reached = set()
    for _ in range(count):
        opened.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(opened.switch_to.active_element)
    assert len(reached) == count >= 8 + 1 + 1 + 8 + 1 + 1
    press(opened, "?")
    listed = {key.text.lower() for key in opened.find_elements(By.TAG_NAME, "kbd")}
    keys = "[...document.querySelectorAll('[aria-keyshortcuts]')].map(e => e.ariaKeyShortcuts)"
    assert listed == {*opened.execute_script(f"return {keys}"), "?"}


def test_a_recording_plays(opened, tmp_path):
    behaviour = {"behavior": "allow", "downloadPath": str(tmp_path)}
    opened.execute_cdp_cmd("Browser.setDownloadBehavior", behaviour)
    press(opened, "cr")
    shown = [picture(opened)]

    def is_another() -> bool:
        shown.append(picture(opened))
        return difference(shown[-1], shown[-2]) > 0

    for _ in range(6):
        until(is_another)
    press(opened, "r")
    (path,) = until(lambda: list(tmp_path.glob("*.webm")))
    until(lambda: path.stat().st_size > 0)
    pixels = run_ffmpeg(
        "-i", path, "-vf", "scale=20:18", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"
    )
    frames_THWC = np.frombuffer(pixels, np.uint8).reshape(-1, HEIGHT, WIDTH, 3)
    assert len(frames_THWC) >= 4
    first_HWC = frames_THWC[0].astype(np.float32)
    assert max(difference(first_HWC, frame_HWC) for frame_HWC in frames_THWC) > 3
    until(lambda: path.name in text(opened, "recording"))


@pytest.mark.slow
def test_dropped_pictures_and_films_are_shown(opened, camera, tmp_path, model):
    frame_HWC = np.full((36, 64, 3), RED, np.uint8)
    drop_red(opened)
    code_BZ = model.encode(frame_HWC[None, :HEIGHT, :WIDTH]).mean
    expected = model.decode(code_BZ)[0].astype(np.float32)
    until(lambda: difference(picture(opened), expected) < 1)
    run_ffmpeg("-i", camera, "-c:v", "libvpx", tmp_path / "film.webm")
    drop(opened, "film.webm", (tmp_path / "film.webm").read_bytes(), "video/webm")
    until(lambda: difference(picture(opened, "input"), frame_HWC[0, 0]) > 3)
    drop(opened, "notes.txt", b"no film", "text/plain")
    until(lambda: text(opened, "message").startswith("notes.txt is neither a film nor a picture"))
    before = picture(opened)
    until(lambda: difference(picture(opened), before) > 1)  # the film goes on


@pytest.mark.slow
def test_a_shared_screen_is_shown_until_it_ends(opened):
    """A canvas stands for the screen: headless Chromium shows no choice of screens."""
    opened.execute_script(
        """const screen = document.createElement("canvas").getContext("2d");
        const draw = () => { screen.fillStyle = "#00c850"; screen.fillRect(0, 0, 300, 150); };
        setInterval(draw, 30);
        window.stream = screen.canvas.captureStream(30);
        navigator.mediaDevices.getDisplayMedia = async () => window.stream;"""
    )
    press(opened, "s")
    until(lambda: np.abs(picture(opened, "input") - (0, 200, 80)).max() < 8)
    opened.execute_script("stream.getTracks()[0].dispatchEvent(new Event('ended'))")
    until(lambda: text(opened, "message") == "The source has ended.")
    assert not is_pressed(opened, "screen")


def test_nothing_sticks_out_of_the_page(opened):
    check_widths(opened, 320, 390, 1400)


@pytest.mark.slow
def test_threads_need_cross_origin_isolation(browser, folder):
    headers = {
        "Cross_Origin_Opener_Policy": "same-origin",
        "Cross_Origin_Embedder_Policy": "require-corp",
    }
    with served(folder, **headers) as address:
        open_page(browser, address)
        threads = min(8, browser.execute_script("return navigator.hardwareConcurrency"))
        assert f"WASM, {threads} thread" in text(browser, "meter")
        assert "isolation" not in text(browser, "notes")
        assert "no WebGPU" in text(browser, "notes")
        assert errors(browser) == []


@pytest.mark.slow
def test_from_the_cdn_with_checksums_and_nothing_else(
    browser, folder, onnxruntime_web, tmp_path, monkeypatch
):
    package = tmp_path / "cdn" / "npm" / web_page.PACKAGE
    shutil.copytree(onnxruntime_web, package / "dist")
    page = shutil.copytree(folder, tmp_path / "page", ignore=shutil.ignore_patterns("ort"))
    with (
        served(tmp_path / "cdn", Access_Control_Allow_Origin="*", Cache_Control="no-store") as cdn,
        served(page) as address,
    ):
        monkeypatch.setattr(web_page, "CDN", cdn.rstrip("/"))
        web_page.write(page, ["film"], web_page.runtime_files(web_page.CDN_WORD))
        assert not (page / "ort").exists()
        open_page(browser, address)
        fetched = "return fetch(arguments[0]).then(() => true, () => false)"
        assert browser.execute_script(fetched, cdn)
        assert not browser.execute_script(fetched, cdn.replace("localhost", "127.0.0.1"))
        (package / "dist" / "ort-wasm-simd-threaded.wasm").write_bytes(b"changed")
        open_page(browser, address, "failed")
        assert text(browser, "message").startswith("ONNX Runtime Web could not be loaded from")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("encoder.onnx", None, "encoder.onnx is missing on the server"),
        ("decoder.onnx", b"damaged", "The model cannot run: "),
        ("decoder.onnx", too_large(8), "MB) does not fit into this browser's memory: close"),
        ("config.json", None, "config.json is missing on the server"),
    ],
)
def test_what_cannot_run_is_said(browser, folder, tmp_path, name, content, sentence):
    page = shutil.copytree(folder, tmp_path / "page", copy_function=os.link)
    (page / name).unlink()
    if content:
        (page / name).write_bytes(content)
    with served(page) as address:
        open_page(browser, address, "failed")
        assert sentence in text(browser, "message")


@pytest.mark.slow
@pytest.mark.parametrize("content", [None, b"damaged"])
def test_without_codes_the_page_goes_on(browser, folder, tmp_path, content):
    page = shutil.copytree(folder, tmp_path / "page", copy_function=os.link)
    (page / "codes.npz").unlink()
    if content:
        (page / "codes.npz").write_bytes(content)
    with served(page) as address:
        open_page(browser, address)
        assert "no sliders, walk and nearest moments: codes.npz is" in text(browser, "notes")
        assert not browser.find_element(By.ID, "walk").is_enabled()
        assert not browser.find_element(By.ID, "directions").is_displayed()
        browser.find_element(By.ID, "camera").click()
        until(lambda: picture(browser).any())


def test_without_camera_or_screen_the_page_goes_on(opened):
    for reason, sentence in (
        ("NotAllowedError", "The camera cannot be used: permission was denied"),
        ("NotFoundError", "The camera cannot be used: there is none."),
    ):
        opened.execute_script(
            """navigator.mediaDevices.getUserMedia =
              () => Promise.reject(new DOMException("", arguments[0]));""",
            reason,
        )
        press(opened, "c")
        until(lambda sentence=sentence: text(opened, "message").startswith(sentence))
    opened.execute_script(
        "Object.defineProperty(navigator, 'mediaDevices', { value: { getDisplayMedia: null } });"
    )
    press(opened, "c")
    until(lambda: "only on https pages and on localhost" in text(opened, "message"))
    press(opened, "s")
    until(lambda: text(opened, "message") == "This browser cannot share a screen.")
    press(opened, "w")
    first = picture(opened)
    until(lambda: difference(picture(opened), first) > 3)


@pytest.mark.slow
def test_webgpu_computes_the_same(folder, address):
    """On Chromium's own implementation of WebGPU, which needs no GPU."""
    shown = []
    options = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader")
    with chromium(*options, "--enable-features=Vulkan") as browser:
        watch(browser, WATCH_WORKER)
        for query, backend in (("", "WebGPU"), ("?backend=wasm", "WASM")):
            open_page(browser, address + query, seconds=120)
            until(lambda: picture(browser).any())
            assert backend in text(browser, "meter")
            shown.append(still(browser))
            assert errors(browser) == []
    assert np.abs(shown[0] - shown[1]).max() <= 1
