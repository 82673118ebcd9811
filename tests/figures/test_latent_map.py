"""The map of a film's codes."""

import numpy as np
import pytest

from vae_gan_jax.figures import latent_map, style


def test_thumbnails_of_equal_codes_do_not_cover_each_other(shown):
    """Five red thumbnails at one code show five times the area of one."""
    point_T2 = np.zeros((5, 2), np.float32)
    red_HWC = np.full((18, 20, 3), (255, 0, 0), np.uint8)
    with style.figure(8, 8) as figure:
        axes = figure.add_axes((0, 0, 1, 1))
        axes.axis("off")
        thumbnails = {number: red_HWC for number in range(5)}
        the_map = latent_map.LatentMap(point_T2, (1.0, 0.0), thumbnails, shown, "a model")
        the_map._draw_thumbnails(figure, axes, np.arange(5.0))
        figure.canvas.draw()
        page_HWC = np.asarray(figure.canvas.buffer_rgba())[..., :3]
        one = (latent_map.THUMBNAIL_WIDTH * axes.get_window_extent().width) ** 2 * 18 / 20
    red_HW = (page_HWC[..., 0] > 200) & (page_HWC[..., 1] < 60)
    assert red_HW.sum() == pytest.approx(5 * one, rel=0.1)


@pytest.mark.parametrize("size", [(18, 20), (128, 72), (300, 16), (16, 500)])
def test_the_current_frame_and_its_time_fit_beside_the_map(size, shown):
    red_HWC = np.full((*size, 3), (255, 0, 0), np.uint8)
    point_T2 = np.array([[0, 0], [1, 1]], np.float32)
    the_map = latent_map.LatentMap(point_T2, (1.0, 0.0), {}, shown, "a model")
    (frame_BHWC,) = the_map.frames([1], [red_HWC[None]])
    beside_HWC = frame_BHWC[0, :, latent_map.MAP_WIDTH :].astype(int)
    red_HW = (beside_HWC[..., 0] > 200) & (beside_HWC[..., 1] < 60)
    rows, columns = np.flatnonzero(red_HW.any(1)), np.flatnonzero(red_HW.any(0))
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert height / width == pytest.approx(size[0] / size[1], rel=0.1)
    dark = np.flatnonzero((beside_HWC.max(2) < 120).any(1))  # the time
    assert rows[0] > 10
    assert rows[-1] < dark[0] <= dark[-1] < len(beside_HWC) - 5
