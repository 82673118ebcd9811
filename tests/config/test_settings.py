"""Config: what is refused and in which words, and settings as flags and back."""

import dataclasses
from fractions import Fraction

import pytest

from vae_gan_jax.config import Config, InputError, flag_text
from vae_gan_jax.run import run_folder


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"width": 15}, "--width=15 is too small: give 16 or more."),
        ({"height": 0}, "--height=0 is too small"),
        ({"batch_size": 0}, "--batch_size=0 must be 1 or more."),
        ({"per_device_batch_size": 0}, "--per_device_batch_size=0 must be 1 or more."),
        ({"noise_schedule": (0.1, -0.5)}, "--noise_schedule has the negative entry -0.5"),
        ({"noise_schedule": ()}, "--noise_schedule is empty"),
        ({"trim_start": 9.0, "trim_end": 3.0}, "the trim range is empty"),
        ({"crop": "wide"}, "--crop=wide"),
        ({"prior": "cauchy"}, "--prior=cauchy is none of normal, uniform"),
        ({"layout": ("output", "round")}, "--layout=round is none of"),
        ({"learning_rate": 0.0}, "--learning_rate=0.0 must be above 0."),
        ({"pixel_share": 1.5}, "--pixel_share=1.5 is a part: give 1 at the most."),
        ({"frame_reweighting": 1.5}, "--frame_reweighting=1.5 is a part: give 1 at the most."),
        ({"tanh_scale": 0.9}, "--tanh_scale=0.9 leaves black and white out: give 1 or more."),
        ({"luma_pool": 0, "pixel_share": 0.5}, "--luma_pool=0 must be 1 or more."),
        (
            {"luma_pool": 2},
            "--luma_pool=2 compares pixels, and --pixel_share=0 gives them no part: give a part "
            "too.",
        ),
        ({"ema_span": -0.1}, "--ema_span=-0.1 must not be negative."),
        ({"adam_b1": 1.0}, "--adam_b1=1.0"),
        ({"seed": -1}, "--seed=-1"),
        ({"seconds": 0.0}, "--seconds=0.0 must be above 0."),
        ({"slowdown": 0}, "--slowdown=0 must be 1 or more."),
        ({"every": 0}, "--every=0 must be 1 or more."),
        ({"logit_fan_in": 0}, "--logit_fan_in=0 must be 1 or more."),
        ({"explore": ("map", "astral")}, "--explore=astral is none of prior,"),
    ],
)
def test_a_setting_out_of_range_is_refused_in_a_sentence(settings, sentence):
    with pytest.raises(InputError) as error:
        Config(**settings)
    assert sentence in str(error.value)
    assert str(error.value).count("\n") == 0
    assert str(error.value).endswith(".")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", None), ("90", 90.0), ("90.5", 90.5), ("1:30", 90.0), ("1:01:30.5", 3690.5)],
)
def test_times(text, seconds):
    assert flag_text.parse_time(text) == seconds


@pytest.mark.parametrize("text", ["soon", "1:2:3:4", "-3", "1h", "nan"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(InputError, match="is no time"):
        flag_text.parse_time(text)


@pytest.mark.parametrize("text", ["0.25,lots", "", "0.25,,0.1", "0.25,nan", "1/0"])
def test_a_schedule_with_an_entry_that_is_no_number_is_refused(text):
    with pytest.raises(InputError, match="entry that is no number"):
        flag_text.parse_schedule(text)


def test_numbers_may_be_fractions():
    assert flag_text.parse_number("1/72") == Config().adversarial_weight


def test_flags_are_read_back_exactly(tmp_path):
    config = Config(
        run_dir="runs/a b",
        trim_start=1 / 3,
        first_batch_norm=True,
        noise_schedule=(0.1, 1e-9),
        layout=("output", "stacked"),
        exclude=((0.0, 1 / 3), (6720.5, None)),
        fps=Fraction(24000, 1001),
        upscale=(1280, 720),
        quality=0,
        at=(90.5, 1 / 3),
        explore=("prior", "map"),
        every=7,
        rate=Fraction(30000, 1001),
    )
    run_folder.record_settings(tmp_path, config)
    assert Config(**run_folder.recorded_settings(tmp_path)) == config


def test_times_in_a_row():
    assert flag_text.parse_times("90.5,0:02:00") == (90.5, 120.0)
    assert flag_text.parse_times("") == ()
    with pytest.raises(InputError, match="'soon' is no time"):
        flag_text.parse_times("90,soon")


def test_stretches():
    assert flag_text.parse_stretches("0:00-1:30,1:52:00-end") == ((0, 90), (6720, None))
    assert flag_text.parse_stretches("") == ()
    for text in ("1:30", "1:30-1:00", "-5", "5-", "5-5", "a-b"):
        with pytest.raises(InputError):
            flag_text.parse_stretches(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (flag_text.parse_size, "1280"),
        (flag_text.parse_size, "0x5"),
        (flag_text.parse_rate, "-24"),
        (flag_text.parse_rate, "24/0"),
        (flag_text.parse_whole, "1.5"),
    ],
)
def test_what_is_no_size_rate_or_whole_number_is_refused(parse, text):
    with pytest.raises(InputError, match=" is no "):
        parse(text)


def test_every_setting_says_what_it_is():
    for field in dataclasses.fields(Config):
        assert field.metadata["help"].endswith("."), field.name
