"""docs/python.md: every example works, and every name in its tables exists."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

import vae_gan_jax
from tests import runs
from tests.film.films import run_ffmpeg
from vae_gan_jax.film.read import video
from vae_gan_jax.film.store import preparation, run_frames
from vae_gan_jax.run import film_names

PAGE = Path(__file__).parent.parent / "docs" / "python.md"


def blocks(language: str) -> list[str]:
    """The page's blocks of code in a language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    return [code for name, code in fenced if name == language]


@pytest.fixture(scope="module")
def work(small, frames_THWC, tmp_path_factory):
    """A folder with a run of a film of eight seconds and two shots in ``runs/demo``."""
    folder = tmp_path_factory.mktemp("work")
    film = folder / "runs" / "demo" / "demo_film.mp4"
    film.parent.mkdir(parents=True)
    sources = ["testsrc2=size=64x36:rate=4:duration=4", "mandelbrot=size=64x36:rate=4"]
    inputs = [argument for source in sources for argument in ("-f", "lavfi", "-i", source)]
    run_ffmpeg(*inputs, "-filter_complex", "concat", "-frames:v", 32, "-pix_fmt", "yuv420p", film)
    config = runs.make(film.parent, small, film, frames_THWC, crop="none")
    store = preparation.prepare(
        [str(film)], run_frames.store_folder(config), run_frames.framing_of(config)
    )
    film_names.record_learnt_films(config.run_dir, store.manifest["films"])
    return folder


@pytest.mark.slow
def test_the_examples_work(work, program, monkeypatch):
    """Each example in the order of the page; between them the commands of the shell."""
    monkeypatch.chdir(work)
    ten_lines, swap, _ = blocks("python")
    names = {}
    exec(compile(ten_lines, "ten lines", "exec"), names)
    assert names["frames"].shape == (48, 18, 20, 3)
    assert names["picture"].shape == (18, 20, 3)
    assert video.probe("walk.mp4").frames == 48
    encode, decode = (shlex.split(line)[3:] for line in blocks("")[0].splitlines())
    code, stderr = program(encode, work)
    assert code == 0, stderr
    before = vae_gan_jax.Codes.load("runs/demo/codes/demo_film.npz")
    exec(compile(swap, "swap", "exec"), names)
    swapped = vae_gan_jax.Codes.load("edited.npz").mean
    assert before.shots.tolist() == [[0, 16], [16, 32]]
    np.testing.assert_array_equal(swapped, np.roll(before.mean, 16, axis=0))
    code, stderr = program(decode, work)
    assert code == 0, stderr
    assert video.probe("runs/demo/codes/edited.mp4").frames == 32


@pytest.mark.slow
def test_the_training_example_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"vae_gan_jax": vae_gan_jax}
    exec(compile(blocks("python")[-1], "training", "exec"), names)
    assert names["model"].step == 80
    assert names["model"].settings["z_dim"] == 16


def test_every_name_of_the_page_exists(work, monkeypatch):
    monkeypatch.chdir(work)
    model = vae_gan_jax.open("runs/demo")
    objects = {"model": model, "film": model.film, "vae_gan_jax": vae_gan_jax}
    named = re.findall(r"`(model|film|vae_gan_jax)\.(\w+)", PAGE.read_text())
    assert len(named) > 15
    for name, attribute in named:
        assert hasattr(objects[name], attribute), (name, attribute)
    public = {name for name in dir(model) if name[0] != "_"}
    internal = {"config", "variables", "checkpoint", "read_only", "with_latent_statistics"}
    assert public - internal == {attribute for name, attribute in named if name == "model"} - {
        "config"
    }
