"""BDD100K's semantic segmentation (Yu et al., CVPR 2020), with Cityscapes' train ids."""

from __future__ import annotations

from pathlib import Path

from training.data.bdd_anomaly import FOLDERS, LAYOUTS
from training.data.frame_files import (
    FramePair,
    find_folder,
    image_paths,
    labelled_frames,
    not_found,
    refuse,
)
from training.data.label_meaning import classes_as_stored
from training.data.label_spaces import CITYSCAPES
from training.data.labelled_frames import LabelledFrames

MEANING = classes_as_stored(len(CITYSCAPES.names))
OWN_LAYOUTS = LAYOUTS[:2]  # the last one is CAOS's, whose labels are shifted
HOW_TO_GET = (
    "Register at https://bdd-data.berkeley.edu (non-commercial research) and unpack the 10K images"
    " and the semantic segmentation labels into ROOT/bdd100k/ (images/10k/{train,val} and"
    " labels/sem_seg/masks/{train,val}; the older seg/images and seg/labels work too)."
)


def bdd100k(root: Path, split: str) -> LabelledFrames:
    """BDD100K 1280x720 (train 7000, val 1000)."""
    name = f"bdd100k/{split}"
    folder = find_folder(root, FOLDERS)
    if folder is None:
        refuse(name, [not_found(root, FOLDERS)], HOW_TO_GET)
    for images, labels, suffix in OWN_LAYOUTS:
        pairs = [
            FramePair(path.stem, path, folder / labels / split / f"{path.stem}{suffix}.png")
            for path in image_paths(folder / images / split)
        ]
        # BDD100K has more images than labels.
        if pairs := [pair for pair in pairs if pair.label.is_file()]:
            return labelled_frames("bdd100k", CITYSCAPES, pairs, MEANING)
    wanted = "; ".join(f"{images}/{split}/, {labels}/{split}/" for images, labels, _ in OWN_LAYOUTS)
    refuse(name, [f"no labelled images in {folder}: {wanted}"], HOW_TO_GET)
