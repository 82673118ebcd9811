"""The flagfiles parse to what their names promise."""

import dataclasses
from pathlib import Path

import pytest
from absl import flags

from vae_gan_jax import config as config_lib
from vae_gan_jax import main, run_folder

PROJECT = Path(__file__).parent.parent
NAMES = [
    "demo", "blade", "scanner", "blade_through_scanner", "scanner_through_blade",
    "apple1984_through_blade", "matrix3_through_blade", "early_test", "released_code", "bunny",
    "blade_512", "blade_1024",
]  # fmt: skip


@pytest.fixture
def load(monkeypatch):
    """A function from an experiment's name to its mode and Config."""
    monkeypatch.chdir(PROJECT)
    flags.FLAGS.unparse_flags()

    def load(name):
        flags.FLAGS(["main", f"--flagfile=experiments/{name}.flags"])
        return flags.FLAGS.mode, run_folder.resolve(main.given_settings(), {}, learning=True)

    yield load
    flags.FLAGS.unparse_flags()
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()


@pytest.mark.parametrize("name", NAMES)
def test_flagfile_parses_and_says_what_to_expect(name, load):
    mode, config = load(name)
    assert config.run_dir.startswith("runs/")
    assert (mode == "reconstruct") is ("through" in name)
    assert config.source if "through" in name else config.film
    head = (PROJECT / "experiments" / f"{name}.flags").read_text().partition("\n--")[0]
    for word in ("Film", "Hardware", "Expect"):
        assert f"# {word}" in head or f"{word.lower()}" in head.lower(), word


def test_larger_frames_are_blade_runner_s_shape(load):
    for name, scale in (("blade_512", 2), ("blade_1024", 4)):
        _, blade = load("blade")
        larger = dataclasses.replace(blade, width=256 * scale, height=144 * scale)
        _, config = load(name)
        assert dataclasses.replace(config, run_dir=blade.run_dir) == larger


def test_there_is_no_other_experiment():
    assert {path.stem for path in (PROJECT / "experiments").glob("*.flags")} == {
        *(*NAMES, "base", "best")
    }


def test_the_best_preset_nests_in_any_experiment(load):
    """It departs in what its head gives reasons for, and in nothing else."""
    _, blade = load("blade")
    flags.FLAGS(["main", "--flagfile=experiments/blade.flags", "--flagfile=experiments/best.flags"])
    best = run_folder.resolve(main.given_settings(), {}, learning=True)
    assert best == dataclasses.replace(
        blade,
        kl_weight=0.01,
        pixel_share=0.95,
        pixel_square=2,
        average=0.1,
        novelty=0.5,
        output_range=1.25,
    )


def test_the_thesis_s_experiments_have_its_settings(load):
    _, blade = load("blade")
    assert blade.noise_schedule == (0.25, 0.25, 0.01, 0.01, 0.05, 0.05)
    _, scanner = load("scanner")
    assert scanner.noise_schedule == (0.25, 0.1, 0.1, 0.05, 0.05, 0.05)
    defaults = config_lib.Config()
    for config in (blade, scanner):
        for name in ("width", "height", "filters", "z_dim", "batch_size", "learning_rate",
                     "adam_b1", "gamma", "adversarial_weight", "kl_weight", "leak"):  # fmt: skip
            assert getattr(config, name) == getattr(defaults, name)


def test_the_counter_example_and_the_released_code_differ_as_told(load):
    _, early = load("early_test")
    assert early.noise_schedule == (1,) * 6
    assert early.reconstruct_noise == 1
    _, released = load("released_code")
    assert (released.leak, released.prior, released.batch_norm) == (0.2, "uniform", "batch")
