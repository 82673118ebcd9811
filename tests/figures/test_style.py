"""Figures are written atomically as PNG and PDF, are reproducible and change no global state."""

from pathlib import Path

import matplotlib
import pytest
from PIL import Image

from vae_gan_jax.config import InputError
from vae_gan_jax.figures import style

PACKAGE = Path(__file__).parents[2] / "vae_gan_jax"


def written(folder, name="plot"):
    with style.figure(3, 2, dpi=100) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1])
        axes.set_title("one")
        return style.save(figure, folder / name)


def test_a_figure_is_written_as_png_and_pdf_of_its_size(tmp_path):
    png, pdf = written(tmp_path / "figures", "a.b")
    assert (png.name, pdf.name) == ("a.b.png", "a.b.pdf")
    with Image.open(png) as picture:
        assert picture.size == (300, 200)
    assert pdf.read_bytes().startswith(b"%PDF")
    assert len(list((tmp_path / "figures").iterdir())) == 2


def test_a_figure_written_twice_is_the_same_file(tmp_path):
    first, again = written(tmp_path / "first"), written(tmp_path / "again")
    for one, other in zip(first, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_first_line_has_the_first_colour_and_nothing_global_changes():
    before = dict(matplotlib.rcParams)
    with style.figure() as figure:
        (line,) = figure.subplots().plot([0, 1])
    assert line.get_color() == style.COLOURS["first"]
    assert dict(matplotlib.rcParams) == before


def test_a_failure_leaves_the_earlier_figure(tmp_path):
    png, _ = written(tmp_path)
    before = png.read_bytes()
    (tmp_path / "plot.png.partial").mkdir()
    with pytest.raises(OSError, match="partial"):
        written(tmp_path)
    assert png.read_bytes() == before


def test_no_figure_is_drawn_through_global_state():
    for path in PACKAGE.rglob("*.py"):
        assert "pyplot" not in path.read_text(), path


def test_a_huge_picture_of_the_user_is_never_replaced(tmp_path, monkeypatch):
    Image.new("L", (64, 64)).save(tmp_path / "huge.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # twice as many are an error
    with pytest.raises(InputError, match=r"huge\.png is not a picture of this program"):
        style.require_replaceable(tmp_path / "huge.png")
