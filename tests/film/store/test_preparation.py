"""Several processes prepare the same store, byte for byte, as a single one."""

import errno
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.film.films import counting_film, entries
from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.store import frames_file, preparation
from vae_gan_jax.run.team import Team

FRAMING = Framing(64, 48, crop="none")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """Five films of different lengths and rates; the third is damaged and gives fewer frames."""
    folder = tmp_path_factory.mktemp("films")
    rates = ("24", "25", "30", "24000/1001", "12")
    paths = [
        counting_film(folder / f"{number}.mkv", rate, 20 + 7 * number)
        for number, rate in enumerate(rates)
    ]
    os.truncate(paths[2], os.path.getsize(paths[2]) * 2 // 3)
    return paths


def prepare(films, *folders, **options):
    """Prepares in one process per folder; here the processes are threads."""
    barrier = threading.Barrier(len(folders))

    def process(index: int):
        try:
            return preparation.prepare(
                films,
                folders[index],
                FRAMING,
                team=Team(index, len(folders), lambda name: barrier.wait(timeout=60)),
                **options,
            )
        except InputError:
            barrier.abort()  # a process that fails ends the others
            raise

    with ThreadPoolExecutor(len(folders)) as pool:
        futures = [pool.submit(process, index) for index in range(len(folders))]
    errors = [error for future in futures if isinstance(error := future.exception(), InputError)]
    if errors:
        raise errors[0]
    for future, folder in zip(futures, folders, strict=True):
        store = future.result()
        assert store.folder == os.fspath(folder)
        store.verify()


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a store."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.fixture
def decoded(monkeypatch):
    """The stems of the films in each call of ``decode_into``."""
    calls, decode_into = [], preparation.decode_into

    def counted(folder, probes, *arguments, **options):
        calls.append([Path(film.path).stem for film in probes])
        decode_into(folder, probes, *arguments, **options)

    monkeypatch.setattr(preparation, "decode_into", counted)
    return calls


@pytest.mark.parametrize(
    ("count", "processes", "calls"),
    [
        (1, 2, [["0"]]),
        (2, 2, [["0"], ["1"]]),
        (3, 2, [["0", "1"], ["2"]]),
        (5, 2, [["0", "1", "2"], ["3"], ["4"]]),
        (5, 3, [["0", "1"], ["2"], ["3"], ["4"]]),
        (2, 5, [["0"], ["1"]]),
    ],
)
def test_the_store_equals_that_of_one_process(
    count, processes, calls, films, decoded, tmp_path, caplog
):
    single, shared = tmp_path / "single", tmp_path / "shared"
    prepare(films[:count], single)
    assert decoded.pop() == calls[0] + [film for others in calls[1:] for film in others]
    for _ in range(2):  # prepared, then opened
        prepare(films[:count], *[shared] * processes)
        assert sorted(decoded) == calls
    assert contents(shared) == contents(single)
    assert entries(tmp_path) == ["shared", "single"]
    if count > 2:
        assert b"2.mkv is damaged" in contents(shared)["manifest.json"]
        assert f"{films[2]} is damaged" in caplog.text


def test_process_0_logs_what_others_could_not_decode(films, tmp_path, caplog):
    prepare(films[:3], *[tmp_path / "shared"] * 2)
    loggers = [record.name for record in caplog.records if "damaged" in record.message]
    assert sorted(loggers) == ["vae_gan_jax.film.read.video", "vae_gan_jax.film.store.preparation"]


def test_joining_keeps_one_film_at_a_time_twice(films, tmp_path, monkeypatch):
    single, shared = tmp_path / "single", tmp_path / "shared"
    prepare(films, single)
    copy, sizes = shutil.copyfileobj, []

    def measure(*arguments):
        sizes.append(sum(path.stat().st_size for path in Path(f"{shared}.partial").rglob("*.u8")))
        copy(*arguments)

    monkeypatch.setattr(shutil, "copyfileobj", measure)
    prepare(films, *[shared] * 3)
    assert contents(shared) == contents(single)
    assert sizes == [len(contents(single)["frames.u8"])] * 3


def test_a_machine_with_a_disk_of_its_own_prepares_all(films, tmp_path):
    """Process 0 also decodes the films of processes whose folders it does not see."""
    prepare(films, tmp_path / "single")
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    prepare(films, here / "frames", there / "frames", here / "frames", there / "frames")
    assert contents(here) == contents(there)
    assert contents(here / "frames") == contents(tmp_path / "single")
    assert entries(here) == entries(there) == ["frames"]


def test_a_film_that_fails_in_the_second_process_leaves_nothing(films, tmp_path):
    with pytest.raises(InputError, match=r"2\.mkv is damaged .*--strict"):
        prepare(films[:3], *[tmp_path / "shared"] * 2, strict=True)
    assert entries(tmp_path) == []


def test_a_disk_that_is_full_for_the_second_process_leaves_nothing(films, tmp_path, monkeypatch):
    def full(path, *arguments, **options):
        if "partial/1/" in path:
            raise OSError(errno.ENOSPC, "No space left on device")
        return open(path, *arguments, **options)

    monkeypatch.setattr(frames_file, "open", full, raising=False)
    with pytest.raises(InputError, match=r"cannot be written to .*No space left"):
        prepare(films[:2], *[tmp_path / "shared"] * 2)
    assert entries(tmp_path) == []


def test_joining_needs_room_for_a_film_twice(films, tmp_path, monkeypatch):
    size = 48 * 64 * 3

    class Usage:
        free = preparation.SPARE_BYTES + (20 + 27 + 27) * size - 1

    monkeypatch.setattr(preparation.shutil, "disk_usage", lambda _: Usage)
    with pytest.raises(InputError, match=r"need 0\.7 MB"):
        prepare(films[:2], *[tmp_path / "shared"] * 2)
    prepare(films[:2], tmp_path / "single")


@pytest.mark.parametrize("has_store", [False, True])
def test_leftovers_of_a_killed_process_are_removed(has_store, films, decoded, tmp_path):
    shared = tmp_path / "shared"
    prepare(films[:2], tmp_path / "single")
    if has_store:
        prepare(films[:2], shared)
    leftovers = tmp_path / "shared.partial" / "1"
    leftovers.mkdir(parents=True)
    (tmp_path / ".shared.former").mkdir()
    (leftovers / "frames.u8").write_bytes(b"torn")
    (leftovers / "manifest.json").write_text("{")
    decoded.clear()
    prepare(films[:2], shared, shared)
    assert sorted(decoded) == ([] if has_store else [["0"], ["1"]])
    assert contents(shared) == contents(tmp_path / "single")
    assert entries(tmp_path) == ["shared", "single"]


def test_a_read_only_folder_serves_a_store_but_takes_none(films, tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(errno.EACCES, "Permission denied")

    prepare(films[:1], tmp_path / "shared")
    monkeypatch.setattr(preparation.atomic_io, "locked", refuse)
    prepare(films[:1], tmp_path / "shared")
    with pytest.raises(InputError, match=r"cannot be written to .*Permission denied"):
        prepare(films[:2], tmp_path / "shared")
