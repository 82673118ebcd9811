"""What tests do with a page in Chromium, and a model that is too large for it."""

import base64
import io
import time

import numpy as np
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from selenium.webdriver.common.by import By

SECONDS = 60.0  # until the page has done what it was asked; it takes longer on busy cores
RED = (200, 40, 90)
# Counts what a page has asked its worker without an answer yet.
WATCH_WORKER = """window.unanswered = 0;
const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (...message) {
  if (!this.watched) this.addEventListener("message", () => (unanswered -= 1));
  this.watched = true;
  unanswered += 1;
  return post.apply(this, message);
};"""
# Counts the frames of cameras and films.
WATCH_VIDEO = """window.videoFrames = 0;
const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
HTMLVideoElement.prototype.requestVideoFrameCallback = function (next) {
  return ask.call(this, (...frame) => ((videoFrames += 1), next(...frame)));
};"""


def open_page(browser, address: str, state: str = "ready", seconds=SECONDS) -> None:
    for log in ("browser", "performance"):
        browser.get_log(log)
    browser.get(address)
    script = "return document.body.dataset.state"
    shown = until(lambda: browser.execute_script(script), seconds)
    assert shown == state, text(browser, "message")


def errors(browser) -> list[dict]:
    return [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def until(condition, seconds: float = SECONDS):
    """The first true value of a condition."""
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "the page did not do it"
        time.sleep(0.03)
    return value


def text(browser, name: str) -> str:
    return browser.find_element(By.ID, name).text


def is_pressed(browser, name: str) -> bool:
    """Whether a button that stays pressed is."""
    return browser.find_element(By.ID, name).get_attribute("aria-pressed") == "true"


def open_details(browser) -> None:
    """Opens all parts of the live page's panel."""
    script = "document.querySelectorAll('#panel details').forEach((part) => (part.open = true))"
    browser.execute_script(script)


def press(browser, keys: str) -> None:
    browser.find_element(By.TAG_NAME, "body").send_keys(keys)


def picture(browser, name: str = "output") -> np.ndarray:
    script = "return document.getElementById(arguments[0]).toDataURL('image/png')"
    address = browser.execute_script(script, name)
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as image:
        return np.asarray(image.convert("RGB"), np.float32)


def difference(first, second) -> float:
    return float(np.abs(first - second).mean())


def check_frames(browser, frames_THWC, max_difference: float, min_median: float) -> None:
    """The page shows one of these frames, which can be told apart, and later another one."""
    seen = set()

    def is_another() -> bool:
        shown = picture(browser)
        differences = [difference(shown, frame) for frame in frames_THWC]
        assert min(differences) < max_difference
        assert np.median(differences) > min_median
        seen.add(int(np.argmin(differences)))
        return len(seen) > 1

    until(is_another)


def watch(browser, script: str) -> str:
    """Runs a script at the start of every page from now on; the result is its identifier."""
    added = browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": script})
    return added["identifier"]


def still(browser) -> np.ndarray:
    """The picture as soon as the worker has nothing to do; needs ``WATCH_WORKER``."""
    browser.execute_async_script(
        """const [done] = arguments;
        let idleRepaints = 0;
        const look = () => {
          idleRepaints = unanswered ? 0 : idleRepaints + 1;
          if (idleRepaints > 5) done();
          else requestAnimationFrame(look);
        };
        look();"""
    )
    return picture(browser)


def wait_for_video_frames(browser, count: int) -> None:
    """Waits for more frames of the camera or film; needs ``WATCH_VIDEO``."""
    frames = "return videoFrames"
    before = browser.execute_script(frames)
    until(lambda: browser.execute_script(frames) >= before + count)


def drop(browser, name: str, content: bytes, kind: str) -> None:
    """Drops a file on the page."""
    browser.execute_script(
        """const [name, kind, base64] = arguments, transfer = new DataTransfer();
        const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
        transfer.items.add(new File([bytes], name, { type: kind }));
        document.body.dispatchEvent(
          new DragEvent("drop", { dataTransfer: transfer, bubbles: true, cancelable: true }));""",
        name, kind, base64.b64encode(content).decode(),
    )  # fmt: skip


def drop_red(browser) -> None:
    """Drops a red picture of 64 × 36 pixels, and waits until the page has it."""
    file = io.BytesIO()
    Image.new("RGB", (64, 36), RED).save(file, "PNG")
    drop(browser, "red.png", file.getvalue(), "image/png")
    try:
        until(lambda: (picture(browser, "input") == RED).all())
    except AssertionError as error:
        raise AssertionError(f"the page says: {text(browser, 'message')!r}") from error


def too_large(z_dim: int) -> bytes:
    """A decoder that needs 4 GiB."""
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("ReduceSum", ["zeros"], ["sum"], keepdims=0),
        helper.make_node("Add", ["z", "sum"], ["added"]),
        helper.make_node("Cast", ["added"], ["frames"], to=TensorProto.UINT8),
    ]
    values = [
        helper.make_tensor_value_info(name, kind, ["N", z_dim])
        for name, kind in (("z", TensorProto.FLOAT), ("frames", TensorProto.UINT8))
    ]
    shape = numpy_helper.from_array(np.array([2**30 - 64]), "shape")
    graph = helper.make_graph(nodes, "decoder", values[:1], values[1:], [shape])
    opset = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()
