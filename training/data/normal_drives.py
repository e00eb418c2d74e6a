"""Ordinary drives without labels: backgrounds that the observer learns to leave alone.

A team's own camera belongs here: whatever it sees on drives without anything strange is normal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from training.data.frame_files import image_paths, read_image, refuse
from training.data.label_spaces import CITYSCAPES, NORMAL
from training.data.labelled_frames import LabelledFrames

HOW_TO_GET = (
    "Put images of drives without anything strange below ROOT/normal_drives/, in any folders;"
    " cut off the own bonnet. Unknown objects left in them are learnt as normal."
)


def normal_drives(root: Path, split: str) -> LabelledFrames:
    """Every image below ROOT/normal_drives, all pixels NORMAL. There is no split but train.

    Raises DatasetError when there are none.
    """
    folder = root / "normal_drives"
    paths = image_paths(folder, deep=True)
    if not paths or split != "train":
        problem = f"no split {split}" if paths else f"no images in {folder}"
        refuse(f"normal_drives/{split}", [problem], HOW_TO_GET)

    def read(index: int) -> tuple[np.ndarray, np.ndarray]:
        image = read_image(paths[index])
        return image, np.full(image.shape[:2], NORMAL, np.uint8)

    names = tuple(path.relative_to(folder).with_suffix("").as_posix() for path in paths)
    return LabelledFrames("normal_drives", CITYSCAPES, len(paths), read, names=names)
