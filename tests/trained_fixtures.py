"""Fixtures that several folders of tests share: a small model, and films in a reader."""

import subprocess

import jax
import pytest

from vae_gan_jax.evaluation import measure_plot
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.inference import batch_norm_statistics
from vae_gan_jax.inference.trained_model import Model
from vae_gan_jax.model import autoencoder
from vae_gan_jax.run import run_folder
from vae_gan_jax.training import train_state


@pytest.fixture
def log_closed():
    """Closes the log and releases the lock of the run after the test."""
    yield
    run_folder.close_run()


@pytest.fixture
def without_figures(monkeypatch):
    """Draws no figure of measures, which takes longest."""
    monkeypatch.setattr(measure_plot, "draw", lambda *_: None)


@pytest.fixture(scope="session")
def model(small, frames_THWC) -> Model:
    """Untrained networks."""
    state = train_state.create(small, jax.random.key(0))
    statistics = batch_norm_statistics.estimate(small, state, TrainingFrames(frames_THWC))
    variables = autoencoder.with_batch_stats(state.inference_variables, statistics)
    return Model(small, variables, 4)


@pytest.fixture(scope="session")
def framing(small) -> video.Framing:
    return video.Framing(width=small.width, height=small.height, crop="none")


@pytest.fixture(scope="session")
def shown(film, framing) -> FilmReader:
    """The film of 26 frames."""
    return FilmReader(str(film), "film", framing)


@pytest.fixture(scope="session")
def make_film(tmp_path_factory, framing):
    """A function that renders frames of an ffmpeg source and opens them in a reader."""
    from imageio_ffmpeg import get_ffmpeg_exe

    def make(source: str, frames: int) -> FilmReader:
        path = tmp_path_factory.mktemp("films") / "made.mkv"
        subprocess.run(
            [
                get_ffmpeg_exe(), "-v", "error", "-f", "lavfi", "-i", source,
                "-frames:v", str(frames), "-c:v", "ffv1", str(path),
            ],
            check=True,
        )  # fmt: skip
        return FilmReader(str(path), "made", framing)

    return make
