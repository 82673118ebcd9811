"""Grids of samples: which frames they show, and the layout."""

import jax
import numpy as np
import pytest

from vae_gan_jax.film.store.training_frames import TrainingFrames
from vae_gan_jax.training import train_state
from vae_gan_jax.training.monitoring import samples


@pytest.fixture(scope="module")
def state(small):
    return train_state.create(small, jax.random.key(0))


@pytest.fixture
def grids(small, frames_THWC):
    film = TrainingFrames(frames_THWC, np.arange(2, 10))
    return samples.SampleGrids(small, film, jax.random.key(1))


def rows_of(sheet_HWC, small):
    """The rows of pictures of a grid, cut out below their labels."""
    margin = samples.MIN_FONT_PIXELS
    line_height = margin * 7 // 4
    tops = [
        margin + 3 * line_height + row * (line_height + small.height + samples.GAP_PIXELS)
        for row in range(len(samples.ROW_LABELS))
    ]
    lefts = [
        margin + column * (small.width + samples.GAP_PIXELS) for column in range(samples.COLUMNS)
    ]
    return [
        np.stack([sheet_HWC[top : top + small.height, left : left + small.width] for left in lefts])
        for top in tops
    ]


def test_fixed_frames_and_codes_stay_and_drawn_frames_change(grids, state, small, frames_THWC):
    first = rows_of(grids.draw(state, "First"), small)
    second = rows_of(grids.draw(state.replace(step=state.step + 1), "Second"), small)
    fixed_BHWC, fixed_again_BHWC, drawn_BHWC, drawn_again_BHWC, samples_BHWC = first
    np.testing.assert_array_equal(fixed_BHWC[[0, -1]], frames_THWC[[2, 9]])
    film = {frame_HWC.tobytes() for frame_HWC in frames_THWC[2:]}
    assert {frame_HWC.tobytes() for frame_HWC in drawn_BHWC} <= film
    for pictures_BHWC in (fixed_again_BHWC, drawn_again_BHWC, samples_BHWC):
        assert len({picture_HWC.tobytes() for picture_HWC in pictures_BHWC}) > 1
    for row in (0, 1, 4):
        np.testing.assert_array_equal(first[row], second[row])
    for row in (2, 3):
        assert (first[row] != second[row]).any()


def test_the_same_state_gives_the_same_grid(grids, state):
    np.testing.assert_array_equal(grids.draw(state, "Title"), grids.draw(state, "Title"))


def test_a_title_wider_than_the_pictures_is_not_cut():
    rows = [np.zeros((2, 8, 8, 3), np.uint8)]
    narrow = samples.labelled_grid(rows, ("a",), "b")
    wide = samples.labelled_grid(rows, ("a",), "a long title of many words")
    assert wide.shape[1] > narrow.shape[1]
    edge_HWC = wide[:, -samples.GAP_PIXELS :]
    assert (edge_HWC == np.array(samples.BACKGROUND)).all()
