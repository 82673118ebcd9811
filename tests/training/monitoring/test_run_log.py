"""The log of a run: resuming, a full disk, a folder that was moved."""

import json

import numpy as np
import pytest

from vae_gan_jax.config import InputError
from vae_gan_jax.training.monitoring import run_log
from vae_gan_jax.training.monitoring.run_log import RunLog
from vae_gan_jax.training.monitoring.stops import Stop, Stops

GRID_HWC = np.zeros((4, 5, 3), np.uint8)


def steps_in(run_dir):
    return [
        json.loads(line)["step"] for line in (run_dir / "metrics.jsonl").read_text().splitlines()
    ]


@pytest.fixture
def full_disk(monkeypatch):
    """A function that fills the disk or makes room; lines and files are refused at first."""

    def refuse(*_):
        raise OSError(28, "No space left on device")

    def fill(full):
        monkeypatch.undo()
        if full:
            monkeypatch.setattr(run_log.atomic_io, "write", refuse)
            monkeypatch.setattr(run_log.os, "fsync", refuse)

    return fill


def test_resuming_drops_later_and_unreadable_lines(tmp_path):
    text = '{"step": 20, "x": null}\n{"step": 40}\n[7]\n{"step": "6"}\n{"step": 60}\n{"step": 8'
    text = f"{'[' * 50_000}\n{text}"
    (tmp_path / "metrics.jsonl").write_text(text)
    with RunLog(tmp_path) as log:
        assert log.begin(40) == [{"step": 20, "x": None}, {"step": 40}]
        log.line({"step": 60, "x": 0.5})
        assert steps_in(tmp_path) == [20, 40, 60]
        assert log.begin(20) == [{"step": 20, "x": None}]
        assert steps_in(tmp_path) == [20]


def test_what_a_full_disk_refuses_is_written_later(tmp_path, full_disk):
    with RunLog(tmp_path) as log:
        log.begin(0)
        full_disk(True)
        log.line({"step": 20})
        log.grid("a", 20, GRID_HWC)
        assert log.waiting
        assert steps_in(tmp_path) == []
        full_disk(False)
        log.grid("b", 40, GRID_HWC)
        assert not log.waiting
    assert steps_in(tmp_path) == [20]
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["a.png", "b.png"]


def test_a_strict_run_ends_on_a_full_disk(tmp_path, full_disk):
    with RunLog(tmp_path, strict=True) as log:
        log.begin(0)
        full_disk(True)
        with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
            log.line({"step": 20})


def test_a_moved_folder_ends_the_run(tmp_path):
    run_dir = tmp_path / "run"
    run_dir.mkdir()
    with RunLog(run_dir) as log:
        log.begin(0)
        run_dir.rename(tmp_path / "away")
        with pytest.raises(InputError, match="was moved or deleted"):
            log.grid("a", 20, GRID_HWC)
    assert not run_dir.exists()


def test_stops_are_read_back_and_dropped_where_training_resumes_before_them(tmp_path):
    step = {"step": 7, "skipped": 1.0, "objective/kl": float("inf")}
    with RunLog(tmp_path) as log:
        log.begin(0)
        stops = Stops(log)
        stops.add(6, Stop())
        stops.add(7, Stop(healthy=False, unfinished=[step]))
        again = Stops(log)
        assert again.unhealthy() == {7}
        assert again.begin(7) == Stop(healthy=False, unfinished=[step])
        assert again.begin(6) == Stop()
        assert Stops(log).unhealthy() == set()


@pytest.mark.parametrize("content", ["", "[", "[1, {}]", "[" * 50_000])
def test_damaged_stops_are_none(content, tmp_path, caplog):
    (tmp_path / "stops.json").write_text(content)
    assert Stops(RunLog(tmp_path)).begin(7) == Stop()
    assert "stops.json is damaged" in caplog.text
