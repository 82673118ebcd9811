"""Config refuses wrong settings in a sentence; settings survive the way through flags."""

import dataclasses
from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vae_gan_jax.config import FIELDS, Config, InputError, flag_text, from_text, to_text


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"width": 15}, "--width=15 is too small: give 16 or more."),
        ({"height": 0}, "--height=0 is too small"),
        ({"batch_size": 0}, "--batch_size=0 is too small: give 1 or more."),
        ({"per_device_batch_size": 0}, "--per_device_batch_size=0 is too small: give 1 or more."),
        ({"noise_schedule": (0.1, -0.5)}, "--noise_schedule=-0.5 is too small: give 0 or more."),
        ({"noise_schedule": ()}, "--noise_schedule is empty"),
        ({"trim_start": 9.0, "trim_end": 3.0}, "--trim_end=3 is not after --trim_start=9"),
        ({"crop": "wide"}, "--crop=wide"),
        ({"prior": "cauchy"}, "--prior=cauchy is not one of normal, uniform"),
        ({"layout": ()}, "--layout is empty: give one or more, such as output."),
        ({"topology": []}, "--topology is empty"),
        ({"layout": ("output", "round")}, "--layout=round is not one of"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0 is too small: give more than 0."),
        ({"pixel_share": 1.5}, "--pixel_share=1.5 is too large: give 1 or less."),
        ({"kl_weight": -0.1}, "--kl_weight=-0.1 is too small: give 0 or more."),
        ({"gamma": 1e39}, "--gamma=1e+39 is too large: give a number up to 3.4e+38."),
        ({"noise_schedule": (0.1, 1e39)}, "--noise_schedule=1e+39 is too large"),
        ({"seed": -1}, "--seed=-1"),
        ({"seconds": 0.0}, "--seconds=0.0 is too small: give more than 0."),
        ({"slowdown": 0}, "--slowdown=0 is too small: give 1 or more."),
        ({"every": 0}, "--every=0 is too small: give 1 or more."),
        ({"explore": ("map", "astral")}, "--explore=astral is not one of prior,"),
        (
            {"networks": "residual", "batch_norm": "batch"},
            "--batch_norm=batch does not go with --networks=residual",
        ),
        (
            {"networks": "residual", "filters": 1},
            "--filters=1 does not go with --networks=residual",
        ),
        (
            {"batch_size": 1, "width": 16, "height": 16},
            "--batch_size=1 does not go with --width=16 and --height=16",
        ),
    ],
)
def test_a_setting_out_of_range_is_refused_in_a_sentence(settings, sentence):
    with pytest.raises(InputError) as error:
        Config(**settings)
    assert sentence in str(error.value)
    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90.0), ("90.5", 90.5), ("1:30", 90.0), ("1:01:30.5", 3690.5)]
)
def test_times(text, seconds):
    assert flag_text.parse_time(text) == seconds


def test_a_whole_number_of_many_digits_is_called_that():
    with pytest.raises(
        InputError, match=r"--filters=9{20} has too many digits: give at most 18\.$"
    ):
        from_text(FIELDS["filters"], "9" * 20)


def test_numbers_may_be_fractions():
    assert flag_text.parse_number("1/72") == Config().adversarial_weight


def test_time_ranges():
    assert flag_text.parse_ranges("0:00-1:30,1:52:00-end") == ((0, 90), (6720, None))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        *(("trim_end", text) for text in ("soon", "1:2:3:4", "-3", "1h", "nan", "²", "9" * 5000)),
        *(("noise_schedule", text) for text in ("0.25,lots", "", "0.25,,0.1", "0.25,nan", "1/0")),
        *(("exclude", text) for text in ("1:30", "1:30-1:00", "-5", "5-", "5-5", "a-b")),
        *(
            ("hold_out", text)
            for text in (
                "10s",
                "10/60",
                "10s/60",
                "-1s/60s",
                "0s/60s",
                "60s/60s",
                "61s/60s",
                "shots/1",
                "shots/0",
                "shots:5",
                "shots/1.5",
                "10s/60s,shots/5",
                "nans/60s",
                "0.0000001s/1s",
            )
        ),
        *(("upscale", text) for text in ("1280", "0x5", "axb", "9999999x2")),
        *(("trim_start", text) for text in ("1:99", "1:60:00", "-1", "1:2:3:4", "soon")),
        *(("fps", text) for text in ("-24", "24/0", "1e5000", "0", "24/1/1")),
        *(("kl_weight", text) for text in ("2.5/", "1_000", "1/inf", "/2", "1/2/3")),
        *(("quality", text) for text in ("1.5", "abc", "²", "9" * 5000)),
        *(("learning_rate", text) for text in ("1e99999999", "inf", "9" * 400, "1/0", "fast")),
        ("at", "90,soon"),
        ("width", "wide"),
    ],
)
def test_a_text_that_is_no_value_is_refused_with_its_flag_and_the_form_to_give(name, text):
    with pytest.raises(InputError) as error:
        from_text(FIELDS[name], text)
    assert str(error.value).startswith(f"--{name}={text} ")
    assert ": give " in str(error.value)


TIMES = st.floats(0, 1e11, allow_nan=False).map(abs)
VALUES = {
    "trim_start": TIMES,
    "at": st.lists(TIMES, min_size=1, max_size=3).map(tuple),
    "exclude": st.lists(st.tuples(TIMES, st.none()), min_size=1, max_size=3).map(tuple),
    "hold_out": st.one_of(
        st.integers(2, 10**9 - 1).map(lambda period: flag_text.HoldOut(1, period, "shots")),
        st.tuples(st.integers(1, 10**12), st.integers(1, 10**12)).map(
            lambda times: flag_text.HoldOut(times[0] / 1e6, sum(times) / 1e6, "s")
        ),
    ),
    "learning_rate": st.floats(allow_nan=False, allow_infinity=False),
    "noise_schedule": st.lists(
        st.floats(allow_nan=False, allow_infinity=False), min_size=1
    ).map(tuple),
    "fps": st.builds(Fraction, st.integers(1, 10**9 - 1), st.integers(1, 10**9 - 1)),
    "seed": st.integers(-(10**17), 10**17),
    "upscale": st.tuples(st.integers(1, 10**6 - 1), st.integers(1, 10**6 - 1)),
    "strict": st.booleans(),
    "codec": st.text(st.characters(codec="utf-8", exclude_characters="\0")),
}  # fmt: skip


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(VALUES)), st.data())
def test_a_value_comes_back_from_its_text(name, data):
    value = data.draw(VALUES[name])
    assert from_text(FIELDS[name], to_text(FIELDS[name], value)) == value


def test_every_setting_says_what_it_is():
    for field in dataclasses.fields(Config):
        assert field.metadata["help"].endswith("."), field.name
        for choice in field.metadata["choices"]:
            assert choice in field.metadata["help"], (field.name, choice)
