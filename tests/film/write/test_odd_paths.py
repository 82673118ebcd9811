"""Films and stills in folders whose names ffmpeg could misread."""

from fractions import Fraction

import numpy as np
import pytest

from tests.film import films
from vae_gan_jax.film.read import stills, video
from vae_gan_jax.film.read.framing import Framing
from vae_gan_jax.film.write.encode import Encoder
from vae_gan_jax.film.write.numbered_pngs import NumberedPngs

FOLDERS = ["a\nb", "a\rb", "l\udce9", "100%d #?;&'\"", " -x [1]", "a" * 255]
FILES = ["part #2.mp4", "what?.mkv", "a 'b' 50%.mp4", "a:b\\c.mp4"]


@pytest.mark.parametrize(
    ("folder", "name"),
    [*((folder, "film.mp4") for folder in FOLDERS), *(("folder #1?", name) for name in FILES)],
)
def test_a_film_is_written_to_any_path(tmp_path, folder, name):
    folder = tmp_path / folder
    folder.mkdir()
    frames_THWC = np.full((3, 16, 16, 3), 90, np.uint8)
    with Encoder(folder / name, Framing(16, 16), Fraction(25)) as encoder:
        encoder.write(frames_THWC)
    assert [path.name for path in folder.iterdir()] == [name]
    assert video.probe(folder / name).frames == 3


@pytest.mark.parametrize("name", FOLDERS[:-1])
def test_stills_are_read_from_any_folder_through_any_temporary_one(tmp_path, name, monkeypatch):
    folder, temporary = tmp_path / name, tmp_path / "tmp%03d"
    folder.mkdir()
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    stills.sequence.cache_clear()
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=32x16:r=25", "-frames:v", 3, tmp_path / "%d.png")
    )
    for path in tmp_path.glob("*.png"):
        path.rename(folder / path.name)
    assert len(list(video.decode(str(folder), Framing(32, 16, crop="none")))) == 3


def test_stills_are_written_where_a_link_leads(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    (tmp_path / "stills").symlink_to(disk / "stills")
    for count in (2, 1):  # the second folder replaces the first
        with NumberedPngs(str(tmp_path / "stills"), {"count": count}) as pngs:
            pngs.write(np.zeros((count, 16, 16, 3), np.uint8))
        assert len(list((disk / "stills").iterdir())) == count
        assert (tmp_path / "stills").is_symlink()
        assert len(list(disk.iterdir())) == 1
