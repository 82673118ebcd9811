"""Checkpoints are restored exactly, or from an older one if files are damaged."""

import logging
import shutil
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.training import checkpoint, checkpoint_folder, train_state
from vae_gan_jax.training.checkpoint import Checkpoints

NAME = checkpoint.logger.name


@pytest.fixture(scope="module")
def state(small):
    return train_state.create(small, jax.random.key(3))


def at(state, step):
    """The state with another step and other parameters."""
    params = jax.tree.map(lambda leaf: leaf + step, state.params)
    return state.replace(step=jnp.int32(step), params=params)


@pytest.fixture(scope="module")
def saved(state, tmp_path_factory):
    """A run folder with the checkpoints 1, 2 and 3."""
    run_dir = tmp_path_factory.mktemp("saved")
    with Checkpoints(run_dir) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(at(state, step))
    return run_dir


@pytest.fixture
def run_dir(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "run")


def restored(run_dir, state, step=None):
    with Checkpoints(run_dir) as checkpoints:
        return checkpoints.restore(state, step)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 8
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def test_restores_the_newest_checkpoint_or_the_given_one(run_dir, state):
    assert checkpoint.steps(run_dir) == [1, 2, 3]
    chex.assert_trees_all_equal(restored(run_dir, state), at(state, 3))
    chex.assert_trees_all_equal(restored(run_dir, state, 1), at(state, 1))


def test_the_content_checksum_follows_the_content(run_dir, state):
    checksums = [checkpoint.content_checksum(run_dir, step) for step in (1, 2, 3)]
    assert len(set(checksums)) == 3
    with Checkpoints(run_dir) as checkpoints:
        shutil.rmtree(checkpoints.folder / "3")
        checkpoints.save(at(state, 4).replace(step=jnp.int32(3)))
    assert checkpoint.content_checksum(run_dir, 2) == checksums[1]
    assert checkpoint.content_checksum(run_dir, 3) != checksums[2]
    with pytest.raises(InputError, match=r"9/checksums\.json cannot be read"):
        checkpoint.content_checksum(run_dir, 9)


@pytest.mark.parametrize(
    "fault",
    [
        flip,
        pytest.param(truncate, marks=pytest.mark.slow),
        pytest.param(Path.unlink, marks=pytest.mark.slow),
    ],
)
def test_damage_to_any_file_is_detected_or_harmless(fault, saved, state, tmp_path, caplog):
    folder = saved / "checkpoints" / "3"
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.stat().st_size]
    files = [file for file in files if (folder / file).is_file()]
    assert len(files) > 5
    for number, file in enumerate(files):
        run_dir = shutil.copytree(saved, tmp_path / str(number))
        fault(run_dir / "checkpoints" / "3" / file)
        caplog.clear()
        result = restored(run_dir, state)
        warnings = [record.getMessage() for record in caplog.records if record.name == NAME]
        if warnings:
            assert str(file) in warnings[0]
            assert "renamed to" in warnings[0]
            assert (run_dir / "checkpoints" / "3.damaged").is_dir()
            chex.assert_trees_all_equal(result, at(state, 2))
        else:
            chex.assert_trees_all_equal(result, at(state, 3))
        assert (file.name in checkpoint_folder.FILES_WITHOUT_CHECKSUM) == (not warnings)


def test_damaged_checkpoints_are_renamed_with_their_files(run_dir, state, caplog):
    folder = run_dir / "checkpoints"
    (folder / "3.damaged").mkdir()  # must not be overwritten
    for step in "32":
        (folder / step / checkpoint.CHECKSUMS).unlink()
    chex.assert_trees_all_equal(restored(run_dir, state), at(state, 1))
    names = {path.name for path in folder.iterdir()}
    assert names == {"1", "2.damaged", "3.damaged", "3.damaged_2"}
    assert any((folder / "3.damaged_2").iterdir())


def test_without_a_sound_checkpoint_it_fails_and_renames_nothing(run_dir, state):
    folder = run_dir / "checkpoints"
    for step in "123":
        (folder / step / checkpoint.CHECKSUMS).write_text("")
    with pytest.raises(InputError, match=f"no checkpoint in .*{checkpoint.CHECKSUMS} is damaged"):
        restored(run_dir, state)
    assert checkpoint.steps(run_dir) == [1, 2, 3]


