"""The frames of a film are those that decode, in order, whatever its packets and times promise."""

from pathlib import Path

import numpy as np
import pytest

from tests.film import films
from vae_gan_jax.config import InputError
from vae_gan_jax.film import ffmpeg
from vae_gan_jax.film.read import timeline
from vae_gan_jax.film.read.framing import Framing, section
from vae_gan_jax.film.read.reader import FilmReader
from vae_gan_jax.film.read.video import decode, probe

FULL = Framing(64, 48, crop="none")


def agreed_numbers(path) -> list[int]:
    """The numbers that a film shows; the whole film, ranges and random access must agree."""
    shown, film = films.numbers(decode(path, FULL)), FilmReader(str(path), "film", FULL)
    assert film.count == section(probe(path), FULL).count == len(shown)
    last = len(shown) - 1
    assert films.numbers(film.at([last, 0, last // 2])) == [shown[last], shown[0], shown[last // 2]]
    assert films.numbers(decode(path, FULL, skip=last // 2, count=3)) == shown[last // 2 :][:3]
    return shown


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("packed.avi", ("-c:v", "libxvid", "-bf", 2, "-q:v", 1)),
        ("raw.h264", ("-c:v", "libopenh264", "-b:v", "2M")),
        ("fast.mp4", ("-vf", "setpts=N/(480*TB)", "-r", 480)),
        ("fast.mkv", ("-vf", "setpts=N/(480*TB)", "-r", 480)),
    ],
)
def test_a_healthy_film_gives_every_frame_that_decodes(tmp_path, name, options, caplog):
    whole, path = films.counting_film(tmp_path / "whole.mp4", "25", count=60), tmp_path / name
    films.run_ffmpeg("-i", whole, *options, path)
    raw = films.run_ffmpeg(
        "-i", path, "-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"
    )
    decoded = films.numbers(np.frombuffer(raw, np.uint8).reshape(-1, 48, 64, 3))
    assert len(decoded) >= 57
    assert agreed_numbers(path) == decoded
    assert probe(path).rate == (480 if name.startswith("fast") else 25)
    assert not caplog.records


@pytest.mark.parametrize(("name", "offset"), [("a.ts", 0), ("a.ts", 30_000), ("a.mkv", 30_000)])
def test_parts_whose_timestamps_jump_are_joined(tmp_path, name, offset, caplog):
    whole = films.counting_film(tmp_path / "whole.mp4", "25", options=("-bf", 2))
    joined = b""
    for number, shift in enumerate((0, offset)):
        part = tmp_path / f"{number}{name}"
        films.run_ffmpeg("-i", whole, "-c", "copy", "-output_ts_offset", shift, part)
        joined += part.read_bytes()
    path = tmp_path / name
    path.write_bytes(joined)
    assert agreed_numbers(path) == 2 * list(range(48))
    assert [record.message for record in caplog.records if "jump" in record.message] == [
        f"{path}: its timestamps jump; the parts are joined, in order."
    ]


@pytest.mark.parametrize("hidden", [1, 5, 13])
def test_an_edit_list_that_starts_between_keyframes(tmp_path, hidden, caplog):
    whole, path = tmp_path / "whole.mp4", tmp_path / "film.mp4"
    films.counting_film(whole, "25", options=("-preset", "medium", "-bf", 2, "-g", 12))
    films.run_ffmpeg("-ss", hidden / 25, "-i", whole, "-c", "copy", path)
    assert agreed_numbers(path) == list(range(hidden, 48))
    assert not caplog.records


def test_a_truncated_film_is_as_long_as_what_decodes(tmp_path):
    path = tmp_path / "film.mp4"
    films.counting_film(path, count=100, options=("-g", 12, "-bf", 2, "-movflags", "+faststart"))
    path.write_bytes(path.read_bytes()[:-3000])
    shown = agreed_numbers(path)
    assert 50 < len(shown) < 100
    assert shown == list(range(len(shown)))


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_a_long_film_is_decoded_only_at_its_ends(tmp_path, name, monkeypatch):
    path = films.counting_film(tmp_path / name, count=200, options=("-g", 12, "-bf", 2))
    start, decoded, decoded_times = probe(path).start, [], timeline.decoded_times

    def count(*arguments, **options):
        decoded.append(decoded_times(*arguments, **options))
        return decoded[-1]

    with monkeypatch.context() as patch:
        patch.setattr(timeline, "COUNTED_PIXELS", 0)
        patch.setattr(timeline, "decoded_times", count)
        times_T = timeline.read_timeline(path, 0, "h264", start, 64 * 48).times_T
    assert sum(map(len, decoded)) < 100
    np.testing.assert_allclose(times_T, start + np.arange(200) / 24, atol=2e-3)


def test_a_long_film_with_a_damaged_end_is_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(timeline, "COUNTED_PIXELS", 0)
    path = Path(films.counting_film(tmp_path / "film.ts", count=100, options=("-g", 12)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    agreed_numbers(path)


def test_a_film_is_probed_again_only_if_it_changes(tmp_path, monkeypatch):
    path = films.counting_film(tmp_path / "film.mp4", count=10)
    first = probe(path)
    with monkeypatch.context() as patch:
        patch.setattr(ffmpeg, "output_of", None)
        assert probe(path) is first
    films.counting_film(path, count=20)
    assert (first.frames, probe(path).frames) == (10, 20)


def test_a_stream_that_never_ends_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(ffmpeg, "STALL_SECONDS", 2)
    films.counting_film(tmp_path / "part.ts")
    live = tmp_path / "live.m3u8"
    live.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:2.0,\npart.ts\n")
    with pytest.raises(InputError, match=r"live\.m3u8 gave no data for 2 seconds: save"):
        probe(live)
