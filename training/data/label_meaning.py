"""What the label values that a dataset stores mean: known classes, anomalies, void."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from training.data.label_spaces import VOID
from training.data.labelled_frames import DatasetError


@dataclass(frozen=True)
class LabelMeaning:
    """Every value that a label file may hold; any other is an error, never a guess.

    known: stored value -> class id of the dataset's label space; where the dataset names no
    classes, the id does not matter. anomaly, void: stored values.
    """

    known: Mapping[int, int]
    anomaly: Collection[int] = ()
    void: Collection[int] = (VOID,)

    def translate(self, stored: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Stored ids [H, W] -> anomaly (0 known, 1 anomaly, 255 void) and class ids, uint8 [H, W].

        Class ids are 255 on anomalies and void. Raises DatasetError with `name` for other values.
        """
        counts = np.bincount(stored.ravel(), minlength=256)
        described = np.zeros(len(counts), bool)
        described[[v for v in (*self.known, *self.anomaly, *self.void) if v < len(counts)]] = True
        strange = np.flatnonzero((counts > 0) & ~described)
        if strange.size:
            raise DatasetError(
                f"{name}: label values {ranges(strange.tolist())}; expected {self.describe()}"
            )
        anomaly = np.zeros(len(counts), np.uint8)
        classes = np.full(len(counts), VOID, np.uint8)
        for value, class_id in self.known.items():
            classes[value] = class_id
        anomaly[list(self.anomaly)] = 1
        anomaly[list(self.void)] = VOID
        return anomaly[stored], classes[stored]

    def describe(self) -> str:
        """For people: "0..12 known, 13 anomaly, 255 void"."""
        kinds = {"known": self.known, "anomaly": self.anomaly, "void": self.void}
        return ", ".join(f"{ranges(values)} {kind}" for kind, values in kinds.items() if values)


# What this project and SegmentMeIfYouCan store.
ANOMALY_LABELS = LabelMeaning(known={0: 0}, anomaly=(1,), void=(VOID,))


def classes_as_stored(count: int, void: Collection[int] = (VOID,)) -> LabelMeaning:
    """Class ids 0..count-1 stored as they are, nothing anomalous."""
    return LabelMeaning({value: value for value in range(count)}, void=void)


def ranges(values: Collection[int]) -> str:
    """ "0..3, 7" for 0, 1, 2, 3, 7; long lists are cut."""
    runs: list[list[int]] = []
    for value in sorted(values):
        if runs and value == runs[-1][1] + 1:
            runs[-1][1] = value
        else:
            runs.append([value, value])
    parts = [str(low) if low == high else f"{low}..{high}" for low, high in runs[:12]]
    return ", ".join(parts) + (" ..." if len(runs) > 12 else "")
