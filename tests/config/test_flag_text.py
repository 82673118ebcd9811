"""Every value of every setting survives the way through its flag's text and through flags.txt."""

import os
from fractions import Fraction

import pytest
from absl import flags
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from vae_gan_jax.config import FIELDS, Config, InputError, flag_text, flagfile, from_text, to_text
from vae_gan_jax.run.settings import FILE, record_settings, recorded_settings

# A text as the operating system passes it: any characters, and bytes that are no UTF-8.
NAMES = st.one_of(
    st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0")),
    st.binary().map(lambda content: os.fsdecode(content.replace(b"\0", b""))),
    st.text(st.sampled_from("ab \n\r\t\"'\\,#%=/-\u2028\u2029\x85\x0b\x1c\xa0\u3000é\udce9")),
)
DIGITS = st.text("0123456789", min_size=1, max_size=20)
NUMBERS = st.one_of(
    DIGITS,
    st.builds("{}.{}".format, DIGITS, DIGITS),
    st.builds("{}/{}".format, DIGITS, DIGITS),
    st.builds("{}:{}:{}".format, DIGITS, DIGITS, DIGITS),
    st.builds("{}x{}".format, DIGITS, DIGITS),
    st.builds("{}-{}".format, DIGITS, st.one_of(DIGITS, st.just("end"))),
    st.floats().map(str),
    st.floats(0, 1e13).map(flag_text.show_time),
    st.sampled_from(["1e-5", "0.00001", "true", "false", "", "-1", "²", "٣", "1_0", "1e999"]),
)
LISTS = st.lists(NUMBERS, min_size=1, max_size=3).map(",".join)
CHOICES = st.sampled_from(
    sorted({word for field in FIELDS.values() for word in field.metadata["choices"]})
)
TEXTS = st.one_of(NAMES, LISTS, CHOICES, st.lists(CHOICES, max_size=3).map(",".join))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=400)
@given(st.sampled_from(sorted(FIELDS)), TEXTS)
@example("trim_start", "0.00001")
@example("trim_end", "999999999:00:00")
@example("exclude", "999999999:59:59-end")
@example("fps", "1000.123456789")
@example("rate", "123456789.123456789")
@example("film", '"a\\nb"')
@example("film", "a\nb.mp4")
@example("output", " leading and trailing ")
def test_every_text_of_every_setting_gives_one_value(name, text):
    """Text, value, text, value: both values are equal, for each text that is accepted."""
    field = FIELDS[name]
    try:
        value = from_text(field, text)
    except InputError:
        return
    again = to_text(field, value)
    assert from_text(field, again) == value
    assert not flag_text.UNPRINTABLE.search(again)


@settings(deadline=None, max_examples=200)
@given(NAMES)
@example("a\nb.mp4")
@example("\u2028")
@example(" ")
@example('"')
@example('""')
@example('"\\n"')
@example("l\udce9.mp4")
@example("-x --film=y #")
def test_any_name_survives_quoting(name):
    assert flag_text.unquote(flag_text.quote(name)) == name


@pytest.mark.parametrize("name", ["a b.mp4", "a,b#%'\".mp4", "日本 é.mkv", '"quoted"', "-x", ""])
def test_ordinary_names_stand_in_flags_as_they_are(name):
    assert flag_text.quote(name) == name == flag_text.unquote(name)


@settings(deadline=None, max_examples=60)
@given(NAMES, NAMES, st.floats(0, 1e12, allow_nan=False))
@example("a\nb.mp4", "u\u2028b", 1e-5)
@example("l\udce9.mp4", ' "x', 1e12)
def test_flags_txt_is_the_same_run_for_a_later_command_and_as_a_flagfile(
    tmp_path_factory, film, output, seconds
):
    folder = tmp_path_factory.mktemp("run")
    config = Config(
        run_dir=str(folder), film=film, output=output, trim_start=seconds, at=(seconds,),
        compare=("a", "b\nc"), fps=Fraction(1000123456789, 10**9),
    )  # fmt: skip
    record_settings(folder, config)
    assert Config(**recorded_settings(folder)) == config
    values = flags.FlagValues()
    for field in FIELDS.values():
        define = flags.DEFINE_bool if field.type is bool else flags.DEFINE_string
        define(field.name, None, "", flag_values=values)
    values(["main.py", *flagfile.expand([f"--flagfile={folder / FILE}"])])
    read = {
        name: value if FIELDS[name].type is bool else from_text(FIELDS[name], value)
        for name, value in values.flag_values_dict().items()
        if name in FIELDS
    }
    assert Config(**read) == config


@pytest.mark.parametrize("text", ["a\nb", "\x1b[31m", "l\udce9", "a\u2028b"])
def test_a_text_for_people_stays_in_its_line(text):
    shown = flag_text.printable(text)
    assert not flag_text.UNPRINTABLE.search(shown)
    assert shown.encode()
