"""Whether a node gives the same maps as the detector in this process, bit for bit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from anomaly_seg_ros.detector import MAPS, Detection


@dataclass(frozen=True)
class Difference:
    """The first pixel of a map that is not the same in both."""

    frame: str
    map: str  # labels, score or mask
    pixels: int  # that differ
    row: int | None  # None where the maps have other shapes or dtypes
    column: int | None
    in_process: str
    node: str

    def __str__(self) -> str:
        place = "" if self.row is None else f", first at row {self.row}, column {self.column}"
        return (
            f"frame {self.frame}, {self.map}: {self.pixels} pixels{place}: in process"
            f" {self.in_process}, node {self.node}"
        )


class Comparison:
    """Counts equal and different frames, and keeps the first difference."""

    def __init__(self) -> None:
        self.equal = 0
        self.different: list[str] = []  # frame names
        self.different_maps = dict.fromkeys(MAPS, 0)
        self.first: Difference | None = None

    def add(self, name: str, in_process: Detection, node: Detection) -> None:
        """Compare the labels, score and mask of one frame; NaN equals the same NaN."""
        differences = []
        for kind in MAPS:
            ours, theirs = in_process.array(kind), node.array(kind)
            assert ours is not None and theirs is not None
            difference = _difference(name, kind, ours, theirs)
            if difference is not None:
                self.different_maps[kind] += 1
                differences.append(difference)
        if differences:
            self.different.append(name)
            self.first = self.first or differences[0]
        else:
            self.equal += 1


def _difference(
    name: str, kind: str, in_process: np.ndarray, node: np.ndarray
) -> Difference | None:
    if in_process.shape != node.shape or in_process.dtype != node.dtype:
        sides = [f"{side.dtype} {list(side.shape)}" for side in (in_process, node)]
        return Difference(name, kind, max(in_process.size, node.size), None, None, *sides)
    bits = f"u{in_process.dtype.itemsize}"
    ours, theirs = (np.ascontiguousarray(side).view(bits) for side in (in_process, node))
    differs = ours != theirs
    count = int(np.count_nonzero(differs))
    if not count:
        return None
    row, column = (int(place) for place in np.argwhere(differs)[0])
    sides = [repr(side[row, column].item()) for side in (in_process, node)]
    return Difference(name, kind, count, row, column, *sides)
