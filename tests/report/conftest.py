"""A run of everything that a report shows, and its page."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest

from tests.browser import chromium
from tests.film.films import counting_film, run_ffmpeg
from tests.report.runs_to_report import (
    FRAMES,
    NAME,
    RATE,
    film_record,
    write_measures,
    write_metrics,
)
from vae_gan_jax.film.read import video
from vae_gan_jax.film.write.encode import Encoder
from vae_gan_jax.report import report_page
from vae_gan_jax.run import atomic_io, provenance
from vae_gan_jax.run.settings import record_settings


@pytest.fixture(scope="session")
def source(tmp_path_factory):
    """A film that counts its frames, with sound."""
    folder = tmp_path_factory.mktemp("source")
    silent = counting_film(folder / "silent.mp4", count=FRAMES)
    path = folder / f"{NAME}.mp4"
    run_ffmpeg(
        *("-i", silent, "-f", "lavfi", "-i", f"sine=440:duration={FRAMES / RATE}"),
        *("-c:v", "copy", "-c:a", "aac", path),
    )
    return path


@pytest.fixture(scope="session")
def config(small, source, tmp_path_factory):
    """A run that holds everything; its "reconstruction" is the negative of the film."""
    run_dir = tmp_path_factory.mktemp("runs") / "run"
    config = dataclasses.replace(small, run_dir=str(run_dir), film=str(source), crop="none")
    (run_dir / "films").mkdir(parents=True)
    record_settings(run_dir, config)
    framing = video.Framing(width=config.width, height=config.height, crop="none")
    path = run_dir / "films" / f"{NAME}.mp4"
    with Encoder(path, framing, Fraction(RATE), source) as encoder:
        for frames_BHWC in video.decode_blocks(source, framing):
            encoder.write(255 - frames_BHWC)
    provenance.record(run_dir, f"films/{NAME}", film_record(source), [path])
    write_metrics(run_dir)
    for number, name in enumerate(("step_00000003", "epoch_001", "step_00000006", "epoch_002")):
        grid_HWC = np.full((58, 264, 3), 60 * number, np.uint8)
        atomic_io.write(run_dir / "samples" / f"{name}.png", atomic_io.png(grid_HWC))
    figure = atomic_io.png(np.zeros((30, 40, 3), np.uint8))
    atomic_io.write(run_dir / "figures" / f"{NAME}.png", figure)
    write_measures(run_dir)
    return config


@pytest.fixture(scope="session")
def page(config) -> str:
    """The HTML of the report of that run."""
    return report_page.write(config).read_text()


@pytest.fixture(scope="session")
def browser():
    with chromium("--autoplay-policy=no-user-gesture-required") as driver:
        yield driver
