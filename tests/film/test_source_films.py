"""A film finds its results again in every later command, and never takes those of another film."""

import json
import shutil
from pathlib import Path

import pytest

from vae_gan_jax.config import Config
from vae_gan_jax.film import source_films
from vae_gan_jax.run import film_names, provenance, settings


@pytest.fixture
def films(tmp_path, film):
    """Two films, two copies of each: A/film.mp4 = C/film.mp4, B/film.mp4 = D/other.mp4."""
    paths = {}
    for name in ("A/film.mp4", "B/film.mp4", "C/film.mp4", "D/other.mp4"):
        paths[name] = tmp_path / name
        paths[name].parent.mkdir()
        shutil.copy(film, paths[name])
    for name in ("B/film.mp4", "D/other.mp4"):
        paths[name].write_bytes(paths[name].read_bytes() + b"another film")
    return {name: str(path) for name, path in paths.items()}


@pytest.fixture
def learnt(tmp_path, films):
    """A run that learnt A/film.mp4."""
    config = Config(run_dir=str(tmp_path / "run"), film=films["A/film.mp4"])
    settings.record_settings(tmp_path / "run", config)
    sha256 = provenance.checksum([config.film])
    entry = {
        "path": config.film, "sha256": sha256, "stream": 0, "count": 26, "rate": "24",
        "first_time": 0.0, "shots": [0],
    }  # fmt: skip
    film_names.record_learnt_films(config.run_dir, [entry])
    return config


def named(config: Config, *sources: str) -> list[str]:
    """The names of source films in a command of their own."""
    config = Config(**(vars(config) | {"source": ",".join(sources)}))
    return list(source_films.names(config).values())


def test_another_film_of_the_same_name_gets_a_number_that_stays(learnt, films):
    assert named(learnt) == ["film"]
    assert named(learnt, films["B/film.mp4"]) == ["film_2"]
    assert named(learnt, films["A/film.mp4"]) == ["film"]
    assert named(learnt, films["B/film.mp4"], films["A/film.mp4"]) == ["film_2", "film"]
    assert named(learnt) == ["film"]


def test_a_copy_of_the_same_name_is_the_same_film_unless_one_command_names_both(learnt, films):
    assert named(learnt, films["C/film.mp4"]) == ["film"]
    assert named(learnt, films["A/film.mp4"], films["C/film.mp4"]) == ["film", "film_2"]


def test_a_source_that_was_moved_or_renamed_keeps_its_name(learnt, films):
    assert named(learnt, films["B/film.mp4"]) == ["film_2"]
    assert named(learnt, films["D/other.mp4"]) == ["other"]
    Path(films["B/film.mp4"]).unlink()
    moved = shutil.copy(films["D/other.mp4"], films["B/film.mp4"].replace("film", "renamed"))
    assert named(learnt, moved) == ["film_2"]


def test_a_film_that_was_replaced_keeps_the_name_of_its_path(learnt, films):
    assert named(learnt, films["D/other.mp4"]) == ["other"]
    shutil.copy(films["A/film.mp4"], films["D/other.mp4"])
    assert named(learnt, films["D/other.mp4"]) == ["other"]


def test_a_learnt_film_that_is_gone_has_its_name(learnt, films):
    Path(films["A/film.mp4"]).unlink()
    assert named(learnt) == ["film"]
    assert named(learnt, films["B/film.mp4"]) == ["film_2"]


@pytest.mark.parametrize(
    "content",
    [b"", b"[", b"[3]", b"{}", b"\xff", b'[{"name": "../x", "path": "p", "sha256": "s"}]'],
)
def test_damaged_names_are_given_again(learnt, films, content):
    path = Path(learnt.run_dir, source_films.FILE)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    assert named(learnt, films["B/film.mp4"]) == ["film_2"]
    assert json.loads(path.read_text())[0]["name"] == "film_2"


def test_a_folder_that_is_no_run_gets_no_file(tmp_path, films):
    config = Config(run_dir=str(tmp_path / "new"), source=films["A/film.mp4"])
    assert source_films.name(config, films["A/film.mp4"]) == "film"
    assert not (tmp_path / "new").exists()
