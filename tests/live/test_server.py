"""The live server as a page sees it: pictures, controls, presets, recordings, and bad input."""

import asyncio
import contextlib
import dataclasses
import gc
import json
import re
import shutil
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import aiohttp
import numpy as np
import pytest

from tests.live.conftest import WAIT_SECONDS, Client, serving
from vae_gan_jax.config import InputError
from vae_gan_jax.explore import presets
from vae_gan_jax.inference import opened_run
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.live import frames, live_film, live_sound, server
from vae_gan_jax.live.live_run import LiveRun
from vae_gan_jax.live.session import Session


def run(served, work, within_seconds=WAIT_SECONDS, **options):
    """Runs ``work(client)`` as a page of the server."""

    async def connected():
        async with Client.connect(served, **options) as client:
            return await work(client)

    return asyncio.run(asyncio.wait_for(connected(), within_seconds))


@pytest.fixture(scope="module")
def model(live):
    return opened_run.open_model(live.config, read_only=True)


def one_frame(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (18, 20, 3), dtype=np.uint8)


async def stage_of(client: Client, frame_HWC, number: int, check=lambda message: True):
    """The stage after a frame that the page sends."""
    await client.send_frame(frame_HWC, number)
    picture, _ = await client.result(lambda message: message.number == number and check(message))
    return picture


def reconstruction(model, frame_HWC) -> np.ndarray:
    return model.decode(model.encode(frame_HWC[None]).mean)[0]


def difference(first, second) -> int:
    return int(np.abs(first.astype(int) - second.astype(int)).max())


def test_the_stage_is_the_reconstruction_of_the_pages_frames(live, model):
    async def perform(client):
        await client.become_source()
        for number in (1, 2, 3):
            picture = await stage_of(client, one_frame(number), number)
            assert difference(picture, reconstruction(model, one_frame(number))) <= 1

    run(live, perform)


def test_a_slider_changes_the_picture_within_three_frames(live):
    async def perform(client):
        await client.become_source()
        before = await stage_of(client, one_frame(1), 1)
        await client.say("set", id="blend_1", parameter="amount", value=1)
        for number in (2, 3, 4):
            after = await stage_of(client, one_frame(1), number)
            if difference(before, after):
                break
        assert difference(after, one_frame(1)) == 0
        await client.say("reset")
        await client.text("set", lambda m: m["id"] == "blend_1" and m["value"] == 0)
        assert difference(before, await stage_of(client, one_frame(1), 9)) == 0

    run(live, perform)


def test_only_the_page_that_is_the_source_is_heard(live, model):
    async def perform(client):
        async with Client.connect(live) as other:
            await client.become_source()
            await other.send_frame(one_frame(8), 50)
            picture = await stage_of(client, one_frame(1), 1)
            assert difference(picture, reconstruction(model, one_frame(1))) <= 1
            await other.say("source", kind="page")
            await client.state(lambda state: not state["source"]["own"])
            picture = await stage_of(other, one_frame(8), 51)
            assert difference(picture, reconstruction(model, one_frame(8))) <= 1
        await client.text("meter", lambda message: message["pages"] == 1)

    run(live, perform)


def test_the_film_plays_in_order_with_its_source_and_seeks(live):
    async def perform(client):
        await client.say("format", picture="jpeg", source=True)
        await client.say("source", kind="film")
        began, times = time.monotonic(), []
        for _ in range(8):
            _, played = await client.result(kind=frames.PLAYED)
            times.append(played.seconds)
        ends = (time.monotonic() - began) / client.hello["film"]["seconds"]
        assert sum(np.diff(times) < 0) <= ends + 1  # the film begins again at its end
        await client.say("play", playing=False)
        await client.say("go", time=0.5)
        _, message = await client.result(lambda message: abs(message.seconds - 0.5) < 0.03)
        assert message.format == frames.FORMATS["jpeg"]
        await client.say("source", kind="film", loop=[0.2, 0.4])
        await client.say("play", playing=True)
        await client.result(lambda message: abs(message.seconds - 0.2) < 0.03)
        for _ in range(8):
            _, message = await client.result()
            assert 0.15 < message.seconds < 0.45

    run(live, perform)


