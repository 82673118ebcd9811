"""A scan of a film finds its shots, the static camera and black frames."""

import numpy as np
import pytest

from vae_gan_jax.film import film_scan


def film(*shots) -> np.ndarray:
    """Shots one after another, uint8 ``[T, 36, 64, 3]``: (frames, brightness, moving rows)."""
    frames = []
    for count, brightness, moving_rows in shots:
        for number in range(count):
            frame_HWC = np.full((36, 64, 3), brightness, np.uint8)
            frame_HWC[:18, ::2] = 255 - brightness  # shots differ by their colours too
            column = 60 * number // count
            frame_HWC[36 - moving_rows :, column : column + 4] = 255
            frames.append(frame_HWC)
    return np.stack(frames)


def scanned(frames_THWC) -> film_scan.FilmScan:
    scan = film_scan.FilmScan()
    passed = np.stack(list(scan.watch(frames_THWC)))
    np.testing.assert_array_equal(passed, frames_THWC)
    return scan


def test_the_longest_shot_with_movement_and_a_static_camera_is_chosen():
    """A still shot is longer, and so is one in which everything moves."""
    scan = scanned(film((70, 40, 0), (30, 120, 8), (20, 200, 8), (45, 20, 36)))
    assert scan.shots == [(0, 70), (70, 100), (100, 120), (120, 165)]
    assert scan.static_shot() == (70, 100)
    assert scan.shot_at(99) == (70, 100)
    assert scan.shot_at(100) == (100, 120)


def test_without_a_static_camera_the_longest_shot_with_movement_is_chosen():
    scan = scanned(film((30, 40, 0), (20, 200, 36)))
    assert scan.static_shot() == (30, 50)


def test_a_shot_that_goes_black_is_chosen_last():
    frames_THWC = film((40, 120, 8), (20, 200, 8))
    assert scanned(frames_THWC).static_shot() == (0, 40)
    frames_THWC[20:22] = 0
    assert scanned(frames_THWC).static_shot() == (40, 60)
    assert scanned(frames_THWC[:40]).static_shot() == (0, 40)


def test_without_movement_no_shot_is_chosen():
    assert scanned(film((30, 40, 0))).static_shot() is None
    assert scanned(film((1, 40, 0))).static_shot() is None


def test_the_darkest_frame_is_found_if_it_is_black():
    frames_THWC = film((10, 40, 8))
    assert scanned(frames_THWC).black_frame() is None
    frames_THWC[4] = 7
    frames_THWC[7] = 2
    assert scanned(frames_THWC).black_frame() == 7
    frames_THWC[4:, :4, :4] = 200  # dark except for a light in a corner
    assert scanned(frames_THWC).black_frame() is None


@pytest.mark.parametrize(("height", "width"), [(36, 64), (18, 20), (45, 79)])
def test_cells_divide_a_picture_of_any_size(height, width):
    random = np.random.default_rng(0)
    frames_BHWC = random.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    cells_BYX = film_scan.brightness_grid(frames_BHWC)
    assert cells_BYX.shape == (2, 9, 16)
    top = height // 9 if height % 9 == 0 else int(height / 9)
    first_BHWC = frames_BHWC[:, :top, : int(width / 16)]
    np.testing.assert_allclose(cells_BYX[:, 0, 0], first_BHWC.mean(axis=(1, 2, 3)), atol=0.51)
