"""Presets are read and written without loss; what is none gets a sentence with file and line."""

import dataclasses
import re
import time

import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.explore import presets
from vae_gan_jax.explore.curves import Constant, Keyframes, Sound, Wave

TEXT = """\
# A comment.
about: "It moves: slowly, 'in' four ways"
seconds: 12
codes: {path: [0:10, 1:30, 2]}
controls:
  - control: direction
    component: 2
    amount: 1.5
  - control: mix
    time: 0:01:30.5
    amount:
      keys:
        - [0, 0]
        - [0:05, 1, smooth]
      loop: 10
  - control: walk
    seed: 3
    seconds: 1e1
    amount: {sound: low, from: 0, to: 1, decay: 0.5}
  - control: feedback
    degrees: {wave: 4, from: -1e-3, to: 2.5e-1, phase: 0.25}
"""


def test_a_preset_is_what_its_text_says():
    preset = presets.parse(TEXT, "a.yaml")
    assert preset.about == "It moves: slowly, 'in' four ways"
    assert preset.seconds == 12
    assert preset.codes == {"path": [10, 90, 2]}
    assert [use.name for use in preset.controls] == ["direction", "mix", "walk", "feedback"]
    assert [use.options for use in preset.controls] == [
        (("component", 2),), (("time", 90.5),), (("seed", 3), ("seconds", 10)), (),
    ]  # fmt: skip
    assert [use.curves for use in preset.controls] == [
        {"amount": Constant(1.5)},
        {"amount": Keyframes(((0, 0, "linear"), (5, 1, "smooth")), 10)},
        {"amount": Sound("low", 0, 1, decay=0.5)},
        {"degrees": Wave(4, -1e-3, 0.25, 0.25)},
    ]
    assert preset.controls[1].place == "a.yaml:9: "
    assert preset.uses_sound
    assert not dataclasses.replace(preset, controls=preset.controls[:2]).uses_sound


def test_a_preset_is_written_as_people_write_it_and_read_back():
    preset = presets.parse(TEXT)
    text = presets.dump(preset)
    assert presets.parse(text) == preset
    assert presets.dump(presets.parse(text)) == text
    lines = text.splitlines()
    assert lines[1:4] == ["seconds: 12", "codes: {path: [10.0, 90.0, 2.0]}", "controls:"]
    assert "    amount: {keys: [[0, 0], [5, 1, smooth]], loop: 10}" in lines
    empty = presets.Preset()
    assert presets.parse(presets.dump(empty)) == empty


@pytest.mark.parametrize("about", ["12", "true", "1e5", "~", "on: off", "# no", "ä ✓", " a ", "-"])
def test_any_text_survives_writing(about):
    preset = presets.Preset(about)
    assert presets.parse(presets.dump(preset)) == preset


def test_json_is_a_preset_too():
    text = '{"controls": [{"control": "direction", "amount": {"keys": [[0, 0], [1, 1]]}}]}'
    curve = presets.parse(text).controls[0].curves["amount"]
    assert curve == Keyframes(((0, 0, "linear"), (1, 1, "linear")))


def one(lines: str) -> str:
    return f"controls:\n  - control: direction\n{lines}"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("", 1, "not a preset"),
        ("- 1", 1, "not a preset"),
        ("about: [1", 1, "not YAML"),
        ("about: x\nabout: y", 2, "twice"),
        ("about: x\nabuot: y", 2, "abuot does not belong to a preset: give about"),
        ("about: 12", 1, "in quotes"),
        ("seconds: -1", 1, "outside its range"),
        ("seconds: .nan", 1, "not a number"),
        ("networks: residul", 1, "residul: give residual"),
        ("codes: film", 1, "codes is not a mapping: give one with walk or"),
        ("codes: {wlak: film}", 1, "wlak does not belong to codes: give walk"),
        ("codes: {walk: film, every: 2}", 1, "every does not belong to walk: give walk"),
        ("codes:\n  samples: film\n  every: 0", 3, "outside its range"),
        ("codes: {path: [a]}", 1, "not a time"),
        ("controls: direction", 1, "not a list"),
        ("controls:\n  - direction", 2, "not a control: begin it with the line - control: NAME"),
        ("controls:\n  - control: derection", 2, "derection: give direction"),
        (one("    component: 1\n    amout: 2"), 4, "amout does not belong to direction: give"),
        (one("    component: 1.5"), 3, "not a whole number"),
        (one("    component: 0"), 3, "outside its range: give 1 or more"),
        (one("    component: true"), 3, "not a number"),
        (one("    amount: 11"), 3, "outside its range: give -10 to 10"),
        (one("    amount: NaN"), 3, "not a number"),
        (one("    amount: 1e999"), 3, "not finite"),
        (one(f"    amount: {'9' * 5000}"), 3, "not finite"),
        (one("    amount:\n      keys:\n        - [0, 0]\n        - [2, 99]"), 6, "outside its"),
        (one("    amount:\n      keys:\n        - [2, 0]\n        - [1, 9]"), 6, "order of time"),
        (one("    amount: {keys: [[0, 0, smoth]]}"), 3, "a value in keys is smoth: give smooth"),
        ("controls:\n  - control: mix\n    amount: 1", 2, "control mix has no time: give one"),
        ("controls:\n  - control: mix\n    time: soon", 3, "not a time"),
        ("about: &a x\nnetworks: *a", 2, "write the value itself"),
        ("about: !!python/name:os.system x", 1, "is a tag"),
        ("about: " + "[" * 60_000, 1, "is nested in over 12 levels"),
        (f"controls: [{'{control: snap}, ' * 65}]", 1, "holds 65 controls: give at most 64"),
        ("controls: [{control: }]", 1, "control is nothing: give bend_ablate or"),
        ("? [a]\n: 1", 1, "has a list as the name of a value"),
        ("about: a\0b", 1, "not YAML"),
    ],
)
def test_what_is_no_preset_is_refused_with_its_line(text, line, message):
    with pytest.raises(InputError, match=re.escape(message)) as caught:
        presets.parse(text, "a.yaml")
    assert str(caught.value).startswith(f"a.yaml:{line}: "), caught.value
    assert str(caught.value).endswith(".")
    assert "\n" not in str(caught.value)


def test_bombs_and_huge_files_are_refused_at_once(tmp_path):
    bomb = "a: &a [x, x]\n" + "".join(
        f"{new}: &{new} [*{old}, *{old}, *{old}, *{old}]\n"
        for old, new in zip("abcdefghijklmno", "bcdefghijklmnop", strict=True)
    )
    (tmp_path / "huge.yaml").write_text("about: " + "ä" * 10_000_000)
    start = time.process_time()
    with pytest.raises(InputError, match="write the value itself"):
        presets.parse(bomb)
    with pytest.raises(InputError, match="more than 200000 bytes"):
        presets.load(tmp_path / "huge.yaml")
    assert time.process_time() - start < 2


def test_a_file_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "latin.yaml").write_bytes(b"about: \xe4")
    for path, reason in [
        (tmp_path / "absent.yaml", "No such file"),
        (tmp_path, "not an ordinary file"),
        (tmp_path / "latin.yaml", "not text in UTF-8"),
        ("/dev/zero", "not an ordinary file"),
    ]:
        with pytest.raises(InputError, match=reason):
            presets.load(path)


def test_a_preset_for_other_networks_is_refused():
    preset = presets.parse("networks: residual\ncontrols: []", "a.yaml")
    preset.require_layers("residual", ["decoder/residual_1"])
    with pytest.raises(InputError, match=r"^a\.yaml:1: this preset is for --networks=resid"):
        preset.require_layers("thesis", ["decoder/conv_1"])