def test_a_click_on_the_map_shows_that_moment(live, model):
    async def perform(client):
        map_message = await client.text("map")
        assert len(map_message["points"]) == 26
        x, y = map_message["points"][20]
        await client.say("point", x=x, y=y)
        await client.state(lambda state: state["source"]["kind"] == "moment")
        wanted = map_message["times"][20]
        picture, _ = await client.result(lambda message: abs(message.seconds - wanted) < 0.01)
        expected = model.decode(model.encode_film().mean[20:21])[0]
        assert difference(picture, expected) <= 1

    run(live, perform)


def test_a_preset_that_is_saved_renders_the_same_frames(live, model):
    async def perform(client):
        await client.say("clear")
        await client.say("source", kind="page")
        await client.say("add", control="direction", options={"component": 2})
        await client.state(lambda s: len(s["controls"]) == 10 and not s["compiling"])
        await client.say("set", id="direction_4", parameter="amount", value=-2.5)
        blend = {"wave": 1000, "from": 0.4, "to": 0.4}
        await client.say("set", id="blend_1", parameter="amount", curve=blend)
        await client.say("save", name="found", about="Found live.")
        await client.state(lambda state: "found" in state["presets"])
        frame_THWC = np.stack([one_frame(seed) for seed in range(4)])
        live_THWC = [await stage_of(client, frame, n) for n, frame in enumerate(frame_THWC, 1)]
        await client.say("clear")
        await client.state(lambda state: state["preset"] is None and not state["compiling"])
        await client.say("load", name="found", seconds=0.1)
        await client.state(lambda s: s["preset"] and s["preset"]["name"] == "found")
        number = 9
        while difference(await stage_of(client, frame_THWC[0], number), live_THWC[0]):
            number += 1  # until the end of the fade
        return frame_THWC, np.stack(live_THWC)

    from vae_gan_jax.explore import play

    frame_THWC, live_THWC = run(live, perform)
    path = f"{live.config.run_dir}/live/presets/found.yaml"
    player = play.Player(model, presets.load(path))
    blocks = [pictures for _, pictures in play.play(player, frame_THWC, 24.0)]
    assert difference(np.concatenate(blocks), live_THWC) <= 1
    assert difference(live_THWC[0], reconstruction(model, frame_THWC[0])) > 0


def test_the_page_gets_what_is_wrong_in_one_sentence_and_the_show_goes_on(live):
    wrong = [
        ("set", {"id": "nothing_1", "parameter": "amount", "value": 1}),
        ("set", {"id": "direction_1", "parameter": "amount", "value": "much"}),
        ("set", {"id": "direction_1", "parameter": "amount", "curve": {"wave": 0}}),
        ("set", {"id": "direction_1", "parameter": ["amount"], "value": 1}),
        ("add", {"control": "direction", "options": {"component": 10**9}}),
        ("add", {"control": ["direction"]}),
        ("options", {"id": "direction_1", "options": {"component": 0}}),
        ("move", {"id": "direction_1", "to": 0.5}),
        ("load", {"name": "../../flags"}),
        ("load", {"name": "absent"}),
        ("load_text", {"text": "controls:\n  - control: [unfinished"}),
        ("save", {"name": "a/b"}),
        ("source", {"kind": "satellite"}),
        ("source", {"kind": "film", "loop": [1]}),
        ("go", {"time": None}),
        ("go", {"time": -(10**400)}),
        ("point", {"x": 1e308, "y": 0}),
        ("load_text", {"text": "controls: []", "seconds": 10**400}),
        ("record", {"on": True, "sound": "vinyl"}),
        ("record", {"on": False}),
        ("output", {"name": "hologram", "on": True}),
        ("sound", {"loudness": "loud"}),
        ("sound", {"loudness": True}),
        ("shown", {"number": {}}),
        ("dance", {}),
        ({"a": 1}, {}),
    ]

    async def perform(client):
        for kind, fields in wrong:
            await client.say(kind, **fields)
            message = (await client.text("error"))["message"]
            assert re.fullmatch(r"[^\n]{10,400}\.", message), message
            assert "failed (" not in message  # nor is it an error in the program
        for text in ("", "{", "[1]", "null", "[" * 30000, "x" * 100_000, '{"type": 1e999}'):
            await client.socket.send_str(text)
            await client.text("error")
        for data in (b"", b"\x01", bytes(5000), bytes(10 * 2**20)):
            await client.socket.send_bytes(data)
            await client.text("error")
        await client.say("source", kind="film")
        await client.result()

    run(live, perform)