@pytest.mark.parametrize(
    "content",
    ["", "[]", '{"letter.txt": [1, 2]}', "0\n{}", "ffffffff\nno", "0\n" + "[" * 50_000],
)
def test_an_invalid_list_of_checksums_counts_as_damage(content, run_dir, state):
    (run_dir / "checkpoints" / "3" / checkpoint.CHECKSUMS).write_text(content)
    (run_dir / "checkpoints" / "2" / checkpoint.CHECKSUMS).write_bytes(b"\xff" * 100)
    assert int(restored(run_dir, state).step) == 1
    assert checkpoint.steps(run_dir) == [1]


def test_foreign_files_are_left_alone(run_dir, state, caplog):
    """Only a folder whose name looks like a step is renamed, with a warning."""
    folder = run_dir / "checkpoints"
    (folder / "notes.txt").write_text("mine")
    (folder / "mine").mkdir()
    (folder / "7").mkdir()
    (folder / "7" / "letter.txt").write_text("dear")
    chex.assert_trees_all_equal(restored(run_dir, state), at(state, 3))
    assert "7 is damaged, it has no checksums.json" in caplog.text
    assert (folder / "notes.txt").read_text() == "mine"
    assert (folder / "7.damaged" / "letter.txt").read_text() == "dear"


def test_incomplete_checkpoints_do_not_count_and_the_next_save_removes_them(run_dir, state):
    folder = run_dir / "checkpoints"
    shutil.copytree(folder / "3", folder / "4.orbax-checkpoint-tmp-0")
    shutil.copytree(folder / "3", folder / "0.deleted")
    chex.assert_trees_all_equal(restored(run_dir, state), at(state, 3))
    with Checkpoints(run_dir, keep_epochs=9) as checkpoints:
        checkpoints.save(at(state, 5))
    assert sorted(path.name for path in folder.iterdir()) == ["1", "2", "3", "5"]


def test_a_checkpoint_that_cannot_be_written_leaves_the_others(run_dir, state, caplog, monkeypatch):
    """The disk is full for a while, when the checksums are written."""

    def full(folder):
        raise OSError(28, "No space left on device")

    with Checkpoints(run_dir) as checkpoints:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoint_folder, "seal", full)
            checkpoints.save(at(state, 4))
            checkpoints.wait()
        assert "step 4 cannot be written" in caplog.text
        assert "No space left on device" in caplog.text
        assert "training continues, earlier checkpoints stay" in caplog.text
        assert sorted(path.name for path in checkpoints.folder.iterdir()) == ["1", "2", "3"]
        checkpoints.save(at(state, 5))
    chex.assert_trees_all_equal(restored(run_dir, state), at(state, 5))
    with Checkpoints(run_dir, strict=True) as checkpoints:
        monkeypatch.setattr(checkpoint_folder, "seal", full)
        checkpoints.save(at(state, 6))
        with pytest.raises(InputError, match="step 6 cannot be written"):
            checkpoints.wait()


def test_a_folder_that_cannot_be_removed_is_no_error(run_dir, state, caplog, monkeypatch):
    def held(_):
        raise OSError(16, "Device or resource busy")

    with Checkpoints(run_dir) as checkpoints:
        monkeypatch.setattr(checkpoint_folder.CheckpointFolder, "remove_incomplete", held)
        checkpoints.save(at(state, 4))
        checkpoints.wait()
    assert "step 4 cannot be written" in caplog.text


def test_a_deleted_run_folder_ends_training(run_dir, state):
    with Checkpoints(run_dir) as checkpoints:
        shutil.rmtree(run_dir)
        run_dir.write_text("in its place")
        with pytest.raises(InputError, match="was moved or deleted"):
            checkpoints.save(at(state, 4))


def test_restores_on_another_number_of_devices(saved, state, small):
    """Saved on one device, restored on two."""
    total = sum(float(leaf.sum()) for leaf in jax.tree.leaves(at(state, 3).params))
    program = f"""
import jax, sys
jax.config.update("jax_num_cpu_devices", 2)
from vae_gan_jax.config import Config
from vae_gan_jax.training import checkpoint, train_state
assert jax.device_count() == 2
state = train_state.create({small!r}, jax.random.key(0))
with checkpoint.Checkpoints({str(saved)!r}) as checkpoints:
    params = checkpoints.restore(state).params
print(sum(float(jax.device_get(leaf).sum()) for leaf in jax.tree.leaves(params)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout) == pytest.approx(total, rel=1e-6)


@pytest.fixture(autouse=True)
def capture_warnings(caplog):
    """Captures warnings, whatever level other tests have set."""
    caplog.set_level(logging.WARNING)
