"""Derived files are current only while they and their origins are unchanged."""

import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.run import provenance

MADE_FROM = {"checkpoint": "ab12", "film": "cd34", "settings": {"crop": "16:9", "at": (1.0, 2.0)}}


@pytest.fixture
def films(tmp_path):
    paths = [tmp_path / "films" / name for name in ("a.mp4", "a_stacked.mp4")]
    for path in paths:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(path.name.encode())
    provenance.record(tmp_path, "films/a", MADE_FROM, paths)
    return paths


def test_recorded_files_are_current(tmp_path, films):
    assert provenance.is_current(tmp_path, "films/a", MADE_FROM, films)
    assert provenance.recorded(tmp_path, "films/a")["settings"]["at"] == [1.0, 2.0]


@pytest.mark.parametrize("change", [{"checkpoint": "other"}, {"film": "other"}, {"settings": {}}])
def test_files_made_from_something_else_are_not_current(tmp_path, films, change):
    assert not provenance.is_current(tmp_path, "films/a", MADE_FROM | change, films)


def test_a_changed_or_missing_file_is_not_current(tmp_path, films):
    films[1].write_bytes(b"another film")
    assert not provenance.is_current(tmp_path, "films/a", MADE_FROM, films)
    assert provenance.is_current(tmp_path, "films/a", MADE_FROM, films[:1])
    films[0].unlink()
    assert not provenance.is_current(tmp_path, "films/a", MADE_FROM, films[:1])


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"null", b'{"made_from": 1}', b'{"files": 3}', b"\xff\xfe\x00"]
)
def test_a_damaged_or_foreign_record_is_no_record(tmp_path, films, content):
    (tmp_path / provenance.FOLDER / "films" / "a.json").write_bytes(content)
    assert not provenance.is_current(tmp_path, "films/a", MADE_FROM, films)
    assert provenance.recorded(tmp_path, "films/a") is None


def test_a_moved_run_keeps_its_records(tmp_path, films):
    moved = tmp_path.rename(tmp_path.with_name("moved"))
    paths = [moved / "films" / path.name for path in films]
    assert provenance.is_current(moved, "films/a", MADE_FROM, paths)


@pytest.mark.parametrize("cache", [None, b"{", b"[1]", b"\xff"])
def test_the_checksum_of_a_film_follows_its_content(tmp_path, cache):
    film = tmp_path / "film.mp4"
    film.write_bytes(b"one")
    first = provenance.film_checksum([film], tmp_path)
    if cache is not None:
        (tmp_path / provenance.FOLDER / provenance.CHECKSUMS).write_bytes(cache)
    assert provenance.film_checksum([film], tmp_path) == first == provenance.checksum([film])
    film.write_bytes(b"two")
    assert provenance.film_checksum([film], tmp_path) == provenance.checksum([film]) != first


def test_unfinished_work_is_resumed_only_from_the_same(tmp_path):
    folder = tmp_path / "film.partial"

    def resumed(made_from) -> bool:
        """Whether a file that the folder holds is still there."""
        (folder / "work").touch()
        provenance.open_unfinished(folder, made_from)
        return (folder / "work").exists()

    with pytest.raises(InputError, match="not made by the first process"):
        provenance.open_unfinished(folder, MADE_FROM, is_first=False)
    provenance.open_unfinished(folder, MADE_FROM)
    assert resumed(MADE_FROM)
    provenance.open_unfinished(folder, MADE_FROM, is_first=False)
    assert not resumed(MADE_FROM | {"film": "other"})
    (folder / provenance.LABEL).write_bytes(b"\xff")
    assert not resumed(MADE_FROM | {"film": "other"})


def test_ignored_keys_may_differ(tmp_path, films):
    moved = MADE_FROM | {"film": "other"}
    assert provenance.is_current(tmp_path, "films/a", moved, films, ignored=("film",))
    assert not provenance.is_current(tmp_path, "films/a", moved, films, ignored=("checkpoint",))
