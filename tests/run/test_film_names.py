"""Names of results fit into every file system, never clash and stay the same."""

import json
import math
import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from vae_gan_jax.config import Config, InputError
from vae_gan_jax.run import film_names

ENTRY = {
    "path": "film.mp4", "sha256": "ab", "stream": 0, "count": 9, "rate": "24", "first_time": 0.5,
    "shots": [0, 4], "name": "film",
}  # fmt: skip


@pytest.mark.parametrize(
    ("film", "name"),
    [
        ("a/my film.mp4", "my film"),
        ("a/Film #2 100%d 'x'.mkv", "Film #2 100%d 'x'"),
        ("-é, 日本.mp4", "-é, 日本"),
        ("a\nb\u2028c.mp4", "a_b_c"),
        ("l\udce9.mp4", "l_"),
        (".hidden.mp4", "hidden"),
        ("stills/*.png", "stills"),
    ],
)
def test_an_ordinary_name_is_kept_and_what_no_line_holds_is_replaced(film, name):
    assert film_names.name_of(film) == name


def test_a_file_with_the_signs_of_a_pattern_has_its_own_name(tmp_path):
    path = tmp_path / "[1080p] what?.mp4"
    path.touch()
    assert film_names.name_of(str(path)) == "[1080p] what?"


@given(st.binary(min_size=1, max_size=300).map(os.fsdecode))
@example("a" * 300)
@example("日" * 100)
@example("...")
def test_every_name_fits(stem):
    name = film_names.fitting_name(stem.replace("/", "").replace("\0", ""))
    assert film_names.is_name(name)
    assert 0 < len(name.encode()) <= film_names.MAX_NAME_BYTES


def test_long_names_differ_where_the_films_names_do():
    names = {film_names.fitting_name("a" * 230 + end) for end in ("1", "2", "")}
    assert len(names) == 3


@given(
    st.lists(
        st.sampled_from(
            ["a", "A", "a_2", "a_2_2", "b", "a_side_by_side", "a_stacked", "a_report_2", "é", "é"]
        ),
        max_size=9,
    )
)
def test_written_films_of_different_films_never_share_a_file(names):
    given_names = []
    for name in names:
        given_names.append(film_names.distinct_name(name, given_names))
    suffixes = ("", "_side_by_side", "_stacked", "_passthrough", "_report", "_report_2")
    files = [name.casefold() + suffix for name in given_names for suffix in suffixes]
    assert len(set(files)) == len(files)
    assert given_names[:1] == names[:1]


def test_learnt_films_of_one_name_get_numbers_that_stay(tmp_path):
    films = ("A/film.mp4", "B/film.mp4", "C/other.mkv")
    config = Config(run_dir=str(tmp_path), film=",".join(films))
    names = ["film", "film_2", "other"]
    assert film_names.learnt_names(config) == names
    entries = [ENTRY | {"path": path} for path in films]
    film_names.record_learnt_films(tmp_path, entries)
    film_names.record_learnt_films(tmp_path, entries)
    moved = Config(run_dir=str(tmp_path), film="new.mp4,names.mp4,here.mp4")
    assert film_names.learnt_names(moved) == names


def test_a_run_below_a_file_has_no_films_and_an_unreadable_record_is_not_damage(tmp_path):
    (tmp_path / "file").touch()
    assert film_names.learnt_entries(tmp_path / "file" / "run") is None
    (tmp_path / film_names.LEARNT).mkdir()
    with pytest.raises(IsADirectoryError):
        film_names.learnt_entries(tmp_path)


@pytest.mark.parametrize("name", ["../film", "a/b", 3, "a\nb", ".", ""])
def test_a_foreign_name_in_the_record_of_learnt_films_is_damage(tmp_path, name):
    (tmp_path / film_names.LEARNT).write_text(json.dumps([ENTRY | {"name": name}]))
    with pytest.raises(InputError, match="is damaged"):
        film_names.learnt_entries(tmp_path)


@pytest.mark.parametrize("content", ["", "7", "[1]", "[]", "{}", "[{}]", "[" * 50_000])
def test_a_damaged_record_of_learnt_films_is_named(content, tmp_path):
    (tmp_path / film_names.LEARNT).write_text(content)
    with pytest.raises(InputError, match=r"learnt_films.json is damaged: delete it"):
        film_names.learnt_entries(tmp_path)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("count", ["9", 9.0, -9, 0, True, 10**50, 3]),
        ("stream", ["0", 0.0, -1, False]),
        ("rate", ["0/1", "1/0", "0", "-24", "nan", 24, 24.0]),
        ("first_time", ["0", math.nan, math.inf, 1e300, True]),
        ("shots", [[], [0, 0], [1], [0, "4"], [0, 4.0], [0, 9], "0", {"0": 4}]),
        ("path", [7, "a\0b", "\ud800"]),
        ("sha256", [0, [], "a\0b"]),
    ],
)
def test_a_damaged_value_in_an_entry_of_a_film_is_damage(tmp_path, key, values):
    path = tmp_path / film_names.LEARNT
    path.write_text(json.dumps([ENTRY]))
    assert film_names.learnt_entries(tmp_path) == [ENTRY]
    wrong = [ENTRY | {key: value} for value in (*values, None)]
    wrong.append({name: value for name, value in ENTRY.items() if name != key})
    for entry in wrong:
        path.write_text(json.dumps([ENTRY, entry]))
        with pytest.raises(InputError, match=r"learnt_films.json is damaged: delete it"):
            film_names.learnt_entries(tmp_path)


def test_names_with_commas_are_told_apart_by_what_exists(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("a,b.mp4", "c.mp4", "d, e,f.mp4", " g.mp4"):
        (tmp_path / name).touch()
    text = "a,b.mp4,c.mp4,d, e,f.mp4, g.mp4, h.mp4,"
    films = ["a,b.mp4", "c.mp4", "d, e,f.mp4", " g.mp4", "h.mp4"]
    assert film_names.split_films(text) == films
