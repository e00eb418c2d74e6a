"""What a person can see in an overlay, measured."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest

from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.imaging.overlay import OverlayStyle, draw_overlay

PALETTE = np.random.default_rng(7).integers(0, 256, (256, 3), np.uint8)
NAMES = {0: "road", 1: "car", 2: "sky"}

# Linear RGB as seen with one kind of cone missing (Vienot, Brettel, Mollon 1999).
COLOR_VISIONS = {
    "normal": np.eye(3),
    "protanopia": np.array([[0.112, 0.888, 0], [0.112, 0.888, 0], [0.004, -0.004, 1]]),
    "deuteranopia": np.array([[0.293, 0.707, 0], [0.293, 0.707, 0], [-0.022, 0.022, 1]]),
}


def picture(height: int = 480, width: int = 640) -> np.ndarray:
    image = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    image.flags.writeable = False  # as from a bag
    return image


def draw(image: np.ndarray, **layers: Any) -> np.ndarray:
    layers = {"palette": PALETTE, "display": (0.0, 1.0), "legend": False, **layers}
    return draw_overlay(image, **layers)


def lightness(rgb: np.ndarray, vision: str = "normal") -> np.ndarray:
    """CIE L* of uint8 [..., 3] under a kind of colour vision: 0 black, 100 white."""
    linear = np.clip((rgb / 255.0) ** 2.2 @ COLOR_VISIONS[vision].T, 0, 1)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    return np.where(luminance > 0.008856, 116 * np.cbrt(luminance) - 16, 903.3 * luminance)


def test_the_camera_image_itself_is_never_touched() -> None:
    image = picture()
    before = image.copy()
    for layers in (
        {},
        {"labels": np.ones(image.shape[:2], np.uint8)},
        {"score": np.ones(image.shape[:2], np.float32)},
        {"mask": np.full(image.shape[:2], 255, np.uint8)},
    ):
        drawn = draw(image, **layers, legend=True)
        assert drawn.shape == image.shape
        assert drawn.dtype == np.uint8
        assert not np.shares_memory(drawn, image)
    np.testing.assert_array_equal(image, before)


def test_nothing_detected_draws_nothing() -> None:
    image = picture()
    size = image.shape[:2]
    drawn = draw(
        image,
        labels=np.full(size, 255, np.uint8),
        score=np.full(size, np.nan, np.float32),
        mask=np.zeros(size, np.uint8),
    )
    np.testing.assert_array_equal(drawn, image)


def test_each_pixel_is_tinted_with_the_colour_of_its_class() -> None:
    image = picture(50, 60)
    labels = np.random.default_rng(2).integers(0, 255, (50, 60), np.uint8)
    drawn = draw(image, labels=labels, style=OverlayStyle(class_opacity=0.25))
    expected = 0.75 * image + 0.25 * PALETTE[labels]
    np.testing.assert_allclose(drawn, expected, atol=1.6)


def test_scores_beyond_the_display_range_look_like_its_ends() -> None:
    image = np.full((1, 6, 3), 90, np.uint8)
    score = np.array([[-np.inf, -3e38, 2.0, 5.0, 3e38, np.inf]], np.float32)
    drawn = draw(image, score=score, display=(2.0, 5.0))
    assert (drawn[0, :3] == 90).all()
    assert (drawn[0, 3:] == drawn[0, 3]).all()
    assert np.abs(drawn[0, 3].astype(int) - 90).max() > 60


@pytest.mark.parametrize("vision", COLOR_VISIONS)
def test_heat_grows_lighter_evenly_on_a_road_for_every_colour_vision(vision: str) -> None:
    road = np.full((1, 101, 3), 60, np.uint8)
    score = np.linspace(0, 1, 101, dtype=np.float32)[None]
    seen = lightness(draw(road, score=score)[0], vision)
    steps = seen[5::5] - seen[:-5:5]
    assert steps.min() > -0.8
    assert steps.max() < 7
    assert seen[-1] - seen[0] > 35


@pytest.mark.parametrize("gray", [0, 40, 90, 128, 170, 220, 255])
def test_a_contour_stands_out_on_every_background(gray: int) -> None:
    image = np.full((480, 640, 3), gray, np.uint8)
    mask = np.zeros((480, 640), np.uint8)
    cv2.circle(mask, (320, 240), 60, 1, cv2.FILLED)  # any non-zero value counts
    score = np.zeros((480, 640), np.float32)
    drawn = draw(image, score=score, mask=mask)
    contrast = np.abs(lightness(drawn) - lightness(image))
    for angle in np.linspace(0, 6.2, 60):
        radii = np.linspace(50, 70, 80)
        ys = np.rint(240 + radii * np.sin(angle)).astype(int)
        xs = np.rint(320 + radii * np.cos(angle)).astype(int)
        assert contrast[ys, xs].max() > 35  # of 100
    far = cv2.dilate(mask, np.ones((21, 21))) == 0
    np.testing.assert_array_equal(drawn[far], image[far])


def test_a_single_pixel_and_one_at_the_border_are_seen() -> None:
    for row, column in ((200, 300), (0, 0), (479, 639)):
        mask = np.zeros((480, 640), np.uint8)
        mask[row, column] = 255
        image = np.full((480, 640, 3), 128, np.uint8)
        changed = np.abs(lightness(draw(image, mask=mask)) - lightness(image)) > 25
        ys, xs = np.nonzero(changed)
        assert len(ys) >= 4
        assert np.hypot(ys - row, xs - column).max() < 10


def test_lines_grow_with_the_image() -> None:
    widths = []
    for scale in (1, 2, 4):
        image = np.zeros((240 * scale, 320 * scale, 3), np.uint8)
        mask = np.zeros(image.shape[:2], np.uint8)
        mask[:, : image.shape[1] // 2] = 255
        row = draw(image, mask=mask, score=np.zeros(mask.shape, np.float32))[120]
        widths.append(np.count_nonzero(lightness(row) > 50))
    assert widths[0] <= widths[1] < widths[2]


def test_a_mask_without_a_score_is_filled() -> None:
    image = np.full((480, 640, 3), 60, np.uint8)
    mask = np.zeros((480, 640), np.uint8)
    mask[100:300, 100:300] = 255
    style = OverlayStyle()
    drawn = draw(image, mask=mask, style=style)
    expected = 60 * (1 - style.mask_opacity) + np.array(style.fill) * style.mask_opacity
    np.testing.assert_allclose(drawn[200, 200], expected, atol=1.6)
    with_score = draw(image, mask=mask, score=np.zeros(mask.shape, np.float32))
    np.testing.assert_array_equal(with_score[200, 200], image[200, 200])


# --- legend ----------------------------------------------------------------------------------


def legend_height(with_legend: np.ndarray, without: np.ndarray) -> int:
    rows = np.flatnonzero((with_legend != without).any(axis=(1, 2)))
    return 0 if rows.size == 0 else int(rows[-1]) + 1


def with_and_without(image: np.ndarray, **layers: Any) -> tuple[np.ndarray, np.ndarray]:
    return draw(image, **layers, legend=True), draw(image, **layers)


def test_the_legend_shows_the_colours_of_the_classes_that_are_there() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    labels = np.zeros((480, 640), np.uint8)
    labels[300:] = 1
    labels[0, :10] = 2  # 10 of 307200 pixels: not worth a place
    drawn, _ = with_and_without(image, labels=labels, class_names=NAMES)
    strip = drawn[:30].reshape(-1, 3).tolist()
    assert PALETTE[0].tolist() in strip
    assert PALETTE[1].tolist() in strip
    assert PALETTE[2].tolist() not in strip
    assert PALETTE[255].tolist() not in strip


def test_names_and_numbers_change_the_legend() -> None:
    image = np.zeros((480, 640, 3), np.uint8)
    labels = np.zeros((480, 640), np.uint8)
    score = np.zeros((480, 640), np.float32)
    named = draw(image, labels=labels, class_names={0: "road"}, legend=True)
    other = draw(image, labels=labels, class_names={0: "lawn"}, legend=True)
    unnamed = draw(image, labels=labels, legend=True)
    assert (named != other).any()
    assert (named != unnamed).any()
    low = draw(image, score=score, display=(0, 1), legend=True)
    assert (low != draw(image, score=score, display=(0, 7), legend=True)).any()


def test_the_legend_leaves_the_scene_below_alone() -> None:
    image = picture()
    size = image.shape[:2]
    layers = {
        "labels": np.zeros(size, np.uint8),
        "score": np.zeros(size, np.float32),
        "mask": np.zeros(size, np.uint8),
    }
    assert 15 < legend_height(*with_and_without(image, **layers, class_names=NAMES)) < 40
    assert legend_height(*with_and_without(image)) == 0


def test_the_legend_wraps_and_grows_with_the_image() -> None:
    heights = []
    for height, width in ((480, 640), (1080, 1440)):
        labels = np.tile(np.arange(width, dtype=np.uint16) * 19 // width, (height, 1))
        image = np.zeros((height, width, 3), np.uint8)
        names = {c: f"a long class name {c}" for c in range(19)}
        layers = {"labels": labels.astype(np.uint8), "class_names": names}
        heights.append(legend_height(*with_and_without(image, **layers)))
    assert heights[0] > 60  # several lines
    assert 1.8 < heights[1] / heights[0] < 2.7


def test_a_small_image_is_not_covered_by_a_legend() -> None:
    image = picture(60, 80)
    labels = np.random.default_rng(3).integers(0, 12, (60, 80), np.uint8)
    assert legend_height(*with_and_without(image, labels=labels)) == 0


@pytest.mark.parametrize("size", [(1, 1), (1, 640), (480, 1), (7, 5), (481, 641)])
def test_every_image_size_can_be_drawn(size: tuple[int, int]) -> None:
    random = np.random.default_rng(4)
    layers = {
        "labels": random.integers(0, 256, size, np.uint8),
        "score": random.random(size, np.float32),
        "mask": random.integers(0, 2, size, np.uint8) * np.uint8(255),
    }
    assert draw(picture(*size), **layers, legend=True).shape == (*size, 3)


# --- wrong calls -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "match"),
    [
        ({"labels": np.zeros((4, 5), np.int64)}, "labels are int64"),
        ({"score": np.zeros((4, 6), np.float32)}, r"score are float32 \[4, 6\]; .* \[4, 5\]"),
        ({"score": np.zeros((4, 5))}, "score are float64"),
        ({"mask": np.zeros((4, 5), bool)}, "mask are bool"),
        ({"palette": np.zeros((19, 3), np.uint8)}, r"palette is uint8 \[19, 3\]"),
        ({"score": np.zeros((4, 5), np.float32), "display": (1, 1)}, "two rising finite numbers"),
        ({"score": np.zeros((4, 5), np.float32), "display": (0, np.nan)}, "two rising finite"),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: dict[str, Any], match: str) -> None:
    with pytest.raises(DetectorError, match=match):
        draw(np.zeros((4, 5, 3), np.uint8), **layers)


def test_an_image_that_is_not_rgb_is_refused() -> None:
    with pytest.raises(DetectorError, match=r"float32 \[4, 5, 3\]; expected uint8"):
        draw(np.zeros((4, 5, 3), np.float32))
