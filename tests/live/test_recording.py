"""Recordings play with their sound; OSC and a restart reach the show; outputs and refusals."""

import asyncio
import dataclasses
import shutil
import socket
import sys
import time
import types
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from pythonosc.osc_message_builder import OscMessageBuilder

from tests import runs
from tests.film.films import run_ffmpeg
from tests.live.conftest import WAIT_SECONDS, serving
from tests.live.test_server import difference, one_frame, reconstruction, run, stage_of
from vae_gan_jax import modes
from vae_gan_jax.config import InputError
from vae_gan_jax.explore import presets
from vae_gan_jax.film import sound
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.inference import opened_run
from vae_gan_jax.live import frames, osc, outputs, recording, server
from vae_gan_jax.live.folder import PRESETS, LiveFolder, shipped_presets
from vae_gan_jax.live.renderer import Result
from vae_gan_jax.live.sources import Input
from vae_gan_jax.run import settings


async def pictures_of_the_film(client, count: int) -> None:
    for _ in range(count):
        await client.result(lambda message: np.isfinite(message.seconds))


@pytest.mark.parametrize("sound_name", ["film", "none"])
def test_a_recording_plays_with_its_sound(live, sound_name):
    async def perform(client):
        await client.say("source", kind="film")
        await pictures_of_the_film(client, 1)
        asked = time.monotonic()
        await client.say("record", on=True, sound=sound_name)
        state = await client.state(lambda state: state["recording"])
        began = time.monotonic()
        await pictures_of_the_film(client, 30)
        shortest = time.monotonic() - began
        await client.say("record", on=False)
        name = state["recording"]["name"]
        await client.state(lambda state: name in state["recordings"])
        recorded = await client.text("recorded")
        assert recorded["name"] == name
        assert shortest - 0.05 < recorded["seconds"] < time.monotonic() - asked + 0.05
        return recorded

    recorded = run(live, perform)
    path = Path(live.config.run_dir, "live", "recordings", recorded["name"])
    film = FilmReader(str(path), "recorded", video.Framing(20, 18, crop="none"))
    assert float(film.rate) == pytest.approx(24000 / 1001)
    assert film.count / float(film.rate) == pytest.approx(recorded["seconds"], abs=0.05)
    assert {entry.name for entry in path.parent.iterdir()} >= {path.name}
    assert not list(path.parent.glob(".*"))  # nothing unfinished stays
    if sound_name == "none":
        with pytest.raises(InputError):
            sound.features(path, 24.0)
    else:
        assert sound.features(path, 24.0).levels["loudness"].max() > 0.5


def test_osc_sets_parameters_and_hears_of_changes(live_run, tmp_path, monkeypatch):
    monkeypatch.setattr(osc, "MIN_REPORT_SECONDS", 0.0)
    run_dir = shutil.copytree(live_run.run_dir, tmp_path / "run")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(WAIT_SECONDS)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind(("127.0.0.1", 0))
            osc_port = probe.getsockname()[1]
        config = dataclasses.replace(live_run, run_dir=str(run_dir), osc_port=osc_port)
        with serving(config, osc_target=heard.getsockname()) as served:

            def send(content: bytes):
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(content, ("127.0.0.1", osc_port))

            def message(address: str, value):
                builder = OscMessageBuilder(address=address)
                builder.add_arg(value)
                return builder.build().dgram

            async def perform(client):
                await client.state(lambda s: s["controls"] and not s["compiling"])
                await client.become_source()
                before = await stage_of(client, one_frame(1), 1)
                send(message("/blend_1/amount", 1.0))
                told = await client.text("set")
                assert (told["id"], told["parameter"], told["value"]) == ("blend_1", "amount", 1)
                after = await stage_of(client, one_frame(1), 2)
                assert difference(after, one_frame(1)) == 0 < difference(before, after)
                await client.say("set", id="blend_1", parameter="amount", value=0.25)
                content, _ = await asyncio.to_thread(heard.recvfrom, 1000)
                assert content == message("/blend_1/amount", 0.25)
                for rubbish in (b"\xff" * 300, message("/nobody/amount", 1.0)):
                    send(rubbish)
                    error = await client.text("error")
                    assert error["message"].endswith(".")
                await stage_of(client, one_frame(1), 3)

            run(served, perform)


