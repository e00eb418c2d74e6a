"""Road scenes with class labels, as training sees them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from anomaly_seg_ros.errors import AnomalySegError
from training.data.label_spaces import LabelSpace


class DatasetError(AnomalySegError):
    """A dataset folder that misses files or holds labels of another kind."""


@dataclass(frozen=True)
class LabelledFrames:
    """Frames of one dataset and split.

    `read(i)` gives image uint8 [H, W, 3] RGB and label uint8 [H, W] in `space` ids, VOID ignored.
    `stretch` is true width over stored width (2 where a 2:1 frame is stored as a square).
    Where the dataset has them, `instances(i)` gives ids of single objects, integers [H, W] with 0
    for none, and `region(i)` bool [H, W], false on what the camera mount or the lens hides.
    """

    name: str
    space: LabelSpace
    count: int
    read: Callable[[int], tuple[np.ndarray, np.ndarray]]
    stretch: float = 1.0
    names: tuple[str, ...] = field(default=(), repr=False)
    instances: Callable[[int], np.ndarray] | None = None
    region: Callable[[int], np.ndarray] | None = None
