"""The live page in Chromium against a server without a model, with a film as its camera."""

import json

import numpy as np
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from tests.browser import check_requests, check_widths
from tests.film.films import run_ffmpeg
from tests.live.fake_live_server import FakeLiveServer
from tests.page_in_browser import (
    WATCH_VIDEO,
    difference,
    drop,
    drop_red,
    is_pressed,
    open_details,
    open_page,
    picture,
    press,
    text,
    until,
    wait_for_video_frames,
)

WIDTH, HEIGHT = 32, 18
MIDI = """navigator.requestMIDIAccess = async () => {
  window.knobs = { name: "Knobs" };
  return { inputs: new Map([["1", window.knobs]]) };
};"""


@pytest.fixture(scope="module")
def camera(tmp_path_factory):
    path = tmp_path_factory.mktemp("camera") / "camera.y4m"
    source = "gradients=s=128x96:r=10:n=6:seed=4:speed=0.15:d=2"
    run_ffmpeg("-f", "lavfi", "-i", source, "-pix_fmt", "yuv420p", path)
    return path


@pytest.fixture
def server():
    with FakeLiveServer(WIDTH, HEIGHT) as server:
        yield server


@pytest.fixture
def page(browser, server):
    """The page at its start; afterwards no error was logged and nothing asked for elsewhere."""
    open_page(browser, server.address)
    browser.execute_script(WATCH_VIDEO)
    yield browser
    browser.execute_script("localStorage.clear()")
    lines = [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]
    # This server has no pictures of shots and does not stay for ever.
    others = ("/shots/", "WebSocket connection")
    assert [line for line in lines if not any(name in line["message"] for name in others)] == []
    check_requests(browser, server.address)


def row(browser, key: str):
    return browser.find_element(By.ID, key).find_element(By.XPATH, "..")


def last(server, kind: str, **fields) -> dict:
    """The next message of a kind with these fields."""

    def found():
        message = server.last(kind)
        return message if message and fields.items() <= message.items() else None

    return until(found)


def frames_so_far(page, server) -> int:
    """How many frames the page has sent; those that still travel arrive first."""
    server.received.clear()
    press(page, "x")
    last(server, "random")
    return len(server.frames)


def test_the_camera_goes_to_the_server_and_its_results_to_the_stage(page, server):
    press(page, "c")
    until(lambda: len(server.frames) > 8)
    assert server.last("source") == {"type": "source", "kind": "page"}
    numbers, captures, seconds = zip(*server.frames, strict=True)
    assert list(numbers) == list(range(1, len(numbers) + 1))
    assert list(captures) == sorted(captures)
    assert np.isnan(seconds).all()
    assert last(server, "shown")["latency_ms"] > 0
    press(page, "f")  # freezes
    count = frames_so_far(page, server)
    until(lambda: difference(picture(page, "input"), 255 - picture(page)) == 0)
    wait_for_video_frames(page, 5)
    assert frames_so_far(page, server) == count
    press(page, "fc")  # goes on, then the only camera is off
    until(lambda: not is_pressed(page, "camera"))


def test_a_slow_server_gets_only_the_newest_frames(page, server):
    press(page, "c")
    until(lambda: server.frames)
    server.is_held = True
    until(lambda: len(server.frames) - server.answered == 2)
    wait_for_video_frames(page, 8)
    count = frames_so_far(page, server)
    assert count - server.answered == 2
    now = page.execute_script("return performance.now()")
    server.is_held = False
    until(lambda: len(server.frames) > count)
    assert server.frames[count][1] > now


