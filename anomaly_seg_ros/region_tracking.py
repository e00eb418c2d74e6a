"""Which region of a frame is which of the frames before: ids, and persistence against flicker."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.errors import DetectorError
from anomaly_seg_ros.regions import Region

MIN_OVERLAP = 0.1  # intersection over union from which two boxes are the same region
REACH = 0.75  # without overlap: distance of the centres, in mean diagonals of the two boxes
MAX_GROWTH = 4.0  # ratio of the boxes' areas, for centres within reach


@dataclass(frozen=True)
class Persistence:
    """A region is reported once it was seen in `confirm` of the last `window` frames, and
    forgotten after `forget` frames in a row without it. Raises DetectorError where that cannot be.
    """

    confirm: int = 3
    window: int = 5
    forget: int = 5

    def __post_init__(self) -> None:
        if not 1 <= self.confirm <= self.window:
            raise DetectorError(
                f"regions are confirmed in {self.confirm} of {self.window} frames; expected at "
                "least 1 and at most as many as the window has"
            )
        if self.forget < 1:
            raise DetectorError(f"regions are forgotten after {self.forget} frames; expected >= 1")


@dataclass(frozen=True)
class TrackedRegion:
    """A region of the current frame that has proved to last."""

    id: int  # from 1, never used again
    region: Region
    frames: int  # in which it was seen, this one included


@dataclass
class _Track:
    id: int
    region: Region
    frames: int = 1
    history: int = 1  # one bit per frame, the newest lowest
    missed: int = 0  # frames in a row
    confirmed: bool = False


class RegionTracker:
    """Follows regions from frame to frame; the same frames give the same ids.

    Pairs are made greedily, the best overlap first; where boxes do not overlap, the nearest
    centres within reach. Starts anew when stamps go back or the picture's size changes. Holds as
    many tracks as the frames of `forget` have regions.
    """

    def __init__(self, persistence: Persistence | None = None) -> None:
        self.persistence = persistence or Persistence()
        self._tracks: list[_Track] = []
        self._last_id = 0
        self._seconds: float | None = None
        self._shape: tuple[int, int] | None = None

    def reset(self) -> None:
        """Forget all regions; ids go on counting."""
        self._tracks.clear()
        self._seconds = self._shape = None

    def update(
        self, regions: Sequence[Region], seconds: float, shape: tuple[int, int]
    ) -> tuple[TrackedRegion, ...]:
        """Take the regions of the next frame, stamped `seconds`, of a picture [H, W] `shape`.

        Returns those of them that are confirmed, in their order.
        """
        if self._seconds is not None and (seconds < self._seconds or shape != self._shape):
            self.reset()
        self._seconds, self._shape = seconds, shape
        rules = self.persistence
        pairs = _pairs([track.region for track in self._tracks], regions)
        for index, track in enumerate(self._tracks):
            track.history = track.history << 1 & (1 << rules.window) - 1
            if index in pairs:
                track.region = regions[pairs[index]]
                track.frames += 1
                track.history |= 1
                track.missed = 0
            else:
                track.missed += 1
        of_region = {chosen: self._tracks[index] for index, chosen in pairs.items()}
        for number, region in enumerate(regions):
            if number not in of_region:
                self._last_id += 1
                of_region[number] = _Track(self._last_id, region)
                self._tracks.append(of_region[number])
        self._tracks = [track for track in self._tracks if track.missed < rules.forget]
        for track in self._tracks:
            track.confirmed |= bin(track.history).count("1") >= rules.confirm
        return tuple(
            TrackedRegion(of_region[number].id, region, of_region[number].frames)
            for number, region in enumerate(regions)
            if of_region[number].confirmed
        )


def _pairs(before: Sequence[Region], now: Sequence[Region]) -> dict[int, int]:
    """Index of a region before -> index of the same region now."""
    if not before or not now:
        return {}
    likeness = _likeness(_boxes(before)[:, None], _boxes(now)[None])
    pairs: dict[int, int] = {}
    taken: set[int] = set()
    for flat in np.argsort(-likeness, axis=None, kind="stable"):
        old, new = divmod(int(flat), len(now))
        if likeness[old, new] == -np.inf:
            break
        if old not in pairs and new not in taken:
            pairs[old] = new
            taken.add(new)
    return pairs


def _likeness(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Boxes [..., 4] (left, top, right, bottom) -> overlap in 0..1 where they overlap enough,
    in -1..0 where only their centres are near, -inf where they are different regions."""
    common = np.minimum(one[..., 2:], other[..., 2:]) - np.maximum(one[..., :2], other[..., :2])
    shared = np.clip(common, 0, None).prod(axis=-1)
    sides, other_sides = one[..., 2:] - one[..., :2], other[..., 2:] - other[..., :2]
    area, other_area = sides.prod(axis=-1), other_sides.prod(axis=-1)
    overlap = shared / (area + other_area - shared)
    middles = (one[..., :2] + one[..., 2:] - other[..., :2] - other[..., 2:]) / 2
    diagonals = (np.hypot(*np.moveaxis(sides, -1, 0))) + np.hypot(*np.moveaxis(other_sides, -1, 0))
    distance = np.hypot(middles[..., 0], middles[..., 1]) / (REACH * diagonals / 2)
    growth = np.maximum(area / other_area, other_area / area)
    near = np.where((distance <= 1) & (growth <= MAX_GROWTH), -distance, -np.inf)
    return np.where(overlap >= MIN_OVERLAP, overlap, near)


def _boxes(regions: Sequence[Region]) -> np.ndarray:
    """left, top, right, bottom (exclusive), float64 [N, 4]."""
    return np.array(
        [(r.left, r.top, r.left + r.width, r.top + r.height) for r in regions], np.float64
    )
