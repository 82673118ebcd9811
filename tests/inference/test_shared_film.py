"""A film reconstructed by several processes is the one that a single process makes, to the byte."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.film import films
from vae_gan_jax.config import Config, InputError
from vae_gan_jax.film.read import video
from vae_gan_jax.film.write import segments
from vae_gan_jax.inference import film_outputs
from vae_gan_jax.inference.reconstruct_film import Reconstruction
from vae_gan_jax.run.team import Team


@pytest.fixture(autouse=True)
def short_parts(monkeypatch):
    """The film of 26 frames, in mini-batches of 4, has 8 that whole batches cover."""
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 3)


def make(config: Config, model, film, framing, processes: int = 1) -> int:
    """Reconstructs as so many processes, which are threads here; returns what the first does."""
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
            barrier.abort()  # a process that ends ends the others
            raise

    with ThreadPoolExecutor(processes) as pool:
        made = [pool.submit(process, index) for index in range(processes)]
    failed = [error for future in made if isinstance(error := future.exception(), InputError)]
    if failed:
        raise failed[0]
    assert [future.result() for future in made[1:]] == [None] * (processes - 1)
    return made[0].result()


def contents(run_dir: str) -> dict[str, bytes]:
    """Every file of a run, hidden ones too."""
    files = (path for path in Path(run_dir).rglob("*") if path.is_file())
    return {str(path.relative_to(run_dir)): path.read_bytes() for path in files}


def at(config: Config, folder: Path) -> Config:
    return dataclasses.replace(config, run_dir=str(folder), frames_out=str(folder / "stills"))


def tear(monkeypatch, first: int, frames: int):
    """Decoding ends with an error after so many frames, where it starts with the ``first``."""
    decode = video.decode

    def torn(*arguments, **options):
        for number, frame_HWC in enumerate(decode(*arguments, **options)):
            if number == frames and options.get("skip", 0) == first:
                raise InputError("torn.")
            yield frame_HWC

    monkeypatch.setattr(video, "decode", torn)


SETTINGS = {
    "layouts": {"layout": ("output", "side_by_side"), "upscale": (40, 36)},
    "the batch's own statistics, noise": {"batch_norm": "batch", "reconstruct_noise": 0.5},
    "another codec": {"codec": "prores"},
    "another container": {"codec": "ffv1"},
    "one decoder must see all of it": {"strict": True},
}


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_it_is_the_film_of_one_process(settings, model, film, framing, tmp_path):
    config = dataclasses.replace(model.config, **settings)
    alone, shared = at(config, tmp_path / "alone"), at(config, tmp_path / "shared")
    assert make(alone, model, film, framing) == 26
    assert make(shared, model, film, framing, processes=3) == 26
    assert contents(shared.run_dir) == contents(alone.run_dir)
    assert len(contents(alone.run_dir)) == 26 + len(config.layout)


@pytest.mark.parametrize(("trim_end", "frames"), [(0.2, 5), (0.34, 9), (0.5, 12), (1.0, 24)])
def test_any_length_and_more_processes_than_parts(trim_end, frames, model, film, tmp_path):
    config = model.config
    framing = video.Framing(config.width, config.height, crop="none", trim_end=trim_end)
    alone, shared = at(config, tmp_path / "alone"), at(config, tmp_path / "shared")
    assert make(alone, model, film, framing) == frames
    assert make(shared, model, film, framing, processes=5) == frames
    assert contents(shared.run_dir) == contents(alone.run_dir)


@pytest.mark.parametrize(
    ("first", "frames", "kept"),
    [
        (0, 8, {"0.mp4"}),
        (8, 12, {"4.mp4"}),  # the second process's, from the batch before frame 12
        (20, 5, {"0.mp4", "7.mp4"}),  # the first's end of the film
    ],
)
def test_interrupted_it_goes_on(first, frames, kept, model, film, framing, tmp_path, monkeypatch):
    """As two processes, of which one is torn, then as three, or as one."""
    config = dataclasses.replace(model.config, batch_norm="batch", reconstruct_noise=0.5)
    alone = at(config, tmp_path / "alone")
    make(alone, model, film, framing)
    for again in (3, 1):
        shared = at(config, tmp_path / str(again))
        with monkeypatch.context() as patch:
            tear(patch, first, frames)
            with pytest.raises(InputError, match="torn"):
                make(shared, model, film, framing, processes=2)
        assert kept <= {path.name for path in (tmp_path / str(again)).rglob("*.mp4")}
        assert make(shared, model, film, framing, processes=again) == 26
        assert contents(shared.run_dir) == contents(alone.run_dir)


def test_what_one_process_began_alone_goes_on_where_it_stopped(
    model, film, framing, tmp_path, monkeypatch
):
    """Strictly, so that the others have nothing to do."""
    config = dataclasses.replace(model.config, strict=True)
    alone, shared = at(config, tmp_path / "alone"), at(config, tmp_path / "shared")
    make(alone, model, film, framing)
    with monkeypatch.context() as patch:
        tear(patch, 0, 16)
        with pytest.raises(InputError, match="torn"):
            make(shared, model, film, framing)
    assert make(shared, model, film, framing, processes=2) == 26
    assert contents(shared.run_dir) == contents(alone.run_dir)


@pytest.fixture
def damaged(tmp_path):
    """A film of 30 frames, of which numbers 4 to 8 cannot be decoded."""
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


def test_frames_that_are_missing_move_no_others(
    damaged, model, framing, tmp_path, monkeypatch, caplog
):
    """They are told, and the rest comes once and in order, shared, interrupted or neither."""
    assert video.probe(damaged).frames == 30
    alone = at(model.config, tmp_path / "alone")
    assert make(alone, model, damaged, framing) == 25
    expected = contents(alone.run_dir)
    assert len(expected) == 25 + 1
    for processes in (1, 3):
        shared = at(model.config, tmp_path / str(processes))
        assert make(shared, model, damaged, framing, processes) == 25
        assert contents(shared.run_dir) == expected
        torn = dataclasses.replace(model.config, run_dir=str(tmp_path / f"{processes} torn"))
        with monkeypatch.context() as patch:
            tear(patch, 0, 24)  # past them, just before the part that the third process made
            with pytest.raises(InputError, match="torn"):
                make(torn, model, damaged, framing, processes)
        assert make(torn, model, damaged, framing, processes) == 25
        assert contents(torn.run_dir)["films/film.mp4"] == expected["films/film.mp4"]
    assert "lacks frames after number 0: process 0 continues" in caplog.text