def test_a_dropped_film_is_sent_at_its_own_rate(page, server, tmp_path):
    path, rate = tmp_path / "film.webm", 8
    run_ffmpeg("-f", "lavfi", "-i", f"testsrc2=s=64x36:r={rate}:d=30", "-c:v", "libvpx", path)
    drop(page, "film.webm", path.read_bytes(), "video/webm")

    def last_frames():
        """The last twelve frames, if the page missed at most two thirds of the film's."""
        last = server.frames[3:][-12:]
        return last if len(last) == 12 and last[-1][2] - last[0][2] < 3 * 12 / rate else None

    _, captured_ms, times = zip(*until(last_frames), strict=True)
    assert list(times) == sorted(times)
    assert times[-1] - times[0] > 10 / rate  # no frame twice
    assert times[-1] - times[0] < (captured_ms[-1] - captured_ms[0]) / 1000 + 0.2


def test_a_slider_changes_the_stage_at_once(page, server):
    press(page, "c")
    until(lambda: len(server.frames) > 2)
    slider = page.find_element(By.ID, "blend_1/amount")
    slider.send_keys(Keys.END)
    assert last(server, "set")["value"] == 1
    until(lambda: (picture(page) == 255).all())
    number = row(page, "blend_1/amount").find_element(By.CSS_SELECTOR, "input[type=number]")
    assert number.get_attribute("value") == "1"
    number.clear()
    number.send_keys("0.25", Keys.ENTER)
    assert last(server, "set", value=0.25)["id"] == "blend_1"
    server.tell({"type": "set", "id": "blend_1", "parameter": "amount", "value": 0.75})
    until(lambda: slider.get_attribute("value") == "0.75")


def test_curves_options_and_structure_are_asked_for(page, server):
    direction = row(page, "direction_1/amount")
    direction.find_element(By.CSS_SELECTOR, "button").click()
    assert "OSC /direction_1/amount" in direction.text
    direction.find_element(By.CSS_SELECTOR, ".extra select").send_keys("sound: onsets")
    curve = {"sound": "onsets", "from": -3, "to": 3}
    assert last(server, "set", id="direction_1")["curve"] == curve
    smooth = {"sound": "onsets", "from": 0, "to": 1, "smooth": 0.3}
    changed = {"type": "set", "id": "direction_1", "parameter": "amount", "value": None}
    server.tell(changed | {"curve": smooth})
    end = direction.find_elements(By.CSS_SELECTOR, ".extra input[type=number]")[1]
    until(lambda: end.get_attribute("value") == "1")
    end.clear()
    end.send_keys("2", Keys.ENTER)
    last(server, "set", curve=smooth | {"to": 2})
    assert "driven" in direction.get_attribute("class")
    component = direction.find_element(By.CSS_SELECTOR, ".options input")
    component.clear()
    component.send_keys("5", Keys.ENTER)
    assert last(server, "options") == {
        "type": "options", "id": "direction_1", "options": {"component": 5}
    }  # fmt: skip
    bend = row(page, "rotate_1/degrees").find_element(By.XPATH, "..")
    features = bend.find_elements(By.CSS_SELECTOR, ".options select")[1]
    features.send_keys("cluster")
    assert last(server, "options", id="rotate_1")["options"]["features"] == {"cluster": 1}
    groups = page.find_elements(By.CSS_SELECTOR, ".group")
    assert [group.text.split("\n")[0] for group in groups] == [
        "Latent code", "Network bending", "Picture", "Models: demo and other",
    ]  # fmt: skip
    groups[1].find_element(By.CSS_SELECTOR, "p.line > select").send_keys("bend rotate")
    added = last(server, "add")
    assert added["control"] == "bend_rotate"
    assert added["options"] == {"layer": "decoder/residual_2"}
    server.tell(server.state | {"compiling": True})
    until(lambda: "being compiled" in text(page, "message"))
    server.tell(server.state)
    until(lambda: text(page, "message") == "")
    groups[2].find_elements(By.CSS_SELECTOR, ":scope > p.line > button")[1].click()
    assert last(server, "random") == {"type": "random", "id": "blend_1"}
    press(page, "0")
    assert last(server, "reset") == {"type": "reset"}


