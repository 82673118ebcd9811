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
