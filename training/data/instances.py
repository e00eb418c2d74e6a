"""Single objects of a label map: as people annotated them, or as connected components."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import cv2
import numpy as np

from training.data.labelled_frames import DatasetError

FIRST_OBJECT_ID = 24_000  # Cityscapes: class id * 1000 + number; smaller ids are whole classes
REFERENCE_PIXELS = 1024 * 512  # of the frames that the smallest areas were chosen for
SMALLEST_OBJECT = 750  # pixels of such a frame, Lis et al., ICCV 2019
SMALLEST_BACKGROUND = 500  # the same, of their rebuttal's variant

# Names of the paper's classes in all our label spaces: person, rider, car, motorcycle, bicycle,
# traffic light, traffic sign.
OBJECT_NAMES = frozenset(
    (
        *("person", "pedestrian", "living", "rider", "bicyclist"),
        *("car", "vehicle", "motorcycle", "bicycle"),
        *("light", "trafficlight", "sign", "trafficsign"),
    )
)
OTHER_VEHICLE_NAMES = frozenset(("truck", "bus", "train"))  # no components, nor background
ROAD_NAMES = frozenset(("road", "drivable"))


def object_classes(names: Sequence[str]) -> tuple[int, ...]:
    """Ids of the classes whose components are objects, of a label space's names.

    Case, blanks and underscores do not count. Raises DatasetError where no name is known.
    """
    found = tuple(index for index, name in enumerate(names) if _plain(name) in OBJECT_NAMES)
    if not found:
        raise DatasetError(
            f"no objects among the classes {', '.join(names)}; expected at least one of "
            f"{', '.join(sorted(OBJECT_NAMES))}"
        )
    return found


def background_classes(names: Sequence[str]) -> tuple[int, ...]:
    """Ids of the classes that are neither an object, another vehicle nor the road."""
    others = OBJECT_NAMES | OTHER_VEHICLE_NAMES | ROAD_NAMES
    return tuple(index for index, name in enumerate(names) if _plain(name) not in others)


def annotated_objects(ids: np.ndarray) -> np.ndarray:
    """Cityscapes instance ids, integers [H, W] -> int32 [H, W], 0 where there is no single object.

    Persons, riders and vehicles that were annotated one by one remain; groups, signs, poles and all
    stuff have their class id alone and become 0.
    """
    return np.where(ids >= FIRST_OBJECT_ID, ids, 0).astype(np.int32)


def components(
    labels: np.ndarray,
    classes: Collection[int],
    *,
    smallest: float,
    region: np.ndarray | None = None,
) -> np.ndarray:
    """Connected components of some classes: int32 [H, W], ids from 1, 0 elsewhere.

    labels: uint8 [H, W]. smallest: a component has more than that many pixels at 1024x512; at other
    sizes the number grows with the area of the frame, so that the same objects are found. region:
    bool [H, W], what lies outside belongs to no component. Pixels that touch at corners are
    connected (8-connectivity).
    """
    least = smallest * labels.size / REFERENCE_PIXELS
    found = np.zeros(labels.shape, np.int32)
    count = 0
    for class_id in classes:
        mask = labels == class_id
        if region is not None:
            mask &= region
        _, numbered, stats, _ = cv2.connectedComponentsWithStats(
            mask.astype(np.uint8), connectivity=8
        )
        large = stats[:, cv2.CC_STAT_AREA] > least
        large[0] = False  # what is not of the class
        ids = np.zeros(len(large), np.int32)
        ids[large] = count + 1 + np.arange(large.sum())
        count += int(large.sum())
        found += ids[numbered]
    return found


def _plain(name: str) -> str:
    return name.lower().replace("_", "").replace(" ", "")
