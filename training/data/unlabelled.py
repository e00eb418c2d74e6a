"""Roads with nothing strange on them and no labels: every alarm is false."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.anomaly_frames import AnomalyDataset, AnomalyFrames, AnomalySample
from training.data.frame_files import find_folder, image_paths, not_found, read_image, refuse

FOLDERS = ("udacity_unlabelled", "samples/closed_set/udacity_unlabelled")
HOW_TO_GET = (
    "Copy the test images of https://github.com/udacity/CarND-LaneLines-P1 and"
    " CarND-Advanced-Lane-Lines (MIT) to ROOT/udacity_unlabelled/images/."
)


def _open(root: Path, split: str) -> AnomalyFrames:
    name = f"udacity_unlabelled/{split}"
    folder = find_folder(root, FOLDERS)
    if folder is None:
        refuse(name, [not_found(root, FOLDERS)], HOW_TO_GET)
    paths = image_paths(folder, deep=True)
    if not paths:
        refuse(name, [f"no images in {folder}"], HOW_TO_GET)

    def read(index: int) -> AnomalySample:
        image = read_image(paths[index])
        return AnomalySample(names[index], image, np.zeros(image.shape[:2], np.uint8))

    names = tuple(path.relative_to(folder).with_suffix("").as_posix() for path in paths)
    return AnomalyFrames(
        name=name,
        title="Udacity roads without anything strange",
        names=names,
        read=read,
        protocols=("false_regions",),
        source="Udacity CarND, MIT",
    )


DATASETS = (AnomalyDataset("udacity_unlabelled", "Udacity roads", ("test",), _open, HOW_TO_GET),)
