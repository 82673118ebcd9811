"""A store holds all frames of its films, and is prepared again only after a change."""

import json
import os
import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest

from tests.film.films import counting_film, entries, numbers
from vae_gan_jax.config import InputError
from vae_gan_jax.film.read import video
from vae_gan_jax.film.read.video import Framing
from vae_gan_jax.film.store import frame_store, preparation

FRAMING = Framing(64, 48, crop="none")


@pytest.fixture
def film(tmp_path):
    return counting_film(tmp_path / "film.mp4")


@pytest.fixture
def preparations(monkeypatch):
    """One entry for each time that films are decoded."""
    calls, decode_into = [], preparation.decode_into
    monkeypatch.setattr(
        preparation, "decode_into", lambda *args: (calls.append(args), decode_into(*args))
    )
    return calls


def test_the_frames_of_the_film(tmp_path, film):
    store = preparation.prepare([film], tmp_path / "frames", FRAMING)
    assert store.frames_THWC.shape == (48, 48, 64, 3)
    assert store.frames_THWC.dtype == np.uint8
    assert not store.frames_THWC.flags.writeable
    assert numbers(store.frames_THWC) == list(range(48))
    again = frame_store.open_store(tmp_path / "frames")
    np.testing.assert_array_equal(again.frames_THWC, store.frames_THWC)
    again.verify()


def test_the_manifest_describes_the_films(tmp_path, film):
    other = counting_film(tmp_path / "other.mkv", "25", 30)
    store = preparation.prepare([film, other], tmp_path / "frames", FRAMING)
    keys = ("path", "count", "rate", "first_time")
    assert [tuple(entry[key] for key in keys) for entry in store.manifest["films"]] == [
        (film, 48, "24", 0.0),
        (other, 30, "25", 0.0),
    ]
    assert numbers(store.frames_THWC) == [*range(48), *range(30)]


def test_excluded_frames_are_stored_but_not_learnt(tmp_path, film):
    preparation.prepare([film], tmp_path / "frames", FRAMING)
    store = frame_store.open_store(tmp_path / "frames", exclude=((0, 0.5), (1.5, None)))
    assert len(store.frames_THWC) == 48
    assert learnt(store) == [*range(12, 36)]
    with pytest.raises(InputError, match="leaves no frame"):
        frame_store.open_store(tmp_path / "frames", exclude=((0, None),))


def test_an_exclusion_without_frames_is_named(caplog):
    film = {"count": 48, "rate": "24", "first_time": 0.0, "shots": [0]}
    exclude = ((0.5, 1.0), (2.0, 3.0), (500.0, None))
    store = frame_store.FrameStore("", {"films": [film]}, exclude)
    store.warn_of_empty_exclusions()
    expected = ["--exclude=2-3 excludes no frame.", "--exclude=500-end excludes no frame."]
    assert [record.getMessage() for record in caplog.records] == expected


def learnt(store):
    return store.training_T[np.arange(len(store.training_T))].tolist()


def test_every_film_excludes_frames_by_its_own_clock():
    """Ranges within, between, across and beyond films: only the time of a frame decides."""
    films = [
        {"path": "a", "count": 50, "rate": "24000/1001", "first_time": 0.083},
        {"path": "b", "count": 30, "rate": "25", "first_time": 0.0},
    ]
    times_T = [film["first_time"] + n / float(Fraction(film["rate"]))
               for film in films for n in range(film["count"])]  # fmt: skip
    for exclude in [
        (), ((0.2, 0.4),), ((0.5, 1.0), (0.1, 0.6)), ((0, 5), (0.3, 0.4)), ((1.0, None),),
        ((0.24, 0.48), (0.48, 0.4801), (1.16, 1.2)),
    ]:  # fmt: skip
        store = frame_store.FrameStore("", {"films": films, "shape": [80]}, exclude)
        assert learnt(store) == [
            number
            for number, time in enumerate(times_T)
            if not any(start <= time and (end is None or time < end) for start, end in exclude)
        ]


def test_prepared_once(tmp_path, film, preparations):
    preparation.prepare([film], tmp_path / "frames", FRAMING)
    preparation.prepare([film], tmp_path / "frames", FRAMING)
    os.utime(film)  # another date, the same content
    preparation.prepare([film], tmp_path / "frames", FRAMING)
    assert len(preparations) == 1


def test_prepared_again_for_other_settings_or_another_film(tmp_path, film, preparations):
    preparation.prepare([film], tmp_path / "frames", FRAMING)
    smaller = preparation.prepare([film], tmp_path / "frames", Framing(32, 24, crop="none"))
    assert smaller.frames_THWC.shape == (48, 24, 32, 3)
    counting_film(film, count=40)
    changed = preparation.prepare([film], tmp_path / "frames", FRAMING)
    assert len(changed.frames_THWC) == 40
    assert len(preparations) == 3


def test_a_folder_with_other_files_and_a_file_are_not_replaced(tmp_path, film):
    folder = tmp_path / "frames"
    folder.mkdir()
    (folder / "mine.txt").write_text("letters")
    with pytest.raises(InputError, match=r"not of prepared frames, such as mine\.txt: remove them"):
        preparation.prepare([film], folder, FRAMING)
    assert (folder / "mine.txt").read_text() == "letters"
    file = tmp_path / "file"
    file.write_text("letters")
    with pytest.raises(InputError, match=r"\(Not a directory\): remove the file"):
        preparation.prepare([film], file, FRAMING)
    assert file.read_text() == "letters"
    assert entries(tmp_path) == ["file", "film.mp4", "frames"]


