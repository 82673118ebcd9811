"""Decoding gives every frame of a film, with its rate, colours and range, or says what is lost."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from tests.film import films
from vae_gan_jax.config import InputError
from vae_gan_jax.film.read.framing import Framing, section
from vae_gan_jax.film.read.probe import list_streams
from vae_gan_jax.film.read.video import decode, probe
from vae_gan_jax.film.write.encode import Encoder

FULL = Framing(64, 48, crop="none")


@pytest.mark.parametrize("rate", ["24000/1001", "25", "30000/1001", "60000/1001"])
@pytest.mark.parametrize("extension", ["mp4", "mkv"])
def test_every_frame_and_the_exact_rate(tmp_path, rate, extension):
    path = films.counting_film(tmp_path / f"film.{extension}", rate, count=50)
    film = probe(path)
    assert film.rate == Fraction(rate)
    assert not film.variable_rate
    framing = Framing(64, 48, crop="none")
    assert section(film, framing).count == 50
    assert films.numbers(decode(path, framing)) == list(range(50))
    assert films.numbers(decode(path, framing, skip=20)) == list(range(20, 50))


@pytest.mark.parametrize("name", ["film.mp4", "film.ts", "film.avi", "film.mkv"])
def test_a_seek_gives_the_same_frames(tmp_path, name):
    path = films.counting_film(tmp_path / name, count=200, options=("-g", 12, "-bf", 2))
    for first in (100, 131, 199):
        assert films.numbers(decode(path, FULL, skip=first)) == list(range(first, 200))
    trimmed = Framing(64, 48, crop="none", trim_start=100 / 24, trim_end=110 / 24)
    assert films.numbers(decode(path, trimmed, skip=3)) == list(range(103, 110))


def test_a_film_that_becomes_interlaced_later_is_deinterlaced(tmp_path):
    """Vertical bars that move: in an interlaced frame, its odd and even lines differ."""
    source = "nullsrc=s=64x48:r=50:d=1,format=gray,geq=lum=255*lt(mod(X+4*N\\,32)\\,16)"
    common = ("-c:v", "libx264", "-qp", 4, "-g", 10, "-pix_fmt", "yuv420p", "-f", "mpegts")
    films.run_ffmpeg("-f", "lavfi", "-i", source, "-r", 25, *common, tmp_path / "1.ts")
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", source, "-vf", "tinterlace=interleave_top,setfield=tff"),
        *("-flags", "+ilme+ildct", "-x264-params", "tff=1", "-output_ts_offset", 1),
        *(*common, tmp_path / "2.ts"),
    )
    path = tmp_path / "film.ts"
    path.write_bytes((tmp_path / "1.ts").read_bytes() + (tmp_path / "2.ts").read_bytes())
    assert not probe(path).interlaced
    frames_THWC = np.stack(list(decode(path, FULL)))
    assert len(frames_THWC) >= 50
    combed_THW = np.abs(np.diff(frames_THWC[..., 1].astype(int), axis=1)) > 128
    assert combed_THW.mean(axis=(1, 2)).max() < 0.02


def test_a_seek_in_a_variable_or_interlaced_film_gives_the_same_frames(tmp_path):
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=30:d=6"),
        *("-vf", "select='lt(t,2)+not(mod(n,3))'", "-fps_mode", "passthrough"),
        *("-c:v", "libx264", "-g", 10, tmp_path / "variable.mp4"),
    )
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=64x48:r=50:d=6"),
        *("-vf", "tinterlace=interleave_top,setfield=tff", "-c:v", "libx264", "-g", 10),
        *("-flags", "+ilme+ildct", "-x264-params", "tff=1", tmp_path / "interlaced.mp4"),
    )
    assert probe(tmp_path / "variable.mp4").variable_rate
    assert probe(tmp_path / "interlaced.mp4").interlaced
    for path in tmp_path.iterdir():
        whole_THWC = np.stack(list(decode(path, FULL)))
        for first in (len(whole_THWC) // 2, len(whole_THWC) - 1):
            later_THWC = np.stack(list(decode(path, FULL, skip=first)))
            np.testing.assert_array_equal(later_THWC, whole_THWC[first:])


@pytest.mark.parametrize(
    ("start", "end", "selected"),
    [
        (0.5, None, range(12, 48)),
        (None, 1.0, range(24)),
        (0.49, 1.01, range(12, 25)),
        (1 / 24, 2 / 24, range(1, 2)),
        (1.5, 2.0, range(36, 48)),
    ],
)
def test_a_trim_selects_the_frames_shown_from_start_until_end(tmp_path, start, end, selected):
    path = films.counting_film(tmp_path / "film.mp4")
    framing = Framing(64, 48, crop="none", trim_start=start, trim_end=end)
    assert films.numbers(decode(path, framing)) == list(selected)
    assert section(probe(path), framing).count == len(selected)


def test_a_trim_past_the_end_is_refused(tmp_path):
    path = films.counting_film(tmp_path / "film.mp4", count=24)
    words = r"no frame of .*, which lasts from 0.00 to 1.00 s, is within "
    with pytest.raises(InputError, match=rf"{words}--trim_start=5: give"):
        next(decode(path, Framing(64, 48, trim_start=5.0)))
    with pytest.raises(InputError, match=rf"{words}--trim_start=0.501 and --trim_end=0.502: give"):
        next(decode(path, Framing(64, 48, trim_start=0.501, trim_end=0.502)))
    with pytest.raises(InputError, match=r"--trim_end=60 is after the end of .*, 1.00 s"):
        next(decode(path, Framing(64, 48, trim_end=60.0)))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv"])
def test_a_truncated_film_gives_what_decodes_and_warns(tmp_path, name, caplog):
    path = tmp_path / name
    films.counting_film(path, count=200, options=("-g", 12, "-movflags", "+faststart"))
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size * 3 // 4)
    shown = films.numbers(decode(path, FULL))
    assert 100 < len(shown) < 200
    assert shown == list(range(len(shown)))
    assert f"{name} is damaged" in caplog.text
    assert f": {len(shown)} frames of " in caplog.text
    with pytest.raises(InputError, match=rf"{name} is damaged .* with --strict: leave it out"):
        list(decode(path, FULL, strict=True))


def test_damage_within_a_film_is_logged(tmp_path, caplog):
    path = tmp_path / "film.mp4"
    films.counting_film(path, count=100, options=("-g", 12))
    content = bytearray(path.read_bytes())
    content[len(content) // 3 : len(content) // 3 + 300] = bytes(300)
    path.write_bytes(content)
    assert len(list(decode(path, FULL))) > 80
    assert "is damaged" in caplog.text


def test_a_recording_starts_with_its_first_decodable_frame(tmp_path):
    """A recorded broadcast begins with frames that refer to an earlier one."""
    whole, path = tmp_path / "whole.ts", tmp_path / "film.ts"
    films.counting_film(whole, options=("-c:v", "mpeg2video", "-q:v", 1, "-bf", 2, "-g", 12))
    packets = whole.read_bytes()
    path.write_bytes(packets[len(packets) // 188 // 3 * 188 :])
    shown = films.numbers(decode(path, FULL))
    assert shown == list(range(shown[0], 48))
    assert probe(path).frames == len(shown)
    for skip in (1, 15, 25):
        assert films.numbers(decode(path, FULL, skip=skip)) == shown[skip:]


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.avi", "film.mpg"])
def test_a_range_of_frames(tmp_path, name):
    codec = ("-c:v", "mpeg2video", "-q:v", 1) if name == "film.mpg" else ()
    options = ("-g", 6, "-bf", 2, *codec)
    path = films.counting_film(tmp_path / name, count=100, options=options)
    assert probe(path).frames == 100
    for trim, first in ((None, 0), (0.5, 12)):
        framing = dataclasses.replace(FULL, trim_start=trim)
        for skip, count in ((0, 5), (40, 30), (70, 100)):
            frames = decode(path, framing, skip=skip, count=count)
            start = first + skip
            assert films.numbers(frames) == list(range(start, min(start + count, 100)))


def test_an_undamaged_film_logs_nothing(tmp_path, caplog):
    path = films.counting_film(tmp_path / "film.mp4", count=60)
    list(decode(path, FULL, strict=True))
    assert not caplog.records


def test_the_main_video_stream_is_chosen(tmp_path):
    small = films.counting_film(tmp_path / "small.mp4", count=10, size=(32, 24))
    large = films.counting_film(tmp_path / "large.mp4", "25", count=20)
    Image.new("RGB", (640, 480)).save(tmp_path / "cover.png")
    films.run_ffmpeg(
        *("-i", tmp_path / "cover.png", "-i", small, "-i", large, "-map", "0", "-map", "1"),
        *("-map", "2", "-c", "copy", "-disposition:v:0", "attached_pic", tmp_path / "film.mp4"),
    )
    listed = [(s.kind, s.is_picture) for s in list_streams(str(tmp_path / "film.mp4"))[0]]
    assert sorted(listed) == [("Video", False), ("Video", False), ("Video", True)]
    film = probe(tmp_path / "film.mp4")
    assert (film.width, film.height, film.rate) == (64, 48, 25)
    assert films.numbers(decode(tmp_path / "film.mp4", FULL)) == list(range(20))
    counts = {
        stream: sum(1 for _ in decode(tmp_path / "film.mp4", Framing(32, 24, video_stream=stream)))
        for stream in range(3)
    }
    assert sorted(counts.values()) == [1, 10, 20]
    with pytest.raises(InputError, match=r"--video_stream=3 is not in .* has 3 video streams"):
        probe(tmp_path / "film.mp4", video_stream=3)


@pytest.mark.parametrize(
    ("streams", "default", "chosen"),
    [
        ((("64x48", 30, 2), ("128x96", 1, 2)), "first", 0),  # a phone's motion photo
        ((("64x48", 30, 2), ("128x96", 1, 2)), "both", 0),  # two frames are not a film
        ((("128x96", 1, 2), ("64x48", 30, 2)), "both", 1),
        ((("64x48", 10, 4), ("128x96", 10, 2)), "both", 0),
        ((("64x48", 10, 2), ("128x96", 10, 2)), "both", 1),
        ((("128x96", 10, 2), ("64x48", 10, 2)), "second", 1),
        ((("64x48", 30, 2), ("128x96", 25, 2)), "neither", 1),
    ],
)
def test_the_default_stream_then_the_longest_then_the_largest(tmp_path, streams, default, chosen):
    inputs = [("-f", "lavfi", "-i", f"testsrc2=s={s}:r={r}:d={d}") for s, r, d in streams]
    dispositions = ["default" if default in (name, "both") else "0" for name in ("first", "second")]
    films.run_ffmpeg(
        *(option for source in inputs for option in source), "-map", 0, "-map", 1,
        *("-c:v", "libx264", "-preset", "ultrafast", "-disposition:v:0", dispositions[0]),
        *("-disposition:v:1", dispositions[1], tmp_path / "film.mkv"),
    )  # fmt: skip
    film = probe(tmp_path / "film.mkv")
    assert film.stream == chosen
    assert f"{film.width}x{film.height}" == streams[chosen][0]


def test_a_sound_file_with_a_cover_is_no_film(tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "cover.png")
    films.run_ffmpeg(
        *("-f", "lavfi", "-i", "sine=d=1", "-i", tmp_path / "cover.png", "-map", 0, "-map", 1),
        *("-c:v", "copy", "-disposition:v", "attached_pic", tmp_path / "song.m4a"),
    )
    with pytest.raises(InputError, match="has no video"):
        probe(tmp_path / "song.m4a")


def test_file_names_that_look_like_options_or_patterns(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    films.counting_film(tmp_path / "film.mp4", count=5)
    for name in ("-y.mp4", "http:a.mp4", "100%d [a] 'b'.mp4"):
        (tmp_path / name).write_bytes((tmp_path / "film.mp4").read_bytes())
        with Encoder(f"out {name}", Framing(64, 48), Fraction(24), sound_from=name) as encoder:
            encoder.write(np.stack(list(decode(name, FULL))))
        assert films.numbers(decode(f"out {name}", FULL)) == list(range(5))


def test_an_abandoned_decode_ends_ffmpeg(tmp_path):
    path = films.counting_film(tmp_path / "film.mp4", count=200)
    frames = decode(path, Framing(640, 480, crop="none"))
    next(frames)
    frames.close()
    assert next(frames, None) is None


def test_a_file_that_is_no_film_is_refused(tmp_path):
    (tmp_path / "text.mp4").write_text("not a film\n" * 100)
    films.run_ffmpeg("-f", "lavfi", "-i", "sine=d=1", tmp_path / "sound.mp4")
    with pytest.raises(InputError, match=r"there is no film .*missing\.mp4"):
        probe(tmp_path / "missing.mp4")
    (tmp_path / "text.txt").write_text("not a film\n" * 100)  # ffmpeg would draw it as a terminal
    for name in ("text.mp4", "text.txt"):
        with pytest.raises(InputError, match=f"{name} is not a film that ffmpeg can read: give"):
            probe(tmp_path / name)
    (tmp_path / "empty.mp4").touch()
    with pytest.raises(InputError, match=r"empty\.mp4 is empty: give another file"):
        probe(tmp_path / "empty.mp4")
    with pytest.raises(InputError, match="has no video"):
        probe(tmp_path / "sound.mp4")
    with pytest.raises(InputError, match="holds no PNG, JPEG, TIFF or BMP"):
        probe(tmp_path)


@pytest.mark.skipif(not films.REAL.is_dir(), reason="the real clips are not here")
@pytest.mark.parametrize(
    ("name", "count", "rate", "shown"),
    [
        ("bbb_800x640_sar64-45_30fps.mp4", 120, "30", (1138, 640)),
        ("flower_960x540_29.97fps.mp4", 150, "30000/1001", (960, 540)),
    ],
)
def test_real_clips(tmp_path, name, count, rate, shown):
    film = probe(films.REAL / name)
    assert (film.frames, film.rate, (film.width, film.height)) == (count, Fraction(rate), shown)
    assert sum(1 for _ in decode(films.REAL / name, Framing(64, 36))) == count