def test_two_changes_at_once_that_cannot_be_played_leave_the_desk_as_it_was(live):
    async def perform(client):
        async def settles(count):
            while True:
                with contextlib.suppress(AssertionError):  # what is wrong with the changes
                    await client.state(
                        lambda state: len(state["controls"]) == count and not state["compiling"]
                    )
                    return

        count = len((await client.state(lambda state: state["controls"]))["controls"])
        for _ in range(2):
            await client.say("add", control="direction", options={"component": 10**9})
        await client.say("dance")  # refused after both
        await client.text("error", lambda message: "dance" in message["message"])
        await client.say("play", playing=True)  # so that a state follows
        await settles(count)
        await client.say("add", control="direction", options={"component": 2})
        await settles(count + 1)

    run(live, perform)


def test_a_message_that_is_too_large_closes_only_its_page(live):
    async def too_much(client):
        await client.socket.send_bytes(bytes(17 * 2**20))
        await client.text("never")

    async def perform(client):
        async with Client.connect(live) as other:
            with pytest.raises((AssertionError, ConnectionError)):
                await too_much(other)
        await client.result()

    run(live, perform)


def status(served, path: str = "", **headers) -> int:
    async def get():
        async with (
            aiohttp.ClientSession() as session,
            session.get(served.address + path, headers=headers) as response,
        ):
            return response.status

    return asyncio.run(get())


