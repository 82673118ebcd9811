"""Framing selects the right part of the picture and keeps its colours and shape."""

from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.film import films
from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
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


@pytest.mark.parametrize("pixels", ["yuv444p", "yuv420p"])
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (3, 5), (200, 1), (4, 12)])
def test_a_picture_of_a_few_pixels(tmp_path, size, pixels):
    """Its planes may have fewer lines than bwdif takes, even if its frames are interlaced."""
    width, height = size
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", f"color=white:s={width}x{height}:r=4:d=0.5"),
        *("-vf", f"format={pixels},setfield=tff", "-c:v", "ffv1", "-level", "1"),
        tmp_path / "film.mkv",
    )
    frames = list(decode(tmp_path / "film.mkv", Framing(16, 16)))
    assert len(frames) == 2
    assert np.min(frames) > 250


@pytest.mark.parametrize("crop", ["wide", "16:0", "10:10:0", "-1:9"])
def test_a_malformed_crop_is_refused(crop):
    with pytest.raises(InputError, match="is not a shape"):
        Framing(64, 48, crop=crop)


def test_a_crop_outside_the_picture_is_refused(tmp_path):
    path = lavfi_film(tmp_path / "film.mp4", "color=white:s=64x64:r=4:d=0.5")
    with pytest.raises(InputError, match=r"reaches outside the picture .* 64x64"):
        next(decode(path, Framing(64, 48, crop="60:60:8:0")))


@pytest.fixture(scope="module")
def two_shapes(tmp_path_factory):
    """A film of 4:3, then of 16:9 in a smaller size and another matrix; quarters of colours."""
    folder = tmp_path_factory.mktemp("two_shapes")
    parts = ((128, 96, "bt709", "yuv420p"), (96, 54, "smpte170m", "yuv420p10le"))
    for number, (width, height, matrix, pixels) in enumerate(parts):
        films.run_ffmpeg(
            *("-f", "lavfi", "-i", f"color=c=0xC81E28:s={width}x{height}:r=25:d=1,format=gbrp"),
            *("-vf", f"{films.patches(width, height)},scale=out_color_matrix={matrix}:out_range=tv,"
              f"format={pixels},setparams=range=tv:colorspace={matrix}"),
            *("-c:v", "libx264", "-qp", 2, "-bf", 0, "-g", 10, "-output_ts_offset", number),
            folder / f"{number}.ts",
        )  # fmt: skip
    path = folder / "film.ts"
    path.write_bytes(b"".join((folder / f"{number}.ts").read_bytes() for number in (0, 1)))
    return path


@pytest.mark.parametrize("crop", ["16:9", "1:1", "4:3", "none", "auto", "32:24:48:36"])
def test_each_frame_is_framed_by_its_own_size(two_shapes, crop):
    """The quarters stay in the middle, whatever the shape, and keep their colours."""
    frames_THWC = np.stack(list(decode(two_shapes, Framing(64, 36, crop=crop))))
    assert len(frames_THWC) == 50
    for number in (0, 24, 25, 45, 49):  # without the flash
        frame_HWC = frames_THWC[number]
        wide = crop != "none" or number >= 25
        left, right = (2, 61) if wide else (10, 53)  # 4:3 is letterboxed in 16:9
        assert (frame_HWC[:, 0].max() > 20) == wide
        shown = np.array([frame_HWC[y, x] for y in (2, 33) for x in (left, right)], int)
        assert np.abs(shown - films.COLOURS).max() <= 5
        middle = frame_HWC[2, [26, 37]].astype(int)  # beside the border of the quarters, blurred
        assert np.abs(middle - films.COLOURS[:2]).max() <= 40


def test_a_seek_among_frames_of_several_sizes_gives_the_same_frames(two_shapes):
    framing = Framing(64, 36)
    whole_THWC = np.stack(list(decode(two_shapes, framing)))
    for skip, count in ((0, 20), (20, 10), (30, 20)):
        some_THWC = np.stack(list(decode(two_shapes, framing, skip=skip, count=count)))
        np.testing.assert_array_equal(some_THWC, whole_THWC[skip : skip + count])


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


