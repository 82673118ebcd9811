"""A look through a film: shots, what is held, what is black."""

import numpy as np
import pytest

from vae_gan_jax.film import film_scan


def film(*shots) -> np.ndarray:
    """Shots one after another, uint8 ``[T, 36, 64, 3]``: (frames, brightness, moving rows)."""
    frames = []
    for count, brightness, moving_rows in shots:
        for number in range(count):
            frame_HWC = np.full((36, 64, 3), brightness, np.uint8)
            frame_HWC[:18, ::2] = 255 - brightness  # tells shots apart by their colours too
            column = 60 * number // count
            frame_HWC[36 - moving_rows :, column : column + 4] = 255
            frames.append(frame_HWC)
    return np.stack(frames)


def looked(frames_THWC) -> film_scan.FilmScan:
    made = film_scan.FilmScan()
    passed = np.stack(list(made.watch(frames_THWC)))
    np.testing.assert_array_equal(passed, frames_THWC)
    return made


def test_the_longest_shot_in_which_something_moves_is_held():
    """A still one is longer, and so is one in which everything moves."""
    made = looked(film((70, 40, 0), (30, 120, 8), (20, 200, 8), (45, 20, 36)))
    assert made.shots == [(0, 70), (70, 100), (100, 120), (120, 165)]
    assert made.static_shot() == (70, 100)
    assert made.shot_at(99) == (70, 100)
    assert made.shot_at(100) == (100, 120)


def test_where_the_camera_never_stands_the_longest_shot_with_movement_is_taken():
    made = looked(film((30, 40, 0), (20, 200, 36)))
    assert made.static_shot() == (30, 50)


def test_a_shot_through_which_the_film_goes_black_is_taken_last():
    frames_THWC = film((40, 120, 8), (20, 200, 8))
    assert looked(frames_THWC).static_shot() == (0, 40)
    frames_THWC[20:22] = 0
    assert looked(frames_THWC).static_shot() == (40, 60)
    assert looked(frames_THWC[:40]).static_shot() == (0, 40)


def test_where_nothing_moves_no_shot_is_held():
    assert looked(film((30, 40, 0))).static_shot() is None
    assert looked(film((1, 40, 0))).static_shot() is None


def test_the_darkest_frame_is_found_if_it_is_black():
    frames_THWC = film((10, 40, 8))
    assert looked(frames_THWC).black_frame() is None
    frames_THWC[4] = 7
    frames_THWC[7] = 2
    assert looked(frames_THWC).black_frame() == 7
    frames_THWC[4:, :4, :4] = 200  # dark but for a light in a corner
    assert looked(frames_THWC).black_frame() is None


@pytest.mark.parametrize(("height", "width"), [(36, 64), (18, 20), (45, 79)])
def test_cells_share_a_picture_of_any_size(height, width):
    random = np.random.default_rng(0)
    frames_BHWC = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    cells_BYX = film_scan.brightness_grid(frames_BHWC)
    assert cells_BYX.shape == (2, 9, 16)
    top = height // 9 if height % 9 == 0 else int(height / 9)
    first_BHWC = frames_BHWC[:, :top, : int(width / 16)]
    np.testing.assert_allclose(cells_BYX[:, 0, 0], first_BHWC.mean(axis=(1, 2, 3)), atol=0.51)