def test_the_map_and_the_shots_choose_moments(page, server):
    place = page.find_element(By.ID, "map")
    width, height = place.size["width"], place.size["height"]
    ActionChains(page).move_to_element_with_offset(
        place, width // 4, -height // 4
    ).click().perform()
    point = last(server, "point")
    assert point["x"] == pytest.approx(0.5 + 0.25 / 0.92, abs=0.02)
    assert point["y"] == pytest.approx(0.5 + 0.25 / 0.92, abs=0.02)
    place.send_keys(Keys.ARROW_LEFT)
    assert until(lambda: server.last("point") != point and server.last("point"))["x"] < point["x"]
    shots = page.find_elements(By.CSS_SELECTOR, "#shots button")
    shots[0].send_keys(Keys.ARROW_RIGHT, Keys.NULL)
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert last(server, "go")["time"] == 6.0  # the middle of the second shot
    press(page, "l")
    until(lambda: server.last("source") == {"type": "source", "kind": "film"})
    until(lambda: is_pressed(page, "film"))
    shots[2].click()
    assert last(server, "go", time=8.0)  # its start: the film plays on from there


def test_presets_are_loaded_by_keys_saved_and_dropped(page, server):
    press(page, "2")
    assert last(server, "load") == {"type": "load", "name": "calm", "seconds": 2}
    name = page.find_element(By.ID, "preset-name")
    name.send_keys("storm")
    assert text(page, "save-button") == "Replace"
    name.send_keys("y 1", Keys.ENTER)  # the digit is text here
    assert last(server, "save") == {"type": "save", "name": "stormy 1", "replace": False}
    assert server.last("load")["name"] == "calm"
    page.find_element(By.ID, "shipped").send_keys("riso")
    assert last(server, "load", name="riso")
    drop(page, "found.yaml", b"controls: []\n", "")
    assert last(server, "load_text")["text"] == "controls: []\n"


def test_the_page_hears_the_microphone_and_records_it(page, server):
    open_details(page)
    page.find_element(By.ID, "record-sound").send_keys("what the page hears")
    press(page, "r")
    until(lambda: "The page hears nothing" in text(page, "message"))
    page.find_element(By.ID, "hear").send_keys("the microphone")
    until(lambda: (server.last("sound") or {}).get("loudness", 0) > 0.2)  # it beeps
    levels = [message for message in server.received if message["type"] == "sound"]
    assert all(0 <= levels[-1][name] <= 1 for name in ("onsets", "low", "mid", "high"))
    page.find_element(By.ID, "record").click()
    until(lambda: text(page, "record") == "Stop")
    assert last(server, "record") == {"type": "record", "on": True, "sound": "page"}
    until(lambda: server.sound)
    page.find_element(By.ID, "record").click()
    assert last(server, "record", on=False)
    assert server.sound.startswith(b"\x1a\x45\xdf\xa3")  # WebM


def test_a_knob_moves_the_slider_that_learnt_it_after_a_reload_too(page, server):
    page.execute_script(MIDI)
    press(page, "m")
    until(lambda: "Move a slider" in text(page, "message"))
    page.find_element(By.ID, "direction_2/amount").send_keys(Keys.ARROW_RIGHT)
    turn = "knobs.onmidimessage({ data: [0xb0, 7, arguments[0]] })"
    page.execute_script(turn, 127)
    assert last(server, "set", id="direction_2", value=3)
    script = page.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": MIDI})
    page.refresh()
    until(lambda: page.execute_script("return Boolean(window.knobs?.onmidimessage)"))
    page.execute_script(turn, 0)
    assert last(server, "set", id="direction_2", value=-3)
    page.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", script)


