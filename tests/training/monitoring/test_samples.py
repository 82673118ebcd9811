"""Grids of samples: which frames, where they stand, under which words."""

import jax
import numpy as np
import pytest
from PIL import Image

from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import train_state
from vae_gan_jax.training.monitoring import samples


@pytest.fixture(scope="module")
def state(small):
    return train_state.create(small, jax.random.key(0))


@pytest.fixture
def grids(small, frames_THWC, tmp_path):
    film = TrainingFrames(frames_THWC, np.arange(2, 10))
    return samples.SampleGrids(small, film, tmp_path, jax.random.key(1))


def rows_of(sheet_HWC, small):
    """The rows of pictures of a grid, found by where its pictures are: below each label."""
    size = 13
    line, margin = size * 7 // 4, size
    tops = [
        margin + 3 * line + row * (line + small.height + samples.GAP)
        for row in range(len(samples.ROWS))
    ]
    lefts = [margin + column * (small.width + samples.GAP) for column in range(samples.COLUMNS)]
    return [
        np.stack([sheet_HWC[top : top + small.height, left : left + small.width] for left in lefts])
        for top in tops
    ]


def test_the_same_frames_and_latents_each_time_and_fresh_frames(
    grids, state, small, frames_THWC, tmp_path
):
    assert grids.write(state, "first", "First") is None
    assert grids.write(state.replace(step=state.step + 1), "second", "Second") is None
    first, second = (
        rows_of(np.asarray(Image.open(tmp_path / "samples" / f"{name}.png")), small)
        for name in ("first", "second")
    )
    fixed_BHWC, fixed_again_BHWC, fresh_BHWC, fresh_again_BHWC, sampled_BHWC = first
    np.testing.assert_array_equal(fixed_BHWC[[0, -1]], frames_THWC[[2, 9]])
    known = {frame_HWC.tobytes() for frame_HWC in frames_THWC[2:]}
    assert {frame_HWC.tobytes() for frame_HWC in fresh_BHWC} <= known
    for again_BHWC in (fixed_again_BHWC, fresh_again_BHWC, sampled_BHWC):
        assert len({frame_HWC.tobytes() for frame_HWC in again_BHWC}) > 1
    for row in (0, 1, 4):
        np.testing.assert_array_equal(first[row], second[row])
    for row in (2, 3):
        assert (first[row] != second[row]).any()


def test_a_grid_is_the_same_when_made_again(grids, state, tmp_path):
    assert grids.write(state, "a", "Title") is None
    assert grids.write(state, "b", "Title") is None
    folder = tmp_path / "samples"
    assert (folder / "a.png").read_bytes() == (folder / "b.png").read_bytes()


def test_what_a_full_disk_does_not_take_waits(grids, state, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(samples.whole_file, "write", full)
        assert grids.write(state, "a", "Title") == "No space left on device"
    assert grids.waiting
    assert not (tmp_path / "samples").exists()
    assert grids.write(state, "b", "Title") is None
    assert not grids.waiting
    assert sorted(path.name for path in (tmp_path / "samples").iterdir()) == ["a.png", "b.png"]


def test_a_title_longer_than_the_pictures_is_not_cut():
    rows = [np.zeros((2, 8, 8, 3), np.uint8)]
    narrow = samples.labelled_grid(rows, ("a",), "b")
    wide = samples.labelled_grid(rows, ("a",), "a long title of many words")
    assert wide.shape[1] > narrow.shape[1]
    edge_HW3 = wide[:, -samples.GAP :]
    assert (edge_HW3 == np.array(samples.PAPER)).all()
