"""Files appear whole or not at all."""

import pytest

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
