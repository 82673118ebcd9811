"""Framing selects the right part of the picture and keeps its colours and shape."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.film import films
from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.framing import Framing, Rectangle, chosen_rectangle
from vae_gan_jax.film.read.video import decode, probe


def lavfi_film(path, source: str, *options):
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", source, "-c:v", "libx264", "-preset", "ultrafast", "-qp", "4"),
        *(*options, path),
    )
    return str(path)


@pytest.mark.parametrize(
    ("crop", "frame", "rectangle"),
    [
        ("16:9", (256, 144), (320, 180, 0, 30)),
        ("1:1", (64, 64), (240, 240, 40, 0)),
        ("4:3", (256, 144), (320, 180, 0, 30)),  # then cropped to the aspect ratio of the frames
        ("160:90:20:40", (256, 144), (160, 90, 20, 40)),
        ("none", (256, 144), (320, 240, 0, 0)),
        ("auto", (256, 144), (256, 144, 32, 48)),
    ],
)
def test_the_part_that_becomes_a_frame(tmp_path, crop, frame, rectangle):
    # 2.35:1 within 4:3, black at first.
    path = lavfi_film(
        tmp_path / "film.mp4",
        "color=gray:s=320x240:r=8:d=2,drawbox=h=48:t=fill:c=black,"
        "drawbox=y=192:h=48:t=fill:c=black,drawbox=enable='lt(t,1)':t=fill:c=black",
    )
    assert chosen_rectangle(probe(path), Framing(*frame, crop=crop)) == Rectangle(*rectangle)


def test_pillarboxes_are_found_in_anamorphic_pixels(tmp_path):
    path = lavfi_film(
        tmp_path / "film.mp4", "color=gray:s=120x144:r=4:d=2,pad=180:144:30,setsar=16/15"
    )
    part = chosen_rectangle(probe(path), Framing(128, 144, crop="auto"))
    assert part == Rectangle(128, 144, 32, 0)


def test_a_black_film_has_no_bars(tmp_path):
    path = lavfi_film(tmp_path / "film.mp4", "color=black:s=64x36:r=4:d=1")
    part = chosen_rectangle(probe(path), Framing(64, 36, crop="auto"))
    assert part == Rectangle(64, 36, 0, 0)


def test_a_circle_stays_one(tmp_path):
    path = lavfi_film(
        tmp_path / "film.mp4",
        "color=black:s=400x320:r=4:d=0.5,format=gray,"
        "geq=lum='255*lt(hypot((X-W/2)*64/45,Y-H/2),100)',setsar=64/45",
    )
    for crop in ("16:9", "none"):
        frame_HWC = next(decode(path, Framing(256, 144, crop=crop)))
        inside_HW = frame_HWC[:, :, 0] > 127
        across, down = inside_HW.any(axis=0).sum(), inside_HW.any(axis=1).sum()
        assert abs(int(across) - int(down)) <= 1
        assert down == pytest.approx(200 * 144 / 320, abs=1)


def test_padding_is_black(tmp_path):
    path = lavfi_film(tmp_path / "film.mp4", "color=white:s=64x64:r=4:d=0.5")
    frame_HWC = next(decode(path, Framing(128, 64, crop="none")))
    assert frame_HWC[:, 32:96].min() > 250
    assert frame_HWC[:, :31].max() == 0 == frame_HWC[:, 97:].max()


@pytest.mark.parametrize("crop", ["wide", "16:0", "10:10:0", "-1:9"])
def test_a_malformed_crop_is_refused(crop):
    with pytest.raises(InputError, match="is no shape"):
        Framing(64, 48, crop=crop)


def test_a_crop_outside_the_picture_is_refused(tmp_path):
    path = lavfi_film(tmp_path / "film.mp4", "color=white:s=64x64:r=4:d=0.5")
    with pytest.raises(InputError, match=r"reaches outside the picture .* 64x64"):
        next(decode(path, Framing(64, 48, crop="60:60:8:0")))


def test_stills(tmp_path):
    (tmp_path / "stills").mkdir()
    for number in range(1, 13):  # 10 comes after 9 as a number, before 2 in the alphabet
        frame_HWC = np.full((36, 64, 3), number * 20, np.uint8)
        Image.fromarray(frame_HWC).save(tmp_path / "stills" / f"frame{number}.png")
    framing = Framing(64, 36, fps=Fraction(12))
    for source in (tmp_path / "stills", tmp_path / "stills" / "frame*.png"):
        assert [frame[18, 32, 1] for frame in decode(source, framing)] == list(range(20, 241, 20))
        film = probe(source, fps=framing.fps)
        assert (film.frames, film.rate, film.duration) == (12, 12, 1.0)
    later = Framing(64, 36, fps=Fraction(12), trim_start=0.5)
    assert [frame[18, 32, 1] for frame in decode(source, later)] == list(range(140, 241, 20))


def test_gaps_in_the_numbers_are_logged(tmp_path, caplog):
    for number in (1, 2, 4, 8):
        Image.new("RGB", (32, 32)).save(tmp_path / f"{number:03d}.jpg")
    assert probe(tmp_path).frames == 4
    assert "lacks stills 3, 5-7" in caplog.text


def test_stills_that_differ_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no PNG or JPEG"):
        probe(tmp_path)
    with pytest.raises(InputError, match="holds no PNG or JPEG"):
        probe(tmp_path / "*.png")
    Image.new("RGB", (32, 32)).save(tmp_path / "1.png")
    Image.new("RGB", (32, 30)).save(tmp_path / "2.png")
    with pytest.raises(InputError, match=r"2\.png is 32x30 and .*1\.png is 32x32"):
        probe(tmp_path)
    (tmp_path / "2.png").write_text("no picture")
    with pytest.raises(InputError, match=r"2\.png cannot be read"):
        probe(tmp_path)
    Image.new("RGB", (32, 32)).save(tmp_path / "2.jpg")
    with pytest.raises(InputError, match="several kinds"):
        probe(tmp_path)
