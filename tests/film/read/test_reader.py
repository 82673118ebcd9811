"""Random access gives the frames of the whole film; times and numbers agree."""

import itertools

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.film.read import reader, video

FRAMING = video.Framing(width=64, height=36, crop="none")


@pytest.fixture(scope="module")
def whole_THWC(film):
    return np.stack(list(video.decode(film, FRAMING)))


@pytest.fixture
def film_reader(film):
    return reader.FilmReader(str(film), "film", FRAMING)


@pytest.mark.parametrize("min_seek", [0.0, 10.0])
def test_chosen_frames_come_in_the_order_asked(film_reader, whole_THWC, min_seek, monkeypatch):
    """With a seek for each frame, and in one pass."""
    monkeypatch.setattr(reader, "MIN_SEEK_SECONDS", min_seek)
    numbers = [20, 3, 3, 25, 0]
    np.testing.assert_array_equal(film_reader.at(numbers), whole_THWC[numbers])
    assert film_reader.count == len(whole_THWC)


def test_trimmed_numbers_and_times_begin_at_the_trim(film, whole_THWC):
    framing = video.Framing(width=64, height=36, crop="none", trim_start=0.5)
    trimmed = reader.FilmReader(str(film), "film", framing)
    np.testing.assert_array_equal(trimmed.at([0, 13]), whole_THWC[[12, 25]])
    assert trimmed.seconds(0) == pytest.approx(12 * 1001 / 24000)


def test_a_time_code_leads_back_to_its_frame(film_reader):
    for number in range(film_reader.count):
        code = reader.time_code(film_reader.seconds(number))
        assert film_reader.number(float(code.rpartition(":")[2])) == number


@pytest.mark.parametrize("seconds", [-1.0, 1.2, 4000.0])
def test_a_time_outside_the_film_is_refused(film_reader, seconds):
    with pytest.raises(InputError, match=r"outside the film, .* to 0:00:01.08: give a time in it"):
        film_reader.number(seconds)


def test_a_frame_that_does_not_decode_is_named(film_reader, monkeypatch):
    few = list(itertools.islice(film_reader.frames(), 5))
    monkeypatch.setattr(reader.FilmReader, "frames", lambda _, first=0: (f for f in few[first:]))
    with pytest.raises(InputError, match=r"frame 20 of .* cannot be decoded"):
        film_reader.at([2, 20])


@pytest.mark.parametrize("number", [-1, 26, 10**12])
def test_a_number_outside_the_film_is_refused(film_reader, number):
    with pytest.raises(InputError, match=f": frame={number} is out of range: give 0 to 25"):
        film_reader.at([2, number])


def test_no_numbers_give_no_frames(film_reader):
    assert film_reader.at([]).shape == (0, 36, 64, 3)


def test_the_shots_are_those_of_the_film(film_reader):
    assert film_reader.shots == [(0, 26)]


@pytest.mark.parametrize(
    ("seconds", "code"),
    [(0, "0:00:00.00"), (90.5, "0:01:30.50"), (59.999, "0:01:00.00"), (7323.456, "2:02:03.46")],
)
def test_time_codes(seconds, code):
    assert reader.time_code(seconds) == code


def test_times_in_names_of_files():
    assert reader.time_in_name(90.5) == "0h01m30.50s"