def test_a_link_leads_to_the_disk_that_holds_the_frames(tmp_path, film):
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "frames").symlink_to(disk / "frames")
    for size in (FRAMING, Framing(32, 24, crop="none")):  # the second store replaces the first
        store = preparation.prepare([film], tmp_path / "frames", size)
        assert store.frames_THWC.shape[1:3] == (size.height, size.width)
        assert (tmp_path / "frames").is_symlink()
        assert entries(disk) == ["frames"]
    assert entries(tmp_path) == ["disk", "film.mp4", "frames"]


def test_a_film_that_still_grows_is_refused(tmp_path, film, monkeypatch):
    def grow(_):
        with open(film, "ab") as file:
            file.write(b"more")

    with monkeypatch.context() as patch:
        patch.setattr(video.Decoder, "loss", grow)
        with pytest.raises(InputError, match=r"film\.mp4 changed while it was read: wait"):
            preparation.prepare([film], tmp_path / "frames", FRAMING)
    assert entries(tmp_path) == ["film.mp4"]
    preparation.prepare([film], tmp_path / "frames", FRAMING)


def test_an_interrupted_preparation_leaves_no_store(tmp_path, film, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(video.Decoder, "loss", interrupt)
        with pytest.raises(KeyboardInterrupt):
            preparation.prepare([film], tmp_path / "frames", FRAMING)
    assert entries(tmp_path) == ["film.mp4"]
    with pytest.raises(InputError, match="no prepared frames"):
        frame_store.open_store(tmp_path / "frames")


@pytest.mark.parametrize("damage", ["short", "flipped", "manifest"])
def test_damage_is_named_and_repaired(tmp_path, film, damage):
    store = preparation.prepare([film], tmp_path / "frames", FRAMING)
    whole = np.array(store.frames_THWC)
    path = tmp_path / "frames" / ("manifest.json" if damage == "manifest" else "frames.u8")
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[1000] ^= 1
    path.write_bytes(content if damage == "flipped" else content[:-7])
    with pytest.raises(InputError, match="damaged"):
        frame_store.open_store(tmp_path / "frames")
    repaired = preparation.prepare([film], tmp_path / "frames", FRAMING)
    np.testing.assert_array_equal(repaired.frames_THWC, whole)


FOREIGN = ("[]", "null", "7", "{}", '{"version": 1}', '{"version": 2}', "\xff", "NaN")


@pytest.mark.parametrize("content", FOREIGN)
def test_a_foreign_manifest_is_named_and_prepared_again(tmp_path, film, content, preparations):
    preparation.prepare([film], tmp_path / "frames", FRAMING)
    (tmp_path / "frames" / "manifest.json").write_text(content, encoding="latin-1")
    with pytest.raises(InputError, match=r"the frames in .* are damaged"):
        frame_store.open_store(tmp_path / "frames")
    preparation.prepare([film], tmp_path / "frames", FRAMING).verify()
    assert len(preparations) == 2


@pytest.mark.parametrize("key", ["settings", "shape", "films", "checksums"])
@pytest.mark.parametrize(
    "value",
    [
        *(None, 7, [], [3, 48, 64, 3], [48.0, 48, 64, 3], [48, "48", 64, 3], [48, 48, 64, True]),
        *([{"path": "film.mp4"}], [[48, 0.5]], [[-1, 0], [49, 0]], [[48, None]]),
    ],
)
def test_a_manifest_with_a_foreign_entry_is_named(tmp_path, film, key, value):
    store = preparation.prepare([film], tmp_path / "frames", FRAMING)
    changed = json.dumps(store.manifest | {key: value})
    (tmp_path / "frames" / "manifest.json").write_text(changed)
    with pytest.raises(InputError, match=r"the frames in .* are damaged"):
        frame_store.open_store(tmp_path / "frames")


def test_a_small_disk_is_refused_before_decoding(tmp_path, film, monkeypatch, preparations):
    class Usage:
        free = 64 << 20

    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(InputError, match=r"need 0\.4 MB, .* has 67\.1 MB:"):
        preparation.prepare([film], tmp_path / "frames", FRAMING)
    assert not preparations


def test_two_processes_prepare_one_store_once(tmp_path):
    """Two processes ask for the same store at once: one decodes, the other waits for it."""
    path = counting_film(tmp_path / "shared.mp4")
    code = (
        "import sys; from vae_gan_jax.film.store import preparation; "
        "from vae_gan_jax.film.read import video; "
        "store = preparation.prepare([sys.argv[1]], sys.argv[2], video.Framing(64, 48)); "
        "print(len(store.frames_THWC), store.verify())"
    )
    command = [sys.executable, "-c", code, str(path), str(tmp_path / "shared")]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert {process.communicate()[0] for process in running} == {"48 None\n"}
    assert entries(tmp_path) == ["shared", "shared.mp4"]


def test_names_of_shared_stores_differ_with_film_and_framing():
    names = {
        frame_store.name_for(films, Framing(64, 36, crop))
        for films in (["a.mp4"], ["b.mp4"], ["a.mp4", "b.mp4"])
        for crop in ("16:9", "none")
    }
    assert len(names) == 6
    assert frame_store.name_for(["./a.mp4"], Framing(64, 36)) in names