def test_without_camera_midi_and_microphone_there_are_sentences(page):
    page.execute_script(
        """const fail = async () => { throw new DOMException("", "NotFoundError"); };
        navigator.mediaDevices.getUserMedia = fail;
        navigator.requestMIDIAccess = undefined;"""
    )
    press(page, "c")
    until(lambda: text(page, "message") == "The camera cannot be used: there is none.")
    press(page, "m")
    until(lambda: text(page, "message").startswith("MIDI cannot be used: this browser has no Web"))
    open_details(page)
    page.find_element(By.ID, "hear").send_keys("the microphone")
    until(lambda: text(page, "message") == "The microphone cannot be used: there is none.")
    page.execute_script("Object.defineProperty(navigator, 'mediaDevices', { value: undefined })")
    page.find_element(By.ID, "hear").send_keys(Keys.ARROW_DOWN)
    until(lambda: "microphone cannot be used: browsers offer it only" in text(page, "message"))


def test_frames_travel_as_webp_or_uncompressed_with_a_sentence(page, server):
    open_page(page, server.address + "?picture=webp")
    press(page, "c")
    until(lambda: len(server.formats) > 2)
    assert server.last("format")["picture"] == "webp"
    assert set(server.formats) == {2}
    press(page, "f")
    until(lambda: difference(picture(page, "input"), 255 - picture(page)) < 8)
    press(page, "f")
    page.execute_script("HTMLCanvasElement.prototype.toBlob = (done) => done(new Blob(['no']))")
    until(lambda: server.formats[-1] == 0)
    assert "cannot write WebP" in text(page, "message")


def test_picture_and_controls_stay_through_a_restart_of_the_server(page, server):
    meter = {"type": "meter", "rate": 24.0, "latency_ms": None, "dropped": 0, "pages": 1}
    server.tell(meter | {"seconds": 60.0})
    page.find_element(By.ID, "direction_2/amount").send_keys(Keys.END)
    drop_red(page)
    until(lambda: (picture(page) == (55, 215, 165)).all())
    server.__exit__()
    until(lambda: "does not answer" in text(page, "message"))
    with FakeLiveServer(WIDTH, HEIGHT, server.port) as again:
        until(lambda: again.frames)
        assert again.last("source") == {"type": "source", "kind": "page"}
        until(lambda: text(page, "message") == "Connected again.")
        again.tell(meter | {"seconds": 1.0})
        controls = json.loads(last(again, "load_text")["text"])["controls"]
        assert controls[1] == {"control": "direction", "component": 2, "amount": 3}
        assert controls[6]["features"] == {"share": 0.3, "seed": 4}
        again.received.clear()
        again.tell(meter | {"seconds": 2.0})
        press(page, "x")
        last(again, "random")
        assert again.last("load_text") is None  # once


def test_the_upscaled_stage_keeps_the_colours(page):
    drop_red(page)
    until(lambda: (picture(page) == (55, 215, 165)).all())
    press(page, "v")
    assert text(page, "look") == "Crisp"
    press(page, "v")
    until(lambda: np.abs(picture(page, "upscaled") - (55, 215, 165)).max() <= 1)
    assert picture(page, "upscaled").shape == (4 * HEIGHT, 4 * WIDTH, 3)


def test_keys_reach_every_control_and_nothing_sticks_out(page):
    open_details(page)
    press(page, Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to the controls"
    count, unreachable = page.execute_script(
        """const names = "button, input, select, summary, a[href], canvas#map";
        const nodes = [...document.querySelectorAll(names)].filter((node) =>
          node.checkVisibility() && !node.disabled && !node.closest("#shots"));
        const isReached = (node) =>
          (node.focus(), document.activeElement === node && node.tabIndex === 0);
        const others = nodes.filter((node) => !isReached(node)).map((node) => node.outerHTML);
        return [nodes.length, others];"""
    )
    assert unreachable == []
    assert count > 50
    listed = {key.text.lower() for key in page.find_elements(By.TAG_NAME, "kbd")}
    keys = (
        "return [...document.querySelectorAll('[aria-keyshortcuts]')].map(e => e.ariaKeyShortcuts)"
    )
    assert listed == {*page.execute_script(keys), "1", "9", "?"}
    check_widths(page, 320, 390, 1400)
