"""Later commands inherit the settings of a run; contradictions are refused."""

import dataclasses
from fractions import Fraction

import pytest

from vae_gan_jax.config import FIELDS, Config, InputError
from vae_gan_jax.config.flag_text import HoldOut
from vae_gan_jax.run.settings import record_settings, recorded_settings, resolve

RECORDED = {
    "film": "a.mkv", "source": "", "precision": "float32", "keep_epochs": 50, "batch_norm": "batch",
    "trim_start": 60.0, "crop": "4:3", "filters": 16, "batch_size": 6, "output": "out/a.mp4",
    "noise_schedule": (0.25, 0.1),
}  # fmt: skip
GIVEN = {"run_dir": "runs/a"}


def test_everything_is_inherited_unless_given_again():
    config = resolve(GIVEN, RECORDED, learns=True)
    assert config == Config(**(RECORDED | GIVEN))
    config = resolve(GIVEN | {"keep_epochs": 3}, RECORDED, learns=True)
    assert config == Config(**(RECORDED | GIVEN | {"keep_epochs": 3}))


def test_a_mode_does_not_inherit_its_own_settings():
    assert resolve(GIVEN, RECORDED, False, frozenset({"output"})).output == ""


def test_another_source_has_its_own_trims_and_output_but_the_crop_of_the_run():
    config = resolve(GIVEN | {"source": "b.mkv"}, RECORDED, learns=False)
    assert (config.trim_start, config.output, config.crop) == (None, "", "4:3")
    assert config.batch_norm == "batch"
    config = resolve(GIVEN | {"source": "b.mkv", "trim_start": 5.0}, RECORDED, learns=False)
    assert config.trim_start == 5.0


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"filters": 8}, "--filters=8 disagrees with the run in runs/a, made with --filters=16"),
        ({"film": "b.mkv"}, "--film=b.mkv disagrees"),
        ({"crop": "16:9"}, "--crop=16:9 disagrees"),
        ({"noise_schedule": (0.25,)}, "--noise_schedule=0.25 disagrees"),
        ({"batch_size": 6, "per_device_batch_size": 3}, "exclude each other"),
    ],
)
def test_a_setting_of_the_trained_model_cannot_change(given, sentence):
    with pytest.raises(InputError, match=sentence):
        resolve(GIVEN | given, RECORDED, learns=True)


def test_a_longer_schedule_and_another_device_count_agree():
    given = {"noise_schedule": (0.25, 0.1, 0.05), "per_device_batch_size": 99}
    config = resolve(GIVEN | given, RECORDED, learns=True)
    assert (config.epochs, config.batch_size, config.per_device_batch_size) == (3, 6, None)


def test_settings_come_back_from_their_file(tmp_path):
    config = Config(
        run_dir=str(tmp_path),
        film="a b.mkv",
        trim_start=1 / 3,
        first_batch_norm=True,
        noise_schedule=(0.1, 1e-9),
        layout=("output", "stacked"),
        exclude=((0.0, 1 / 3), (6720.5, None)),
        hold_out=HoldOut(2.5, 60.0, "s"),
        fps=Fraction(24000, 1001),
        upscale=(1280, 720),
        quality=0,
        at=(1e-05, 0.1),
        explore=("prior", "map"),
        every=7,
    )
    record_settings(tmp_path, config)
    assert Config(**recorded_settings(tmp_path)) == config
    assert recorded_settings(tmp_path).keys() == FIELDS.keys()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe-\x00", "cannot be read"),
        (b"--novelty=0.5\n", "another version of this program made the run"),
        (b"{}", "another version"),
        (b"--filters=many\n", r"flags\.txt: --filters=many is not a whole number: restore it"),
    ],
)
def test_a_damaged_or_foreign_settings_file_is_named(tmp_path, content, sentence):
    (tmp_path / "flags.txt").write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        recorded_settings(tmp_path)


@pytest.mark.parametrize("foreign", ["letter.txt", "films/letter.txt", "films/mine.mp4"])
def test_what_commands_leave_before_the_training_is_accepted(tmp_path, foreign):
    """A refused first command, ``--mode=passthrough``, ``plan`` and ``benchmark``."""
    for name in ("frames", "frames.partial", ".frames.former", ".demo_film.segments", "films"):
        (tmp_path / name).mkdir()
    (tmp_path / "films" / ".mine_passthrough.mp4.segments").mkdir()
    for name in (
        *("log.txt", ".lock", ".frames.lock", "demo_film.mp4", ".demo_film.joined.mp4"),
        *("plan.json", "benchmark.json", "films/mine_passthrough.mp4", "learnt_films.json"),
        *("flags.txt.partial", "plan.json.partial", "learnt_films.json.partial"),
    ):
        (tmp_path / name).touch()
    assert recorded_settings(tmp_path) == {}
    (tmp_path / foreign).touch()
    with pytest.raises(InputError, match="is not a run folder"):
        recorded_settings(tmp_path)


def test_the_step_depends_on_no_other_part():
    """The parts of Config have no field in common."""
    names = [field.name for part in Config.__bases__ for field in dataclasses.fields(part)]
    assert sorted(names) == sorted(FIELDS)


@pytest.mark.parametrize("flag", ["ema_span", "frame_reweighting"])
def test_a_run_made_with_a_setting_that_is_gone_is_refused(flag, tmp_path):
    (tmp_path / "flags.txt").write_text(f"--film=demo\n--{flag}=0.5\n")
    with pytest.raises(InputError, match=rf"flags\.txt has the unknown setting '{flag}': .*give"):
        recorded_settings(tmp_path)
