"""Runs, films and frames in a bucket, against an emulator of Google's store on this machine."""

import contextlib
import dataclasses
import http.server
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import chex
import fsspec
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vae_gan_jax
from tests.run.gcs import served
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film import source_films
from vae_gan_jax.film.store import frame_store, preparation
from vae_gan_jax.film.store.run_frames import framing_of
from vae_gan_jax.run import film_names, remote_run, storage
from vae_gan_jax.run.settings import record_settings, recorded_settings
from vae_gan_jax.run.team import Team
from vae_gan_jax.training import checkpoint, checkpoint_folder, pretrained, train_state

PROJECT = Path(__file__).parents[2]
SMALL = ["--width=20", "--height=18", "--filters=2", "--z_dim=3", "--batch_size=4"]
SMALL += ["--sample_every=0", "--keep_epochs=1"]
TIMEOUT_SECONDS = 300.0  # a program takes 100 s if four share two cores
FILM = "gs://films/film.mp4"


@pytest.fixture(scope="module", autouse=True)
def store(film):
    with served("films", "runs"):
        put(FILM, film.read_bytes())
        yield


def put(url: str, content: bytes) -> None:
    storage.file_system(url).pipe_file(url, content)


def content(url: str) -> bytes:
    return storage.file_system(url).cat_file(url)


def delete(url: str) -> None:
    storage.file_system(url).rm(url, recursive=True)


def objects(url: str) -> set[str]:
    """The names of the objects below an address."""
    return {f"gs://{name}".removeprefix(f"{url}/") for name in storage.file_system(url).find(url)}


@pytest.fixture
def machine(tmp_path):
    """Gives this process the scratch folder of a machine with some name."""
    yield lambda name: storage.use_scratch(tmp_path / name)
    storage.use_scratch(None)


