"""Image, classes, synthesis and score on one page."""

from __future__ import annotations

import numpy as np
import pytest

from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.imaging.panels import (
    GAP,
    MAX_WIDTH,
    NOT_LOOKED_GRAY,
    captioned,
    draw_panels,
    heat_map,
    tiled,
)

SIZE = (60, 120)
PALETTE = np.zeros((256, 3), np.uint8)
PALETTE[1] = (10, 200, 30)


def page(size: tuple[int, int] = SIZE, *, synthesis: bool = True) -> np.ndarray:
    """Image 50, class 1, synthesis 90, full score."""
    return draw_panels(
        np.full((*size, 3), 50, np.uint8),
        labels=np.ones(size, np.uint8),
        score=np.full(size, 2.0, np.float32),
        synthesis=np.full((*size, 3), 90, np.uint8) if synthesis else None,
        palette=PALETTE,
        display=(-2.0, 2.0),
    )


def test_the_synthesis_stands_under_the_image_and_the_score_under_the_classes() -> None:
    drawn = page()
    height, width = drawn.shape[:2]
    assert width == 2 * SIZE[1] + GAP
    top, bottom = drawn[height // 2 - 20], drawn[-20]
    left, right = SIZE[1] // 2, width - SIZE[1] // 2
    assert top[left].tolist() == [50, 50, 50] and top[right].tolist() == [10, 200, 30]
    assert bottom[left].tolist() == [90, 90, 90]
    assert bottom[right][0] > 240 and bottom[right][1] > 240  # the bright yellow end


def test_without_a_synthesis_three_panels_stand_in_a_row() -> None:
    drawn = page(synthesis=False)
    assert drawn.shape[1] == 3 * SIZE[1] + 2 * GAP
    assert drawn.shape[0] < 2 * SIZE[0]


def test_every_panel_has_a_caption_above_it_that_hides_nothing() -> None:
    picture = np.full((40, 200, 3), 77, np.uint8)
    drawn = captioned(picture, "anomaly score, 0 to 1")
    strip = drawn[:-40]
    np.testing.assert_array_equal(drawn[-40:], picture)
    assert strip.min() < 90 and strip.max() == 255


def test_a_long_caption_is_made_to_fit() -> None:
    strip = captioned(np.zeros((40, 60, 3), np.uint8), "a caption that is long " * 3)[:-40]
    assert (strip[:, -3:] == 255).all() and strip.min() < 255


def test_wide_pictures_are_shrunk_and_keep_their_proportions() -> None:
    drawn = page((600, 2 * MAX_WIDTH))
    assert drawn.shape[1] == 2 * MAX_WIDTH + GAP
    assert 2 * 300 < drawn.shape[0] < 2 * 300 + 100


def test_heat_grows_lighter_with_the_score_and_is_gray_where_nobody_looked() -> None:
    score = np.array([[np.nan, -5, 0, 0.5, 1, 7]], np.float32)
    heat = heat_map(score, (0.0, 1.0))[0].astype(int)
    assert heat[0].tolist() == [NOT_LOOKED_GRAY] * 3
    light = heat.sum(axis=1)[1:]
    assert light[0] == light[1] < light[2] < light[3] == light[4]


def test_pictures_fill_rows_and_the_rest_stays_white() -> None:
    sheet = tiled([np.full((5, 7, 3), 10 * n, np.uint8) for n in range(1, 4)], 2)
    assert sheet.shape == (2 * 5 + GAP, 2 * 7 + GAP, 3)
    assert sheet[0, 0, 0] == 10 and sheet[0, -1, 0] == 20 and sheet[-1, 0, 0] == 30
    assert (sheet[-5:, -7:] == 255).all() and (sheet[5 : 5 + GAP] == 255).all()


def test_maps_of_another_size_are_an_error() -> None:
    with pytest.raises(DetectorError, match=r"score of size \[3, 4\]; expected \[2, 4\]"):
        draw_panels(
            np.zeros((2, 4, 3), np.uint8),
            labels=np.zeros((2, 4), np.uint8),
            score=np.zeros((3, 4), np.float32),
            synthesis=None,
            palette=PALETTE,
            display=(0.0, 1.0),
        )
