"""Pictures side by side on one page, each with its caption: image, classes, synthesis, score.

What a method that resynthesises the image goes by: where synthesis and image differ, the classes
are wrong, and the score should be high.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.imaging.overlay import score_levels

MAX_WIDTH = 960  # pixels of one panel: two of them fill a common screen
GAP = 4  # pixels between pictures
NOT_LOOKED_GRAY = 128
_PAPER = (255, 255, 255)
_INK = (30, 30, 30)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_panels(
    image: np.ndarray,
    *,
    labels: np.ndarray,
    score: np.ndarray,
    synthesis: np.ndarray | None,
    palette: np.ndarray,
    display: tuple[float, float],
) -> np.ndarray:
    """Two rows of two panels, or one row of three where there is no synthesis: uint8 RGB.

    The synthesis stands under the image it was made for, the score under the classes. image,
    synthesis: uint8 [H, W, 3] RGB. labels: uint8 [H, W] class ids. score: float32 [H, W], drawn
    from black to yellow over the range `display`, gray where it is NaN. palette: uint8 [256, 3] RGB
    by class id. Panels wider than MAX_WIDTH are shrunk.
    Raises DetectorError when the sizes differ.
    """
    for name, array in (("labels", labels), ("score", score), ("synthesis", synthesis)):
        if array is not None and array.shape[:2] != image.shape[:2]:
            raise DetectorError(
                f"{name} of size {list(array.shape[:2])}; expected {list(image.shape[:2])} like "
                "the image"
            )
    low, high = display
    panels = [("camera image", image), ("classes", palette[labels])]
    if synthesis is not None:
        panels.append(("image resynthesised from the classes", synthesis))
    panels.append((f"anomaly score, {low:.3g} to {high:.3g}", heat_map(score, display)))
    cells = [captioned(_at_most(MAX_WIDTH, picture), caption) for caption, picture in panels]
    return tiled(cells, 3 if synthesis is None else 2)


def heat_map(score: np.ndarray, display: tuple[float, float]) -> np.ndarray:
    """The score float32 [H, W] alone, in colours that grow lighter: uint8 [H, W, 3] RGB."""
    heat = cv2.applyColorMap(score_levels(score, display), cv2.COLORMAP_INFERNO)
    heat = cv2.cvtColor(heat, cv2.COLOR_BGR2RGB)
    heat[np.isnan(score)] = NOT_LOOKED_GRAY
    return heat


def captioned(picture: np.ndarray, caption: str) -> np.ndarray:
    """The picture uint8 [H, W, 3] under a strip with the caption, which is made to fit."""
    width = picture.shape[1]
    height = max(20, width // 24)
    scale = cv2.getFontScaleFromHeight(_FONT, height // 2)
    (length, _), _ = cv2.getTextSize(caption, _FONT, scale, 1)
    scale *= min(1.0, (width - height) / length)
    strip = np.full((height, width, 3), _PAPER, np.uint8)
    origin = (height // 4, round(0.72 * height))
    cv2.putText(strip, caption, origin, _FONT, scale, _INK, max(1, height // 24), cv2.LINE_AA)
    return np.concatenate([strip, picture])


def tiled(pictures: Sequence[np.ndarray], columns: int) -> np.ndarray:
    """Pictures uint8 [h, w, 3] of one size in rows of `columns`, white lines between them."""
    height, width = pictures[0].shape[:2]
    rows = -(-len(pictures) // columns)
    page = np.full(
        (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, 3), _PAPER, np.uint8
    )
    for index, picture in enumerate(pictures):
        top, left = index // columns * (height + GAP), index % columns * (width + GAP)
        page[top : top + height, left : left + width] = picture
    return page


def _at_most(width: int, picture: np.ndarray) -> np.ndarray:
    height = round(picture.shape[0] * width / picture.shape[1])
    if picture.shape[1] <= width:
        return picture
    return cv2.resize(picture, (width, max(1, height)), interpolation=cv2.INTER_AREA)