class Program:
    """The program in a process with its own scratch folder; a context manager."""

    def __init__(self, scratch: Path, *flags):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vae_gan_jax.main", *SMALL, f"--scratch_dir={scratch}", *flags],
            cwd=PROJECT,
            env=os.environ | {"JAX_NUM_CPU_DEVICES": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.communicate()

    def end(self) -> tuple[int, str]:
        stderr = self.process.communicate(timeout=TIMEOUT_SECONDS)[1].decode()
        return self.process.returncode, stderr


def run(scratch: Path, *flags) -> tuple[int, str]:
    with Program(scratch, *flags) as program:
        return program.end()


def wait_until(condition) -> None:
    end = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def lines(run: Path) -> list[dict]:
    """The metrics without their times."""
    records = map(json.loads, (run / "metrics.jsonl").read_text().splitlines())
    return [{k: v for k, v in line.items() if not k.startswith("time/")} for line in records]


def state_of(run: str | Path) -> train_state.TrainState:
    config = Config(**recorded_settings(Path(storage.local(run))))
    with checkpoint.Checkpoints(storage.local(run)) as checkpoints:
        return checkpoints.restore(train_state.create(config, jax.random.key(0)))


@pytest.fixture(scope="module")
def learning(tmp_path_factory):
    """Flags of a run of five epochs of six steps, whose frames are already in the bucket."""
    flags = [f"--film={FILM}", "--frames_dir=gs://films/frames"]
    flags += ["--noise_schedule=" + ",".join(["0.1"] * 5)]
    code, stderr = run(
        tmp_path_factory.mktemp("first"), *flags, "--run_dir=gs://runs/first", "--mode=prepare"
    )
    assert code == 0, stderr
    return [*flags, "--mode=train"]


@pytest.mark.slow
def test_a_killed_run_resumes_exactly_on_another_machine(learning, machine, tmp_path):
    """Its newest checkpoint is damaged, and another one is unfinished."""
    here, there = tmp_path / "here", "gs://runs/killed"
    code, stderr = run(tmp_path / "zero", *learning, f"--run_dir={here}")
    assert code == 0, stderr

    machine("one")
    with Program(tmp_path / "one", *learning, f"--run_dir={there}") as program:
        wait_until(lambda: len(checkpoint.steps(storage.local(there))) > 1)
        program.process.kill()
        assert program.end()[0] == -signal.SIGKILL
    newest = checkpoint.steps(storage.local(there))[-1]
    assert newest < 5 * 6
    folder = f"{there}/checkpoints"
    for name in objects(f"{folder}/{newest}") - {checkpoint_folder.COMMIT}:
        put(f"{folder}/999/{name}", b"half")
    put(f"{folder}/{newest}/manifest.ocdbt", b"other")

    machine("two")
    code, stderr = run(tmp_path / "two", *learning, f"--run_dir={there}")
    assert code == 0, stderr
    aside = f"{folder}/{newest}.damaged"
    assert f"{folder}/{newest}/manifest.ocdbt is damaged: renamed to {aside}" in stderr
    place = Path(storage.local(there))
    assert lines(place) == lines(here)
    assert len(lines(place)) > 4
    for grid in (here / "samples").iterdir():
        assert grid.read_bytes() == (place / "samples" / grid.name).read_bytes()
    chex.assert_trees_all_equal(state_of(there), state_of(here))
    assert {name.split("/")[0] for name in objects(folder)} == {"24", "30", f"{newest}.damaged"}
    assert content(f"{there}/metrics.jsonl") == (place / "metrics.jsonl").read_bytes()


@pytest.mark.slow
def test_two_processes_on_two_machines(learning, machine, tmp_path):
    """They share no disk: the frames come from the bucket, and only process 0 has the run."""
    url = "gs://runs/shared"
    with socket.create_server(("localhost", 0)) as server:
        port = server.getsockname()[1]
    flags = [*learning[:2], "--noise_schedule=0.5", "--mode=train", f"--run_dir={url}"]
    flags += [f"--coordinator_address=localhost:{port}", "--num_processes=2"]
    with (
        Program(tmp_path / "0", *flags, "--process_id=0") as first,
        Program(tmp_path / "1", *flags, "--process_id=1") as second,
    ):
        ends = [first.end(), second.end()]
    assert [code for code, _ in ends] == [0, 0], ends
    machine("0")
    assert checkpoint.steps(storage.local(url)) == [6]
    assert int(state_of(url).step) == 6
    assert [line["step"] for line in lines(Path(storage.local(url)))] == [6]
    assert content(f"{url}/metrics.jsonl").count(b"\n") == 1
    machine("1")
    assert not list(Path(storage.local(url)).glob("*"))
    (frames,) = Path(storage.local("gs://films/frames")).glob("*/frames.u8")
    assert content(storage.address(frames)) == frames.read_bytes()


def test_a_film_is_downloaded_once_and_again_when_it_has_changed(machine):
    machine("one")
    url, place = "gs://films/folder/film.mp4", Path(storage.local("gs://films/folder/film.mp4"))
    with pytest.raises(InputError, match=f"{url} does not exist"):
        storage.stage(url)
    put(url, b"a film")
    storage.stage(url)
    assert place.read_bytes() == b"a film"
    file = place.stat().st_ino
    storage.stage(url)
    assert place.stat().st_ino == file
    put(url, b"b film")
    storage.stage(url)
    assert place.read_bytes() == b"b film"
    assert {path.name for path in place.parent.glob("[!.]*")} == {"film.mp4", "cache"}


@pytest.mark.parametrize("stills", ["gs://films/stills", "gs://films/stills/*.png"])
def test_the_local_copy_of_stills_equals_the_bucket(stills, machine):
    machine("one")
    for name in ("1.png", "2.png"):
        put(f"gs://films/stills/{name}", name.encode())
    storage.stage(stills)
    delete("gs://films/stills/1.png")
    storage.stage(stills)
    folder = Path(storage.local("gs://films/stills"))
    assert {path.name: path.read_bytes() for path in folder.glob("*.png")} == {"2.png": b"2.png"}


def test_addresses_do_not_depend_on_the_machine(machine):
    names = set()
    for scratch in ("one", "two"):
        machine(scratch)
        place = storage.local(FILM)
        assert scratch in place
        names |= {storage.address(place), storage.address(FILM), storage.show_addresses(f"{place}")}
    assert names == {FILM}
    assert storage.local("runs/mine") == "runs/mine"
    assert storage.address("runs/mine") == os.path.abspath("runs/mine")


def test_frames_that_process_0_prepares_are_downloaded_by_the_others(
    film, small, machine, monkeypatch
):
    """The processes run one after the other, so that barriers need not wait."""
    store = "gs://films/prepared"

    def exchange(upload):
        (remote_run.upload if upload else remote_run.download)(store)

    def prepared(index):
        return preparation.prepare(
            [film], storage.local(store), framing_of(small), team=Team(index, 2), exchange=exchange
        )

    machine("one")
    first = prepared(0)
    machine("two")
    monkeypatch.setattr(preparation, "decode_into", None)
    second = prepared(1)
    assert second.folder != first.folder
    assert second.manifest == first.manifest
    assert np.array_equal(second.frames_THWC, first.frames_THWC)


def test_frames_in_a_bucket_are_downloaded_once_and_damage_is_detected(learning, machine):
    (name,) = {name.split("/")[0] for name in objects("gs://films/frames")}
    url, other = f"gs://films/frames/{name}", "gs://films/other"
    machine("one")
    copy = Path(storage.local(url))
    remote_run.download(url)
    downloaded = (copy / "frames.u8").stat()
    remote_run.download(url)
    assert (copy / "frames.u8").stat() == downloaded
    shutil.copytree(copy, storage.local(other))
    remote_run.upload(other)
    frames = bytearray(content(f"{other}/frames.u8"))
    frames[1000] ^= 1
    put(f"{other}/frames.u8", bytes(frames))
    machine("two")
    remote_run.download(other)
    with pytest.raises(InputError, match=r"the frames in .*other are damaged: delete the folder"):
        frame_store.open_store(storage.local(other))


def test_damaged_frames_in_a_bucket_are_prepared_again(film, small, machine):
    machine("one")
    url = "gs://films/foreign"
    put(f"{url}/manifest.json", b"[]")

    def exchange(upload):
        (remote_run.upload if upload else remote_run.download)(url)

    folder = storage.local(url)
    preparation.prepare([film], folder, framing_of(small), exchange=exchange)
    assert content(f"{url}/manifest.json") == Path(folder, "manifest.json").read_bytes()
    assert content(f"{url}/frames.u8") == Path(folder, "frames.u8").read_bytes()


@pytest.fixture
def folder(machine):
    """The local copy, on the machine "one", of a run in the bucket that has settings."""
    machine("one")
    folder = Path(remote_run.open_run(f"gs://runs/{secrets.token_hex(4)}/"))
    record_settings(folder, Config(run_dir=str(folder)))
    yield folder
    remote_run._runs.clear()


def test_the_local_copy_follows_the_bucket(folder, machine):
    url = storage.address(folder)
    (folder / "samples").mkdir()
    for name in ("metrics.jsonl", "samples/1.png", "samples/.hidden", "samples/2.png.partial"):
        (folder / name).write_text(name)
    remote_run.save_runs()
    assert b"--run_dir=gs://runs/" in content(f"{url}/flags.txt")
    assert objects(url) == {"flags.txt", "metrics.jsonl", "samples/1.png"}

    machine("two")
    other = Path(remote_run.open_run(url))
    for name in ("flags.txt", "metrics.jsonl", "samples/1.png"):
        assert (other / name).read_bytes() == (folder / name).read_bytes()
    (other / "samples" / "1.png").unlink()
    (other / "metrics.jsonl").write_text("more")
    remote_run.save_runs()
    assert objects(url) == {"flags.txt", "metrics.jsonl"}

    machine("one")
    remote_run.open_run(url)
    assert (folder / "metrics.jsonl").read_text() == "more"


def test_after_a_kill_newer_local_files_stay_until_another_machine_uploads_them(folder, machine):
    url = storage.address(folder)
    (folder / "metrics.jsonl").write_text("uploaded")
    remote_run.save_runs()
    for name in ("metrics.jsonl", "film.mp4"):
        (folder / name).write_text("not uploaded")
    (folder / "log.txt.partial").write_text("an unfinished download")
    remote_run._runs.clear()  # as a kill does
    remote_run.open_run(url)
    assert (folder / "metrics.jsonl").read_text() == "not uploaded"
    remote_run._runs.clear()
    machine("two")
    other = Path(remote_run.open_run(url))
    assert (other / "metrics.jsonl").read_text() == "uploaded"
    (other / "metrics.jsonl").write_text("from machine two")
    remote_run.save_runs()
    remote_run._runs.clear()
    machine("one")
    remote_run.open_run(url)
    assert (folder / "metrics.jsonl").read_text() == "from machine two"
    remote_run.save_runs()
    assert content(f"{url}/film.mp4") == b"not uploaded"
    assert objects(url) == {"flags.txt", "metrics.jsonl", "film.mp4"}


def test_a_killed_download_leaves_no_half_file(folder, machine, monkeypatch):
    url = storage.address(folder)
    (folder / "metrics.jsonl").write_text("whole")
    remote_run.save_runs()
    machine("two")
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            remote_run.open_run(url)
    copy = Path(storage.local(url))
    assert (copy / "metrics.jsonl.partial").exists()
    assert not (copy / "metrics.jsonl").exists()
    remote_run.open_run(url)
    assert (copy / "metrics.jsonl").read_text() == "whole"


def test_a_run_may_be_copied_to_the_bucket_but_another_folder_is_no_run(folder, machine):
    url = storage.address(folder)
    put(f"{url}/flags.txt", (folder / "flags.txt").read_bytes())
    put(f"{url}/checkpoints/1/x", b"x")
    machine("two")
    other = Path(remote_run.open_run(url))
    assert recorded_settings(other)["run_dir"] == url
    assert not (other / "checkpoints").exists()
    put("gs://runs/letters/letter.txt", b"dear")
    with pytest.raises(InputError, match="gs://runs/letters is not a run, it has no flags"):
        remote_run.open_run("gs://runs/letters")


def test_a_checkpoint_that_cannot_be_written_is_logged(folder, small, caplog, monkeypatch):
    """The bucket does not answer at the first save; later the unfinished checkpoint is deleted."""

    def do_not_answer():
        raise InputError("the bucket runs does not answer")

    state = train_state.create(small, jax.random.key(0))
    caplog.set_level("WARNING")
    with checkpoint.Checkpoints(folder, 1, 1) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(remote_run, "save_runs", do_not_answer)
            checkpoints.save(state)
            checkpoints.wait()
        assert "step 0 cannot be written" in caplog.text
        assert "does not answer): training continues" in caplog.text
        assert checkpoints.steps == []
        assert {name.split("/")[0] for name in objects(str(checkpoints.folder))} == {"0"}
        for step in (0, 1, 2, 3):
            checkpoints.save(state.replace(step=jnp.int32(step)))
    assert {name.split("/")[0] for name in objects(str(checkpoints.folder))} == {"2", "3"}
    with checkpoint.Checkpoints(folder, strict=True) as checkpoints:
        monkeypatch.setattr(remote_run, "save_runs", do_not_answer)
        checkpoints.save(state.replace(step=jnp.int32(4)))
        with pytest.raises(InputError, match="step 4 cannot be written"):
            checkpoints.wait()


def test_a_run_starts_from_the_networks_of_a_run_in_a_bucket(folder, small, machine):
    url, theirs = storage.address(folder), dataclasses.replace(small, run_dir=str(folder))
    state = train_state.create(theirs, jax.random.key(0))
    record_settings(folder, theirs)
    with checkpoint.Checkpoints(folder) as checkpoints:
        checkpoints.save(state.replace(step=jnp.int32(5)))
    machine("two")
    config = dataclasses.replace(small, run_dir="runs/none", init_from=f"{url}/")
    pretrained.check(config)
    started = pretrained.begin(config, train_state.create(config, jax.random.key(1)))
    chex.assert_trees_all_equal(started.params, state.params)
    assert int(started.step) == 0
    with pytest.raises(InputError, match=r"there is no run in .*runs/nowhere: give --init_from"):
        pretrained.check(dataclasses.replace(config, init_from="gs://runs/nowhere"))


def test_a_run_in_a_bucket_opens_in_python_and_stays_as_it_is(folder, small, machine):
    url = storage.address(folder)
    theirs = dataclasses.replace(small, run_dir=str(folder), networks="residual")
    state = train_state.create(theirs, jax.random.key(0))
    record_settings(folder, theirs)
    with checkpoint.Checkpoints(folder) as checkpoints:
        checkpoints.save(state.replace(step=jnp.int32(5)))
    remote_run.save_runs()
    before = objects(url)
    machine("two")
    model = vae_gan_jax.open(url)
    assert (model.step, model.decode([[0.0, 0.5, 1.0]]).shape) == (5, (1, 18, 20, 3))
    remote_run.save_runs()
    assert objects(url) == before


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("run_dir=s3://runs/a", "--run_dir=s3://runs/a cannot be used: give a local path or gs://"),
        ("run_dir=gs://runs", "--run_dir=gs://runs is incomplete"),
        ("film=gs://films/../film.mp4", "is incomplete: give gs://BUCKET/PATH"),
        (
            "film=gopher://films/film.mp4",
            "(Protocol not known: gopher): give gs:// or https://",
        ),
        ("film=https://films/film.mp4", None),
        ("film=films/film.mp4", None),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_by_its_flag(flag, sentence):
    name, _, path = flag.partition("=")
    if sentence is None:
        storage.check({name: path})
    else:
        with pytest.raises(InputError, match=re.escape(sentence)):
            storage.check({name: path})


@pytest.mark.parametrize("scheme", ["ftp", "gopher"])
def test_a_run_refuses_a_moved_film_at_such_an_address(scheme, tmp_path, monkeypatch):
    monkeypatch.setattr(film_names, "learnt_entries", lambda _: [{}])
    film = {"film": f"{scheme}://a/b.mp4"}
    with pytest.raises(InputError, match=rf"--film={scheme}://a/b\.mp4 \(.*: give gs://"):
        source_films.with_moved_film(film, {}, tmp_path)


@pytest.mark.parametrize("scheme", ["ftp", "zip", "filecache", "github"])
def test_a_film_of_a_file_system_that_needs_more_than_an_address_is_refused(scheme):
    with pytest.raises(InputError, match=rf"--source={scheme}://a/b\.mp4 \(.*: give gs://"):
        storage.check({"source": f"{scheme}://a/b.mp4"})


def test_a_missing_package_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(InputError, match=r"--film=s3://films/a.mp4 \(Install s3fs to access S3\)"):
        storage.check({"film": "s3://films/a.mp4"})


@pytest.mark.parametrize(
    ("flag", "sentence"),
    [
        ("--run_dir=gs://none/a", "gs://none/a does not exist: create the bucket"),
        ("--film=gs://films/none.mp4", "gs://films/none.mp4 does not exist"),
    ],
)
def test_the_program_names_what_does_not_exist(flag, sentence, tmp_path):
    code, stderr = run(tmp_path, f"--run_dir={tmp_path}/run", flag)
    assert code == 2
    assert stderr.startswith(f"vae_gan_jax: {sentence}")
    assert stderr.count("\n") == 1


def test_a_film_is_downloaded_from_a_web_server(film, machine):
    class Serve(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments):
            super().__init__(*arguments, directory=film.parent)

        def log_message(self, *_):
            pass

    machine("one")
    with serving(Serve) as host:
        url = f"{host}/{film.name}"
        storage.stage(url)
        assert Path(storage.local(url)).read_bytes() == film.read_bytes()
        with pytest.raises(InputError, match=r"none.mp4 does not exist"):
            storage.stage(f"{host}/none.mp4")


def test_a_bucket_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr(storage, "CONTACT_TIMEOUT_SECONDS", 0.5)
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", "http://localhost:9")
    fsspec.filesystem("gs").clear_instance_cache()
    with pytest.raises(InputError, match=r"gs://silent/run does not answer .*check the network"):
        remote_run.open_run("gs://silent/run")
    fsspec.filesystem("gs").clear_instance_cache()


@pytest.mark.parametrize("code", [401, 403])
def test_a_bucket_that_denies_access_is_named(code, monkeypatch):
    class Deny(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(code)
            self.end_headers()
            self.wfile.write(b'{"error": {"message": "Anonymous caller is not allowed"}}')

        def log_message(self, *_):
            pass

    with serving(Deny) as host:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", host)
        fsspec.filesystem("gs").clear_instance_cache()
        with pytest.raises(InputError, match=r"is denied .*not allowed.*: run gcloud auth"):
            remote_run.open_run("gs://denied/run")
    fsspec.filesystem("gs").clear_instance_cache()


def test_a_server_that_denies_access_is_not_google():
    with (
        pytest.raises(InputError, match=r"access to s3://a/b\.mp4 is denied .*: log in there\.$"),
        storage.readable_errors("s3://a/b.mp4"),
    ):
        raise OSError("Unable to locate credentials")


@contextlib.contextmanager
def serving(handler):
    """Runs a web server in this context; yields its address."""
    with http.server.ThreadingHTTPServer(("localhost", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()


def test_local_paths_import_no_cloud_packages():
    program = """
import sys
from vae_gan_jax import main
from vae_gan_jax.training import checkpoint
checkpoint.steps("runs/none")
assert not {"gcsfs", "fsspec.implementations.http", "google.auth"} & sys.modules.keys()
"""
    subprocess.run([sys.executable, "-c", program], cwd=PROJECT, check=True)
