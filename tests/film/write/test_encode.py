"""A written film has its codec, container and sound, appears atomically, and can be resumed."""

import contextlib
import re
import resource
import subprocess
from fractions import Fraction

import imageio_ffmpeg
import numpy as np
import pytest

from tests.film import films
from tests.film.test_variants import beep_start, flash_start, sound_seconds
from vae_gan_jax.config import InputError
from vae_gan_jax.film.passthrough import passthrough
from vae_gan_jax.film.read.video import Framing, decode, probe
from vae_gan_jax.film.write import encode, segments
from vae_gan_jax.film.write.encode import Encoder, FilmFormat

FRAMING = Framing(128, 72)


def listing(path) -> str:
    """ffmpeg's description of a file."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, check=False).stderr.decode()


def patches_THWC(width=64, height=48, count=5) -> np.ndarray:
    """Still frames with a different colour in each quarter."""
    frames_THWC = np.empty((count, height, width, 3), np.uint8)
    for quarter, colour in enumerate(films.COLOURS):
        row, column = divmod(quarter, 2)
        frames_THWC[:, row * height // 2 :, column * width // 2 :] = colour
    return frames_THWC


@pytest.mark.parametrize(
    ("codec", "name", "described", "slack"),
    [
        ("h264", "out.mov", "Video: h264 (High).*yuv420p(tv, bt709, progressive)", 3),
        ("h265", "out.mp4", "Video: hevc (Main) (hvc1.*yuv420p(tv, bt709, progressive)", 3),
        ("h265", "out.mkv", "Video: hevc (Main).*yuv420p(tv, bt709, progressive)", 3),
        ("prores", "out.mov", "Video: prores (HQ).*yuv422p10le(tv, bt709, progressive)", 3),
        ("ffv1", "out.mkv", "Video: ffv1.*bgr0(pc, gbr/bt709/bt709, progressive)", 0),
    ],
)
def test_codecs(tmp_path, codec, name, described, slack):
    with Encoder(
        tmp_path / name, Framing(64, 48), Fraction(25), film_format=FilmFormat(codec)
    ) as encoder:
        encoder.write(patches_THWC())
    assert re.search(described.replace("(", r"\(").replace(")", r"\)"), listing(tmp_path / name))
    decoded = list(decode(tmp_path / name, Framing(64, 48, crop="none")))
    assert len(decoded) == 5
    assert np.abs(films.quarters(decoded[0]) - films.COLOURS).max() <= slack


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("out.mp4", {"codec": "ffv1"}, r"cannot hold ffv1: give a name that ends in \.mkv"),
        ("out.webm", {}, r"cannot hold h264"),
        ("out", {}, r"cannot hold h264"),
        ("out.mp4", {"codec": "vp9"}, r"is not one of h264"),
        ("out.mp4", {"quality": 70}, r"--quality=70 does not suit h264: give 0"),
        ("out.mov", {"codec": "prores", "quality": 7}, r"does not suit prores: leave it out"),
    ],
)
def test_incompatible_settings_are_refused(tmp_path, name, options, sentence):
    with pytest.raises(InputError, match=sentence):
        Encoder(tmp_path / name, Framing(64, 48), Fraction(25), film_format=FilmFormat(**options))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("output", ["/dev/full", "missing/film.mp4"])
def test_an_impossible_output_is_refused_at_once(tmp_path, output):
    with pytest.raises(InputError):
        Encoder(tmp_path / output, Framing(64, 48), Fraction(25))


def test_the_index_is_at_the_front(tmp_path):
    with Encoder(tmp_path / "film.mp4", Framing(64, 48), Fraction(25)) as encoder:
        encoder.write(patches_THWC())
    content = (tmp_path / "film.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")


def test_an_odd_size_grows_by_a_line(tmp_path):
    with Encoder(tmp_path / "film.mp4", Framing(63, 47), Fraction(25)) as encoder:
        encoder.write(patches_THWC(63, 47))
    film = probe(tmp_path / "film.mp4")
    assert (film.width, film.height, film.frames) == (64, 48, 5)
    frame_HWC = next(decode(tmp_path / "film.mp4", Framing(64, 48, crop="none")))
    assert np.abs(frame_HWC[:, -1].astype(int) - frame_HWC[:, -3]).max() <= 3


def test_upscaling(tmp_path):
    frames_THWC = np.tile(np.arange(0, 256, 4, dtype=np.uint8)[:, None], (2, 48, 1, 3))
    with Encoder(
        tmp_path / "out.mp4",
        Framing(64, 48),
        Fraction(25),
        film_format=FilmFormat(upscale=(255, 191)),
    ) as encoder:
        encoder.write(frames_THWC)
    out = probe(tmp_path / "out.mp4")
    assert (out.width, out.height) == (256, 192)


def test_better_quality_is_larger(tmp_path):
    noise_THWC = np.random.default_rng(0).integers(0, 256, (4, 48, 64, 3), np.uint8)
    sizes = []
    for quality in (10, 40):
        with Encoder(
            tmp_path / "out.mp4",
            Framing(64, 48),
            Fraction(25),
            film_format=FilmFormat(quality=quality),
        ) as encoder:
            encoder.write(noise_THWC)
        sizes.append((tmp_path / "out.mp4").stat().st_size)
    assert sizes[0] > 2 * sizes[1]


@pytest.fixture(scope="module")
def rich_film(tmp_path_factory):
    """A film with two sound tracks, two subtitle tracks, three chapters and a title."""
    folder = tmp_path_factory.mktemp("rich")
    picture = films.Variant("picture.mkv", seconds=2, sounds=(("-c:a", "aac"), ("-c:a", "flac")))
    (folder / "text.srt").write_text(
        "1\n00:00:00,100 --> 00:00:00,300\nearly\n\n2\n00:00:00,600 --> 00:00:00,900\nlate\n"
    )
    chapters = "".join(
        f"[CHAPTER]\nTIMEBASE=1/1000\nSTART={start}\nEND={start + 700}\ntitle=chapter {start}\n"
        for start in (0, 700, 1400)
    )
    (folder / "chapters").write_text(f";FFMETADATA1\ntitle=A rich film\n{chapters}")
    films.run_ffmpeg(
        *("-i", picture.make(folder), "-i", folder / "text.srt", "-i", folder / "text.srt"),
        *("-i", folder / "chapters", "-map", "0", "-map", "1", "-map", "2", "-map_chapters", "3"),
        *("-map_metadata", "3", "-c", "copy", "-metadata:s:a:1", "language=fre", "-c:s:1", "ass"),
        folder / "rich.mkv",
    )
    return folder / "rich.mkv"


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4", "out.mov"])
def test_sound_subtitles_chapters_and_title_are_copied(tmp_path, rich_film, name):
    passthrough(rich_film, tmp_path / name, FRAMING)
    text = listing(tmp_path / name)
    assert re.search(r"title\s*: A rich film", text)
    assert re.findall(r"Chapter #0:\d: start ([\d.]+)", text) == [
        "0.000000",
        "0.700000",
        "1.400000",
    ]
    assert text.count("Audio:") == 2
    assert ("(fre): Audio" in text) == (name != "out.mov")  # whose language tags differ
    assert ("flac" in text) == (name != "out.mov")  # which cannot hold it
    assert text.count("Subtitle: mov_text" if name != "out.mkv" else "Subtitle:") == 2
    for track in (0, 1):
        assert beep_start(tmp_path / name, track) == pytest.approx(films.FLASH, abs=0.002)


@pytest.mark.parametrize("name", ["out.mkv", "out.mp4"])
def test_everything_is_cut_to_the_same_range(tmp_path, rich_film, name):
    passthrough(rich_film, tmp_path / name, Framing(128, 72, trim_start=0.4, trim_end=1.2))
    out = probe(tmp_path / name)
    assert out.frames == 20
    frames = list(decode(tmp_path / name, FRAMING))
    assert flash_start(frames, 25) == pytest.approx(
        0.12
    )  # of frames at 0.04 s, the first after 0.5
    for track in (0, 1):
        assert beep_start(tmp_path / name, track) == pytest.approx(0.1, abs=0.025)
    assert sound_seconds(tmp_path / name) == pytest.approx(0.8, abs=0.04)
    text = listing(tmp_path / name)
    ends = [float(end) for end in re.findall(r"Chapter #0:\d: start [\d.]+, end ([\d.]+)", text)]
    assert ends == pytest.approx([0.3, 0.8], abs=0.02)
    subtitles = films.run_ffmpeg("-i", tmp_path / name, "-map", "0:s:0", "-f", "srt", "-").decode()
    assert "early" not in subtitles
    assert re.search(r"00:00:00,200 --> 00:00:00,500\s+late", subtitles)


@pytest.mark.parametrize("name", ["late.mkv", "late.mp4", "late.ts"])
@pytest.mark.parametrize("later", ["picture", "sound"])
def test_picture_and_sound_that_do_not_start_together(tmp_path, name, later):
    picture = films.Variant("picture.mkv", seconds=1.2).make(tmp_path)
    offset = ("-itsoffset", 0.3)
    films.run_ffmpeg(
        *(*offset * (later == "picture"), "-i", picture),
        *(*offset * (later == "sound"), "-i", picture, "-map", "0:v", "-map", "1:a"),
        *("-c", "copy", "-muxdelay", 0, tmp_path / name),
    )
    passthrough(tmp_path / name, tmp_path / "out.mp4", FRAMING)
    assert probe(tmp_path / "out.mp4").frames == 30
    sounds = beep_start(tmp_path / "out.mp4") - flash_start(
        decode(tmp_path / "out.mp4", FRAMING), 25
    )
    # The flash is shown up to one frame late, with the next frame.
    expected = -0.3 if later == "picture" else 0.3
    assert sounds == pytest.approx(expected - 0.02, abs=0.025)


def test_a_full_disk_leaves_the_earlier_film(tmp_path):
    (tmp_path / "out.mp4").write_bytes(b"the earlier one")
    noise_THWC = np.random.default_rng(0).integers(0, 256, (40, 144, 256, 3), np.uint8)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        with (
            pytest.raises(InputError, match=r"out\.mp4 cannot be written"),
            Encoder(tmp_path / "out.mp4", Framing(256, 144), Fraction(25)) as encoder,
        ):
            encoder.write(noise_THWC)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (tmp_path / "out.mp4").read_bytes() == b"the earlier one"
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_the_source_is_not_overwritten(tmp_path):
    path = films.counting_film(tmp_path / "film.mp4", count=10)
    with pytest.raises(InputError, match="is the film that is read"):
        passthrough(path, tmp_path / "film.mp4", FRAMING)
    assert probe(path).frames == 10


class Packets:
    times_T = ()


def test_an_interrupted_film_resumes(tmp_path, monkeypatch):
    monkeypatch.setattr(segments, "SEGMENT_FRAMES", 10)
    noise_THWC = np.random.default_rng(0).integers(0, 256, (34, 48, 64, 3), np.uint8)

    def write(path, upto=None, resume="step 100"):
        """Resumes an earlier attempt; returns the number of frames it had written."""
        encoder = Encoder(path, Framing(64, 48), Fraction(24000, 1001), resume=resume)
        first = encoder.frames
        with contextlib.suppress(KeyboardInterrupt), encoder:
            for start in range(first, upto or 34, 7):
                encoder.write(noise_THWC[start : min(start + 7, upto or 34)])
            if upto:
                raise KeyboardInterrupt
        return first

    assert write(tmp_path / "whole.mp4") == 0
    assert write(tmp_path / "film.mp4", upto=17) == 0
    assert not (tmp_path / "film.mp4").exists()
    assert write(tmp_path / "film.mp4", upto=23) == 10
    assert write(tmp_path / "film.mp4") == 20
    assert sorted(path.name for path in tmp_path.iterdir()) == ["film.mp4", "whole.mp4"]
    film = probe(tmp_path / "film.mp4")
    assert (film.frames, film.rate, film.variable_rate) == (34, Fraction(24000, 1001), False)
    whole_THWC, film_THWC = (
        np.stack(list(decode(tmp_path / name, Framing(64, 48))))
        for name in ("whole.mp4", "film.mp4")
    )
    np.testing.assert_array_equal(film_THWC, whole_THWC)
    # Another layout may have fewer frames; segments made from something else are removed.
    assert write(tmp_path / "film.mp4", upto=23) == 0
    beside = Encoder(
        tmp_path / "film.mp4", Framing(64, 48), Fraction(24000, 1001), resume="step 100"
    )
    beside.segments.truncate(10)
    with beside:
        beside.write(noise_THWC[10:])
    assert probe(tmp_path / "film.mp4").frames == 34
    # Every frame is there, but the disk has no room to join the segments.
    with monkeypatch.context() as patch:
        patch.setattr(encode, "read_packets", lambda *_: Packets())
        with pytest.raises(InputError, match="would hold 0 frames"):
            write(tmp_path / "film.mp4")
    assert write(tmp_path / "film.mp4") == 30
    assert probe(tmp_path / "film.mp4").frames == 34
    assert write(tmp_path / "film.mp4", upto=17) == 0
    assert write(tmp_path / "film.mp4", resume="step 200") == 0
