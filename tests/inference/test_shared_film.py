"""Several processes reconstruct the same film as one process, byte for byte."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.film import films
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.read import video
from vae_gan_jax.film.write import segments
from vae_gan_jax.inference import film_outputs
from vae_gan_jax.inference.reconstruct_film import Reconstruction
from vae_gan_jax.run.team import Team


@pytest.fixture(autouse=True)
def short_segments(monkeypatch):
    """Whole mini-batches of 4 cover 8 segments of the film of 26 frames."""
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 3)


def make(config: Config, model, film, framing, processes: int = 1) -> int:
    """Reconstructs with several threads as processes; returns the result of process 0."""
    barrier = threading.Barrier(processes)
    paths = film_outputs.film_paths(config, "film")
    Path(config.run_dir, "films").mkdir(parents=True, exist_ok=True)
    model = dataclasses.replace(model, config=config)

    def process(index: int):
        team = Team(index, processes, lambda name: barrier.wait(timeout=60))
        origin = {"made": "from this"}
        try:
            return Reconstruction(config, str(film), framing, paths, origin, team).write(model)
        except InputError:
            barrier.abort()  # as the end of a process ends the others
            raise

    with ThreadPoolExecutor(processes) as pool:
        futures = [pool.submit(process, index) for index in range(processes)]
    errors = [error for future in futures if isinstance(error := future.exception(), InputError)]
    if errors:
        raise errors[0]
    assert [future.result() for future in futures[1:]] == [None] * (processes - 1)
    return futures[0].result()


def contents(run_dir: str) -> dict[str, bytes]:
    """The content of every file of a run, including hidden files."""
    files = (path for path in Path(run_dir).rglob("*") if path.is_file())
    return {str(path.relative_to(run_dir)): path.read_bytes() for path in files}


def at(config: Config, folder: Path) -> Config:
    return dataclasses.replace(config, run_dir=str(folder), frames_out=str(folder / "stills"))


def fail_decoding(monkeypatch, first: int, frames: int):
    """Decoding that starts at frame ``first`` fails after ``frames`` frames."""
    decode = video.decode

    def failing(*arguments, **options):
        for number, frame_HWC in enumerate(decode(*arguments, **options)):
            if number == frames and options.get("skip", 0) == first:
                raise InputError("failed.")
            yield frame_HWC

    monkeypatch.setattr(video, "decode", failing)


SETTINGS = {
    "layouts": {"layout": ("output", "side_by_side"), "upscale": (40, 36)},
    "batch statistics, noise": {"batch_norm": "batch", "reconstruct_noise": 0.5},
    "another codec": {"codec": "prores"},
    "another container": {"codec": "ffv1"},
    "strict": {"strict": True},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_film_equals_that_of_one_process(settings, model, film, framing, tmp_path):
    config = dataclasses.replace(model.config, **settings)
    alone, shared = at(config, tmp_path / "alone"), at(config, tmp_path / "shared")
    assert make(alone, model, film, framing) == 26
    assert make(shared, model, film, framing, processes=3) == 26
    assert contents(shared.run_dir) == contents(alone.run_dir)
    assert len(contents(alone.run_dir)) == 26 + len(config.layout)


@pytest.mark.parametrize(("trim_end", "frames"), [(0.2, 5), (0.34, 9), (0.5, 12), (1.0, 24)])
def test_any_length_and_more_processes_than_segments(trim_end, frames, model, film, tmp_path):
    config = model.config
    framing = video.Framing(config.width, config.height, crop="none", trim_end=trim_end)
    alone, shared = at(config, tmp_path / "alone"), at(config, tmp_path / "shared")
    assert make(alone, model, film, framing) == frames
    assert make(shared, model, film, framing, processes=5) == frames
    assert contents(shared.run_dir) == contents(alone.run_dir)


@pytest.mark.parametrize(
    ("first", "frames", "segments_left"),
    [
        (0, 8, {"0.mp4"}),
        (8, 12, {"4.mp4"}),  # range of process 1, from the batch before frame 12
        (20, 5, {"0.mp4", "7.mp4"}),  # process 0, the end of the film
    ],
)
def test_an_interrupted_film_resumes(
    first, frames, segments_left, model, film, framing, tmp_path, monkeypatch
):
    """One of two processes fails; then three processes, or one, resume."""
    config = dataclasses.replace(model.config, batch_norm="batch", reconstruct_noise=0.5)
    alone = at(config, tmp_path / "alone")
    make(alone, model, film, framing)
    for again in (3, 1):
        shared = at(config, tmp_path / str(again))
        with monkeypatch.context() as patch:
            fail_decoding(patch, first, frames)
            with pytest.raises(InputError, match="failed"):
                make(shared, model, film, framing, processes=2)
        assert segments_left <= {path.name for path in (tmp_path / str(again)).rglob("*.mp4")}
        assert make(shared, model, film, framing, processes=again) == 26
        assert contents(shared.run_dir) == contents(alone.run_dir)


def test_several_processes_resume_the_work_of_one(model, film, framing, tmp_path, monkeypatch):
    """With ``strict``, process 0 writes all frames."""
    config = dataclasses.replace(model.config, strict=True)
    alone, shared = at(config, tmp_path / "alone"), at(config, tmp_path / "shared")
    make(alone, model, film, framing)
    with monkeypatch.context() as patch:
        fail_decoding(patch, 0, 16)
        with pytest.raises(InputError, match="failed"):
            make(shared, model, film, framing)
    assert make(shared, model, film, framing, processes=2) == 26
    assert contents(shared.run_dir) == contents(alone.run_dir)


@pytest.fixture
def damaged(tmp_path):
    """A film of 30 frames; five of them cannot be decoded."""
    whole, path = tmp_path / "whole.mov", tmp_path / "film.mov"
    picture = ("-f", "lavfi", "-i", "testsrc2=size=64x36:rate=24", "-frames:v", 30)
    films.run_ffmpeg(*picture, "-c:v", "png", whole)
    content = whole.read_bytes().split(b"\x89PNG")
    path.write_bytes(
        b"".join(
            (b"" if number == 0 else b"none" if number in range(5, 10) else b"\x89PNG") + picture
            for number, picture in enumerate(content)
        )
    )
    return path


def test_a_frame_that_does_not_decode_shows_the_one_before(
    damaged, model, framing, tmp_path, monkeypatch, caplog
):
    """So the film keeps its length, also after interruptions and in several processes."""
    assert video.probe(damaged).frames == 30
    shown_THWC = np.stack(list(video.decode(damaged, framing)))
    assert (shown_THWC[4:9] == shown_THWC[3]).all()
    assert (shown_THWC[9] != shown_THWC[8]).any()
    assert "film.mov is damaged" in caplog.text
    alone = at(model.config, tmp_path / "alone")
    assert make(alone, model, damaged, framing) == 30
    expected = contents(alone.run_dir)
    assert len(expected) == 30 + 1
    for processes in (1, 3):
        resumed = dataclasses.replace(model.config, run_dir=str(tmp_path / f"{processes} resumed"))
        with monkeypatch.context() as patch:
            fail_decoding(patch, 0, 8)
            with pytest.raises(InputError, match="failed"):
                make(resumed, model, damaged, framing, processes)
        assert make(resumed, model, damaged, framing, processes) == 30
        assert contents(resumed.run_dir)["films/film.mp4"] == expected["films/film.mp4"]