def test_the_address_survives_a_restart(live_run, tmp_path):
    run_dir = shutil.copytree(live_run.run_dir, tmp_path / "run")
    config = dataclasses.replace(live_run, run_dir=str(run_dir))
    with serving(config) as first:
        token, port = first.address.split("/")[-2], first.port
    with serving(dataclasses.replace(config, port=port)) as second:
        assert second.address.split("/")[-2] == token
        assert second.port == port

        async def perform(client):
            await client.result()

        run(second, perform)


def test_a_port_in_use_is_refused():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(InputError, match=f"--port={port}.*another"):
            server._listen("127.0.0.1", port)


@pytest.mark.parametrize("host", ["", "no.such.host.invalid", "a..b", "é" * 300, "192.0.2.1"])
def test_an_address_of_another_machine_is_refused(host):
    with pytest.raises(InputError, match=r"^--host=.* is not an address of this machine: give"):
        server._listen(host, 0)


def test_osc_is_sent_from_a_port_that_reaches_other_machines():
    """Also without a port that listens; a socket of 127.0.0.1 would reach only this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        heard.settimeout(WAIT_SECONDS)
        sender = osc.Osc(None, None, osc.target(f"localhost:{heard.getsockname()[1]}"))
        sender.send("/a/b", 0.5)
        assert heard.recv(1000).startswith(b"/a/b")
        assert sender._sender.getsockname()[0] == "0.0.0.0"
        sender.close()


BAD_TARGETS = ["here", "host:port", ":9000", "host:0", "host:99999", "no.such.host.invalid:9000"]


@pytest.mark.parametrize("text", BAD_TARGETS)
def test_an_address_for_osc_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="--osc_to"):
        osc.target(text)


def test_two_runs_are_mixed_and_runs_of_other_sizes_refused(
    live_run, tmp_path, small, film, frames_THWC
):
    other, larger = tmp_path / "other", tmp_path / "larger"
    for folder in (other, larger):
        folder.mkdir()
    runs.make(other, small, film, frames_THWC, seed=1, crop="none")
    settings.record_settings(larger, dataclasses.replace(small, run_dir=str(larger), height=32))
    (larger / "checkpoints" / "6").mkdir(parents=True)
    with pytest.raises(InputError, match="--height=32"):
        server.open_runs(dataclasses.replace(live_run, second_run=str(larger)))
    config = dataclasses.replace(live_run, second_run=str(other))
    second = opened_run.open_model(
        dataclasses.replace(live_run, run_dir=str(other)), read_only=True
    )

    async def perform(client):
        await client.state(lambda s: s["controls"] and not s["compiling"])
        assert client.hello["runs"] == [Path(live_run.run_dir).name, "other"]
        await client.become_source()
        await client.say("set", id="mix_run_1", parameter="amount", value=1)
        picture = await stage_of(client, one_frame(1), 1)
        assert difference(picture, reconstruction(second, one_frame(1))) <= 1
        text = f"controls:\n  - {{control: mix_run, run: {larger}, amount: 1}}"
        await client.say("load_text", text=text)
        assert "larger" in (await client.text("error"))["message"]
        await client.say("add", control="mix_run", options={"run": str(larger)})
        await client.text("error")

    with serving(config) as served:
        run(served, perform)


def test_a_run_without_a_checkpoint_is_refused_in_one_sentence(program, tmp_path):
    code, error = program(["--mode=live", f"--run_dir={tmp_path / 'empty'}"])
    assert code == 2
    assert "no checkpoint" in error
    assert len(error.splitlines()) == 1


def test_without_its_packages_the_mode_says_how_to_install_them(live_run, monkeypatch):
    monkeypatch.setitem(sys.modules, "vae_gan_jax.live.server", None)
    with pytest.raises(InputError, match=r"--mode=live lacks a package .*vae-gan-jax\[live\]"):
        modes.live(live_run, again=False)


@pytest.mark.parametrize(
    "name", ["", ".hidden", "a/b", "..", "a\\b", "x" * 90, "a\nb", "a:b", "nul\0", " a", "a "]
)
def test_names_that_leave_the_folder_are_refused(tmp_path, name):
    with pytest.raises(InputError, match="is not a name"):
        LiveFolder(tmp_path).path_of(PRESETS, name)


def test_the_shipped_presets_of_the_page_are_those_with_controls():
    paths = Path(__file__).parents[2].joinpath("experiments", "presets").glob("*.yaml")
    assert shipped_presets() == sorted(path.stem for path in paths if presets.load(path).controls)


def test_the_virtual_camera_gets_the_stage(monkeypatch):
    """With a stand-in for the package, which cannot be installed everywhere."""
    seen = []
    camera = types.SimpleNamespace(send=seen.append, close=lambda: seen.append("closed"))
    package = types.SimpleNamespace(Camera=lambda width, height, fps: camera)
    monkeypatch.setitem(sys.modules, "pyvirtualcam", package)
    output = outputs.open_output("camera", 20, 18, 24.0)
    output.send(np.zeros((18, 20, 3), np.uint8))
    output.close()
    assert seen[0].shape == (18, 20, 3)
    assert seen[1] == "closed"


def test_an_output_that_fails_is_closed_and_the_show_goes_on(live, monkeypatch):
    def fail(*_):
        raise OSError("the camera was unplugged")

    monkeypatch.setitem(outputs.OUTPUTS, "camera", ("math", "none", lambda *_: (fail, fail)))

    async def perform(client):
        await client.say("source", kind="film")
        await client.say("output", name="camera", on=True)
        message = (await client.text("error"))["message"]
        assert message == (
            "the output camera failed (the camera was unplugged) and is off now: turn it on again."
        )
        await client.state(lambda state: not state["outputs"])
        await client.result()

    run(live, perform)


def test_recordings_of_one_second_have_names_of_their_own(tmp_path):
    folder = LiveFolder(tmp_path)
    first = recording._free_path(folder)
    first.touch()
    assert recording._free_path(folder) != first


def test_a_pause_during_a_recording_has_no_sound(small, tmp_path):
    film = types.SimpleNamespace(film=types.SimpleNamespace(path="film.mp4"))
    model = types.SimpleNamespace(config=small)
    run = types.SimpleNamespace(has_film=True, film=film, rate_exact=Fraction(24), model=model)
    taken = recording.Recording(run, LiveFolder(tmp_path), "film", None)
    frame_HWC = np.zeros((small.height, small.width, 3), np.uint8)
    for seconds in (1.0, 1.05, *[1.1] * 20, 1.15):
        taken.show(Result(frame_HWC, Input(frame_HWC, seconds=seconds), 0.0, 0.0))
        taken.began -= 0.05
    assert [round(part.film, 2) for part in taken._parts] == [1.0, 1.15]
    taken._film = None  # which is no film
    taken.finish()


def test_a_recording_that_cannot_be_written_ends_with_the_reason(small, tmp_path, monkeypatch):
    """More pictures come than wait for the encoder."""

    def fail(*_):
        raise OSError("the disk is gone")

    run = types.SimpleNamespace(
        has_film=False, rate_exact=Fraction(24), model=types.SimpleNamespace(config=small)
    )
    monkeypatch.setattr(recording.Encoder, "write", fail)
    taken = recording.Recording(run, LiveFolder(tmp_path), "none", None)
    taken.began -= 1.0
    frame_HWC = np.zeros((small.height, small.width, 3), np.uint8)
    picture = Result(frame_HWC, Input(frame_HWC), 0.0, 0.0)
    for _ in range(2 * recording.MAX_WAITING_PICTURES):
        taken.show(picture)
    with pytest.raises(OSError, match="the disk is gone"):
        taken.finish()


def test_an_output_without_its_package_is_refused():
    with pytest.raises(InputError, match="install cyndilib"):
        outputs.open_output("ndi", 20, 18, 24.0)


def test_what_the_page_hears_is_the_recordings_sound(live, tmp_path):
    webm = tmp_path / "heard.webm"
    tone = "sine=frequency=440:duration=1.5"
    run_ffmpeg("-f", "lavfi", "-i", tone, "-c:a", "libopus", str(webm))
    content = webm.read_bytes()

    async def perform(client):
        await client.say("source", kind="film")
        await pictures_of_the_film(client, 1)
        await client.say("record", on=True, sound="page")
        state = await client.state(lambda state: state["recording"])
        for number, first in enumerate(range(0, len(content), 4000), 1):
            part = content[first : first + 4000]
            message = frames.Message(frames.SOUND, 0, number, 0.0, np.nan, part)
            await client.socket.send_bytes(message.bytes())
        await pictures_of_the_film(client, 24)
        await client.say("record", on=False)
        await client.text("recorded")
        return state["recording"]["name"]

    path = Path(live.config.run_dir, "live", "recordings", run(live, perform))
    assert sound.features(path, 24.0).levels["loudness"][:20].mean() > 0.5