def test_stills_are_probed_again_only_if_one_changes(tmp_path, monkeypatch):
    for number in range(3):
        Image.new("L", (64, 36), 50).save(tmp_path / f"{number}.png")
    first = probe(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(ffmpeg, "output_of", None)
        assert probe(tmp_path) == first
    Image.new("RGB", (64, 36), (50, 60, 70)).save(tmp_path / "2.png")
    assert probe(tmp_path).pixel_format != first.pixel_format


def test_gaps_in_the_numbers_are_logged(tmp_path, caplog):
    for number in (1, 2, 4, 8):
        Image.new("RGB", (32, 32)).save(tmp_path / f"{number:03d}.jpg")
    assert probe(tmp_path).frames == 4
    assert "has no stills 3, 5-7" in caplog.text


def test_subtitles_in_the_bars_are_no_picture(tmp_path):
    """In most of the frames, within the lower bar, and reaching from it into the picture."""
    for y in (210, 185):
        path = lavfi_film(
            tmp_path / "film.mp4",
            "testsrc2=s=320x240:r=8:d=3,drawbox=h=48:t=fill:c=black,"
            "drawbox=y=192:h=48:t=fill:c=black,drawbox=x=60:w=200"
            f":y={y}:h=20:t=fill:c=white:enable='gt(mod(n,4),0)'",
        )
        part = chosen_rectangle(probe(path), Framing(320, 144, crop="auto"))
        assert part == Rectangle(320, 144, 0, 48)


def test_mixed_stills(tmp_path):
    """RGB, transparent, grey, palette and 16 bit; hidden files are not stills."""
    colour = (200, 120, 60)
    pictures = [
        Image.new("RGB", (64, 36), colour),
        Image.new("RGBA", (64, 36), (*colour, 128)),
        Image.new("L", (64, 36), 100),
        Image.new("RGB", (64, 36), colour).quantize(),
        Image.fromarray(np.full((36, 64), 100 * 257, np.uint16)),
        Image.new("RGB", (64, 36), colour),
    ]
    shown = [colour, (100, 60, 30), (100,) * 3, colour, (100,) * 3, colour]
    for number, picture in enumerate(pictures):
        picture.save(tmp_path / f"{number}.png")
    for hidden in ("._1.png", ".hidden.png"):
        (tmp_path / hidden).write_bytes(b"no picture")
    for order in (range(6), (1, 0, 2, 3, 4, 5)):  # beginning with RGB, and with transparency
        for place, number in enumerate(order):
            pictures[number].save(tmp_path / f"{place}.png")
        frames_THWC = np.stack(list(decode(tmp_path, Framing(64, 36))))
        expected = np.array([shown[number] for number in order])
        assert np.abs(frames_THWC[:, 18, 32].astype(int) - expected).max() <= 2


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
def test_turned_stills(tmp_path, kind):
    """One still is stored turned by 90 degrees and says so."""
    upright_HWC = np.zeros((36, 64, 3), np.uint8)
    upright_HWC[:, :32] = 200
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise
    for number in range(3):
        picture = Image.fromarray(upright_HWC)
        if number == 1:
            picture.transpose(Image.Transpose.ROTATE_90).save(tmp_path / f"1.{kind}", exif=exif)
        else:
            picture.save(tmp_path / f"{number}.{kind}")
    for frame_HWC in decode(tmp_path, Framing(64, 36)):
        assert frame_HWC[:, :28].min() >= 190
        assert frame_HWC[:, 36:].max() <= 10


def test_a_damaged_picture_among_turned_ones_is_named(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    for number in range(2):
        noise = np.random.default_rng(number).integers(0, 256, (64, 64, 3), np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.jpg", exif=exif if number else b"")
    content = (tmp_path / "1.jpg").read_bytes()
    (tmp_path / "1.jpg").write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=r"1\.jpg cannot be turned \(.*\): remove it\."):
        list(decode(tmp_path, Framing(64, 64)))


def test_a_picture_larger_than_pillow_s_limit(tmp_path, monkeypatch):
    Image.new("L", (64, 36), 100).save(tmp_path / "1.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert next(decode(tmp_path, Framing(64, 36)))[18, 32, 0] == 100


def test_stills_that_differ_are_refused(tmp_path):
    with pytest.raises(InputError, match="holds no PNG, JPEG, TIFF or BMP"):
        probe(tmp_path)
    with pytest.raises(InputError, match="holds no PNG, JPEG, TIFF or BMP"):
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
