"""A flag that a mode does not use is refused, unless the run or a default says the same."""

import re

import pytest

from vae_gan_jax import modes
from vae_gan_jax.config import FIELDS, InputError
from vae_gan_jax.config.mode_flags import GROUPS, LEARN, OF_FILMS, TAKES, refuse_ignored

IGNORED = [
    ("decode", {"rate": 12}),
    ("decode", {"seconds": 5.0}),
    ("decode", {"at": (1.0,)}),
    ("decode", {"layout": ("stacked",)}),
    ("decode", {"batch_norm": "batch"}),
    ("encode", {"reconstruct_noise": 0.5}),
    ("explore", {"layout": ("stacked",)}),
    ("explore", {"every": 3}),
    ("figures", {"seconds": 3.0}),
    ("figures", {"output": "a"}),
    ("report", {"source": "a.mp4"}),
    ("live", {"source": "a.mp4"}),
    ("train", {"preset": "a.yaml"}),
    ("train", {"port": 1}),
    ("prepare", {"web": True}),
    ("benchmark", {"topology": ("h100:8",)}),
    ("plan", {"at": (1.0,)}),
    ("passthrough", {"frames_out": "a"}),
    ("export", {"codec": "ffv1"}),
]


@pytest.mark.parametrize(("mode", "given"), IGNORED)
def test_a_flag_that_a_mode_does_not_use_is_refused(mode, given, tmp_path):
    """Through the table of modes, before anything is written."""
    (name,) = given
    words = f"--{name} is for .* and changes nothing with --mode={mode}: leave it out"
    with pytest.raises(InputError, match=words):
        modes.resolve(given | {"run_dir": str(tmp_path)}, mode)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [{"output": "a"}, {"at": (1.0,)}])
def test_some_flags_of_evaluate_are_for_comparisons_alone(given):
    with pytest.raises(InputError, match="changes nothing with --mode=evaluate without --compare"):
        refuse_ignored(given, {}, "evaluate")
    with pytest.raises(InputError, match=r"--frames_out is for .* with --mode=evaluate: leave"):
        modes.compare({"compare": ("a", "b"), "frames_out": "a"} | given, "evaluate")


def test_a_flagfile_may_repeat_what_the_run_was_made_with():
    given = {"layout": ("stacked",), "seconds": FIELDS["seconds"].default}
    refuse_ignored(given, given, "evaluate")
    with pytest.raises(InputError, match="--layout"):
        refuse_ignored(given, given, "explore", own={"layout"})


def test_flagfiles_of_runs_suit_all_modes_that_learn_measure_speed_or_plan():
    assert set(LEARN) == {mode for mode, row in modes.MODES.items() if row.learns}
    given = dict.fromkeys(OF_FILMS, "x")
    for mode in (*LEARN, "benchmark", "plan"):
        refuse_ignored(given, {}, mode)


def test_every_flag_of_a_few_modes_has_a_mode_and_the_help_names_its_modes():
    assert TAKES.keys() | {"prepare", "report"} == modes.MODES.keys()
    names = {name for name, field in FIELDS.items() if field.metadata["group"] in GROUPS}
    assert names <= set.union(*TAKES.values())
    for mode, row in modes.MODES.items():
        named = set(re.findall(r"--(\w+)", row.help.partition("Flags:")[2])) & names
        assert named - {"at"} <= TAKES.get(mode, set()), mode
