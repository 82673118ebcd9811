"""Files appear whole or not at all."""

import errno
import os
import sys

import pytest

from vae_gan_jax import operating_system
from vae_gan_jax.run import atomic_io


def test_a_file_and_its_folder_appear(tmp_path):
    atomic_io.write(tmp_path / "new" / "a.txt", "text")
    atomic_io.write(tmp_path / "new" / "b.bin", b"bytes")
    assert (tmp_path / "new" / "a.txt").read_text() == "text"
    assert (tmp_path / "new" / "b.bin").read_bytes() == b"bytes"
    assert len(list((tmp_path / "new").iterdir())) == 2


def test_a_failure_leaves_the_earlier_file(tmp_path):
    """A folder with the name of the partial file makes writing fail."""
    atomic_io.write(tmp_path / "a.txt", "earlier")
    (tmp_path / "a.txt.partial").mkdir()
    with pytest.raises(OSError, match="partial"):
        atomic_io.write(tmp_path / "a.txt", "later")
    assert (tmp_path / "a.txt").read_text() == "earlier"


def test_a_full_disk_is_reported_with_the_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic_io, "publish", full)
    with pytest.raises(OSError, match=r"No space left on device: .*/a\.txt'"):
        atomic_io.write(tmp_path / "a.txt", "text")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name",
    [
        *("film.mp4", "a" * 251 + ".mp4", "n" * 250 + ".mp4"),
        *("日" * 83 + ".mp4", "é" * 120 + ".mp4", "\udce9" * 255),
    ],
)
def test_a_temporary_name_fits_differs_and_keeps_its_suffix(tmp_path, name):
    others = f"x{name[1:]}", f"{name[:-5]}x{name[-4:]}", f"{name[:-1]}v"
    paths = [atomic_io.beside(tmp_path / each, ".joined") for each in (name, *others)]
    paths.append(atomic_io.beside(tmp_path / name, ".segments"))
    assert len(set(paths)) == 5
    for path in paths:
        assert path.suffix in (".joined", ".segments")
        assert len(os.fsencode(path.name)) <= atomic_io.MAX_HIDDEN_BYTES
        path.mkdir()
    atomic_io.write(tmp_path / name, "text")
    with atomic_io.locked(tmp_path / name):
        assert (tmp_path / name).read_text() == "text"


def test_a_folder_replaces_an_earlier_one_or_leaves_it(tmp_path):
    folder, partial = tmp_path / "frames", tmp_path / "frames.partial"
    for content in ("first", "second"):
        atomic_io.write(partial / "file", content)
        atomic_io.publish_folder(partial, folder)
        assert (folder / "file").read_text() == content
        assert list(tmp_path.iterdir()) == [folder]
    with pytest.raises(OSError, match="partial"):
        atomic_io.publish_folder(partial, folder)  # there is none
    assert (folder / "file").read_text() == "second"


def test_a_signal_while_a_folder_is_replaced_leaves_the_earlier_one(tmp_path, monkeypatch):
    folder, partial = tmp_path / "frames", tmp_path / "frames.partial"
    for path in (folder, partial):
        atomic_io.write(path / "file", path.name)
    monkeypatch.setattr(operating_system, "replace", lambda *_: sys.exit(143))
    with pytest.raises(SystemExit):
        atomic_io.publish_folder(partial, folder)
    assert (folder / "file").read_text() == "frames"
    assert (partial / "file").read_text() == "frames.partial"
