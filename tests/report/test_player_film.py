"""The film of the page: the right frames, one layout, small enough, or beside the page."""

import base64
import dataclasses
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.film.films import numbers
from tests.report.runs_to_report import (
    FRAMES,
    RATE,
    film_record,
)
from vae_gan_jax.film.read import video
from vae_gan_jax.film.write.encode import Encoder
from vae_gan_jax.report import player_film
from vae_gan_jax.run import provenance


def film_in(page, number=0) -> bytes:
    match = re.search(rf'id="film-{number}-data">([\w+/=]+)</script>', page)
    return base64.b64decode(match[1], validate=True)


def test_the_film_in_the_page_is_the_source_beside_its_reconstruction(page, tmp_path):
    (tmp_path / "film.mp4").write_bytes(film_in(page))
    film = video.probe(tmp_path / "film.mp4")
    assert (film.frames, film.rate, film.audio_streams) == (FRAMES, RATE, 1)
    assert (film.pixel_format, film.matrix) == ("yuv420p", "bt709")
    framing = video.Framing(width=film.width, height=film.height, crop="none")
    frames_THWC = np.stack(list(video.decode(film.path, framing)))
    left_THWC, right_THWC = np.split(frames_THWC, 2, axis=2)
    assert numbers(left_THWC) == list(range(FRAMES))
    assert numbers(255 - right_THWC) == list(range(FRAMES))
    listed = film_list(film.path)
    assert "Constrained Baseline" in listed
    assert "Audio: aac (LC)" in listed


def film_list(path) -> str:
    from vae_gan_jax.film import ffmpeg

    return ffmpeg.output_of(["-hide_banner", "-i", str(path)])[2]


def test_one_layout_of_a_film_is_shown(config, source, tmp_path):
    """Side by side is preferred; a film that is missing, replaced or not recorded is not shown."""
    films = tmp_path / "films"
    films.mkdir()
    config = dataclasses.replace(config, run_dir=str(tmp_path))
    for name, size in (("x", (20, 18)), ("x_side_by_side", (40, 18)), ("x_stacked", (20, 36))):
        with Encoder(films / f"{name}.mp4", video.Framing(*size), Fraction(RATE)) as encoder:
            encoder.write(np.zeros((2, size[1], size[0], 3), np.uint8))

    def recorded(*names, **changes):
        paths = [films / f"{name}.mp4" for name in names]
        provenance.record(tmp_path, "films/x", film_record(source) | changes, paths)
        return player_film.pairs(config)

    assert player_film.pairs(config) == []
    (pair,) = recorded("x", "x_side_by_side", "x_stacked")
    assert (pair.name, pair.layout, Path(pair.film.path).name) == (
        "x",
        "side_by_side",
        "x_side_by_side.mp4",
    )
    (films / "x_side_by_side.mp4").write_bytes(b"replaced")
    (films / "x.mp4").unlink()
    (pair,) = player_film.pairs(config)
    assert (pair.name, pair.layout) == ("x", "stacked")


def test_without_its_source_the_reconstruction_is_shown_alone(config, source, tmp_path):
    config = dataclasses.replace(config, run_dir=str(tmp_path))
    path = tmp_path / "films" / "x.mp4"
    path.parent.mkdir()
    with Encoder(path, video.Framing(20, 18), Fraction(RATE)) as encoder:
        encoder.write(np.zeros((2, 18, 20, 3), np.uint8))
    for changes in ({"film": "another checksum"}, {"source": "gone.mp4"}):
        provenance.record(tmp_path, "films/x", film_record(source) | changes, [path])
        (pair,) = player_film.pairs(config)
        assert not pair.needs_source
    film = player_film.make(pair, 10**6, path.with_stem("page"))
    assert film.width / film.height == pytest.approx(20 / 18, rel=0.01)
    assert "gone.mp4" in pair.caption


def test_a_long_film_shrinks_and_a_longer_one_is_linked(config, tmp_path):
    (pair,) = player_film.pairs(config)
    beside = tmp_path / "films" / "x_report.mp4"
    whole = player_film.make(pair, 10**6, beside)
    assert whole.link == ""
    assert len(whole.content) <= 10**6
    assert not list(beside.parent.iterdir())
    seconds = FRAMES / RATE
    kilobits = player_film.AUDIO_KBITS + 70
    smaller = player_film.make(
        pair, int(kilobits * 125 / 0.95 * (seconds + player_film.BUFFER_SECONDS)), beside
    )
    assert smaller.link == ""
    assert smaller.width < whole.width
    linked = player_film.make(pair, 1000, beside)
    assert linked.content is None
    assert linked.link == "films/x_report.mp4"
    assert [path.name for path in beside.parent.iterdir()] == ["x_report.mp4"]
    assert video.probe(beside).frames == FRAMES
