"""A page of pictures: it shows every pixel, and nothing overlaps or is cut off."""

import numpy as np
import pytest
from PIL import Image

from vae_gan_jax.figures import picture_page, style
from vae_gan_jax.figures.picture_page import Labels

RANDOM = np.random.default_rng(0)


def page(rows, labels):
    with style.figure() as figure:
        picture_page.draw(figure, rows, "Title", "A caption. " * 20, labels)
        figure.canvas.draw()
        pixels_HWC = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
        texts = [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts]
        return pixels_HWC, texts, figure


@pytest.mark.parametrize(("columns", "group"), [(1, 0), (3, 0), (4, 2)])
def test_pictures_are_enlarged_pixel_by_pixel(columns, group, tmp_path):
    """One PNG pixel out of each enlarged pixel gives the picture again."""
    rows = RANDOM.integers(0, 255, (2, columns, 18, 20, 3), dtype=np.uint8)
    with style.figure() as figure:
        picture_page.draw(figure, rows, "Title", "Caption.", Labels(group=group))
        (png,) = style.save(figure, tmp_path / "page", ["png"])
        images = figure.axes[0].images
        extents = [image.get_extent() for image in images]
    with Image.open(png) as picture:
        pixels_HWC = np.asarray(picture.convert("RGB"))
    assert len(extents) == 2 * columns
    for (left, right, bottom, top), frame_HWC in zip(
        extents, rows.reshape(-1, 18, 20, 3), strict=True
    ):
        scale = (right - left) // 20
        assert scale >= 1
        assert bottom - top == 18 * scale
        found_HWC = pixels_HWC[top + scale // 2 : bottom : scale, left + scale // 2 : right : scale]
        np.testing.assert_array_equal(found_HWC, frame_HWC)


def test_labels_are_on_the_page_and_overlap_nothing():
    rows = np.zeros((3, 4, 18, 32, 3), np.uint8)
    labels = [[f"0:00:0{column}.00" for column in range(4)], [], ["x"] * 4]
    pixels_HWC, texts, figure = page(
        rows, Labels(labels, ["film", "a reconstruction", "two\nlines"], list("abcd"), group=2)
    )
    height, width, _ = pixels_HWC.shape
    boxes = [box for _, box in texts]
    boxes += [image.get_window_extent() for image in figure.axes[0].images]
    assert len(texts) == 4 + 4 + 3 + 4 + 2
    for number, box in enumerate(boxes):
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
        for other in boxes[:number]:
            assert not (
                min(box.x1, other.x1) - max(box.x0, other.x0) > 1
                and min(box.y1, other.y1) - max(box.y0, other.y0) > 1
            )


def test_a_full_page_is_no_higher_than_a_page():
    for height, width in ((18, 32), (18, 20), (20, 48)):
        rows = picture_page.rows_that_fit(4, height, width)
        pictures = np.zeros((rows, 4, height, width, 3), np.uint8)
        *_, figure = page(pictures, Labels([["x"] * 4] * rows, columns=["x"] * 4, group=2))
        assert figure.get_size_inches()[1] < picture_page.PAGE_HEIGHT + 0.6


def test_any_film_name_fits(tmp_path):
    with style.figure() as figure:
        name = "映画$x$ " + 20 * "a long name "
        picture_page.draw(figure, np.zeros((1, 1, 9, 16, 3), np.uint8), name, name)
        style.save(figure, tmp_path / "page")
    assert len(figure.axes[0].texts[0].get_text()) < 80