def test_other_hosts_origins_and_tokens_are_refused(live):
    assert status(live, "stream.mjpg", Host="evil.example") == 403
    assert status(live, "sound", Origin="http://evil.example") == 403
    assert status(live, "sound", Host=f"localhost:{live.port}") == 200
    assert status(live, "../wrong_token/sound") == 404
    assert status(live, "../") == 404
    for origin in ("http://evil.example", "null", f"http://127.0.0.1:{live.port}.evil.example"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            run(live, None, origin=origin)
        assert refusal.value.status == 403


@pytest.mark.parametrize(
    "path",
    [
        *("presets/..%2F..%2Fflags.yaml", "recordings/..%2F..%2Fflags.txt", "..%2fflags.txt"),
        *("recordings/token", "recordings/.hidden.mp4", "presets/absent.yaml", "token"),
        *("shots/9.jpg", "page_connection.py", "..%2Fserver.py"),
    ],
)
def test_no_path_reaches_other_files(live, path):
    assert status(live, path) in (403, 404)


def test_pictures_sound_and_stream_have_addresses(live):
    async def get():
        async with aiohttp.ClientSession() as session:
            async with session.get(live.address) as response:
                assert b"<!doctype html>" in (await response.read())[:20].lower()
                assert server.HEADERS.items() <= dict(response.headers).items()
            async with session.get(live.address + "shots/1.jpg") as response:
                assert (await response.read())[:2] == b"\xff\xd8"
            async with session.get(live.address + "sound") as response:
                assert b"ftyp" in (await response.read())[:12]
                assert response.headers["Content-Type"] == "audio/mp4"
                assert server.HEADERS.items() <= dict(response.headers).items()
            async with session.get(live.address + "stream.mjpg") as response:
                picture = b""
                while picture.count(b"\xff\xd8") < 3:
                    picture += await response.content.readany()
                assert picture.startswith(b"--frame\r\nContent-Type: image/jpeg")

    async def perform(client):
        await client.say("source", kind="film")
        await get()

    run(live, perform)


def test_controls_are_added_moved_and_removed(live):
    async def perform(client):
        await client.say("clear")
        await client.state(lambda s: s["compiling"])
        state = await client.state(lambda s: not s["compiling"])
        count = len(state["controls"])
        await client.say("add", control="mix", options={"time": 0.5})
        state = await client.state(lambda s: len(s["controls"]) == count + 1 and not s["compiling"])
        added = next(c for c in state["controls"] if c["control"] == "mix")
        assert added["options"]["time"] == 0.5
        assert added["parameters"]["amount"]["value"] == 0
        assert added["parameters"]["amount"]["address"] == "/mix_1/amount"
        await client.say("move", id="mix_1", to=0)
        state = await client.state(lambda s: s["controls"][0]["id"] == "mix_1")
        await client.say("options", id="mix_1", options={"time": 0.25})
        await client.state(lambda s: s["controls"][0]["options"]["time"] == 0.25)
        await client.say("remove", id="mix_1")
        await client.state(lambda s: len(s["controls"]) == count and not s["compiling"])

    run(live, perform)


def test_curves_move_by_themselves_and_follow_the_pages_sound(live, monkeypatch):
    monkeypatch.setattr(live_sound, "SILENT_SECONDS", WAIT_SECONDS)
    monkeypatch.setattr(live_sound, "HISTORY_SECONDS", WAIT_SECONDS)

    async def perform(client):
        await client.say("source", kind="walk")
        curve = {"sound": "low", "from": 0, "to": 4}
        await client.say("set", id="direction_2", parameter="amount", curve=curve)
        for level in (1.0, 0.25):
            await client.say("sound", low=level)
            values = await client.text(
                "values", lambda m, level=level: m["values"]["direction_2"]["amount"] == 4 * level
            )
            assert values
        await client.say("clear")

    run(live, perform)


def test_a_walk_goes_through_the_films_codes_once_they_are_known(live):
    live_run = server.open_runs(live.config)
    of_the_prior_TZ = np.stack(list(live_run.walk_track().items(0)))
    live_run.find_codes(lambda done: None)
    walk_TZ, codes_TZ = np.stack(list(live_run.walk_track().items(0))), live_run.film.codes_TZ
    live_run.close()
    low_Z, high_Z = codes_TZ.min(axis=0) - 1e-4, codes_TZ.max(axis=0) + 1e-4
    assert ((low_Z <= walk_TZ) & (walk_TZ <= high_Z)).all()
    assert not ((low_Z <= of_the_prior_TZ) & (of_the_prior_TZ <= high_Z)).all()


def test_the_film_is_encoded_once_if_two_threads_need_its_codes(live_run, tmp_path, monkeypatch):
    run_dir = shutil.copytree(live_run.run_dir, tmp_path / "run")
    shutil.rmtree(run_dir / "codes", ignore_errors=True)
    config = dataclasses.replace(live_run, run_dir=str(run_dir))
    film = live_film.learnt(opened_run.open_model(config, read_only=True), lambda done: None)
    encode, calls = Model.encode_film, []
    counted = lambda *args, **named: calls.append(1) or encode(*args, **named)  # noqa: E731
    monkeypatch.setattr(Model, "encode_film", counted)
    with ThreadPoolExecutor(2) as threads:  # from Python 3.12 on, cached_property has no lock
        codes_TZ = list(threads.map(live_film.LiveFilm.codes_TZ.func, [film, film]))
    assert len(calls) == 1
    assert np.array_equal(*codes_TZ)


def test_malformed_json_names_itself(live):
    async def perform(client):
        await client.socket.send_str("{broken")
        assert json.dumps("{broken")[1:-1] in (await client.text("error"))["message"]

    run(live, perform)


def test_work_that_is_cancelled_before_it_begins_leaves_no_warning():
    """A server that is stopped at once; a coroutine that was never awaited warns."""

    async def work():
        raise AssertionError

    async def perform():
        session = Session.__new__(Session)
        session._loop, session._tasks = asyncio.get_running_loop(), set()
        session.spawn(work())
        (task,) = session._tasks
        task.cancel()
        await asyncio.wait([task])

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        asyncio.run(perform())
        gc.collect()
    assert not caught


def test_a_server_that_stops_while_it_encodes_the_film_leaves_no_thread(live_run, monkeypatch):
    stopped, begun = threading.Event(), threading.Event()

    def find_codes(self, tell):
        begun.set()
        stopped.wait(WAIT_SECONDS)

    monkeypatch.setattr(LiveRun, "find_codes", find_codes)
    before = set(threading.enumerate())
    with serving(live_run):
        assert begun.wait(WAIT_SECONDS)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    stopped.set()
    assert not left & {"source", "renderer", "recorder"}


def test_without_the_films_codes_the_page_hears_why_once_and_the_show_goes_on(
    live_run, monkeypatch
):
    connected, sentence = threading.Event(), "the film's disk is gone: connect it."

    def find_codes(self, tell):
        connected.wait(WAIT_SECONDS)
        raise InputError(sentence)

    async def perform(client):
        connected.set()
        assert (await client.text("error"))["message"] == sentence
        await client.state(lambda state: state["controls"] and not state["compiling"])

    monkeypatch.setattr(LiveRun, "find_codes", find_codes)
    with serving(live_run) as served:
        run(served, perform)
