"""StreetHazards of the CAOS benchmark (Hendrycks et al., ICML 2022): drawn towns, odd objects."""

from __future__ import annotations

import json
from pathlib import Path

from training.data.anomaly_frames import CLOSED_SET_PROTOCOLS, AnomalyDataset, AnomalyFrames
from training.data.frame_files import (
    FramePair,
    anomaly_frames,
    image_paths,
    labelled_frames,
    missing_files,
    not_found,
    refuse,
)
from training.data.label_meaning import LabelMeaning
from training.data.label_spaces import STREET_HAZARDS
from training.data.labelled_frames import LabelledFrames

FOLDERS = ("street_hazards", "StreetHazards", "streethazards")
ARCHIVES = ("streethazards_train", "streethazards_test")  # folders named after the two archives
# Where the lists lie: as in the archives, one folder per split, or beside the archives' folders.
LISTS = {
    "test": ("test/test.odgt", "test.odgt"),
    "validation": ("train/validation.odgt", "validation/validation.odgt", "validation.odgt"),
    "train": ("train/train.odgt", "training.odgt", "train.odgt"),
}
IMAGES = {
    "test": "test/images/test",
    "validation": "train/images/validation",
    "train": "train/images/training",
}
# Stored are class + 1; 14 is the anomaly. 0 is the padding of crops and in no published file.
MEANING = LabelMeaning(
    known={class_id + 1: class_id for class_id in range(13)}, anomaly=(14,), void=(0,)
)
TEST_PROTOCOLS = ("caos", "pans", "pooled", "segmentation")
HOW_TO_GET = (
    "Unpack streethazards_train.tar and streethazards_test.tar of"
    " https://github.com/hendrycks/anomaly-seg (MIT) into ROOT/street_hazards/, so that train/ and"
    " test/ lie there."
)


def street_hazards(root: Path, split: str) -> LabelledFrames:
    """Frames 1280x720 of train (5125) or val (1031), 12 classes and what is unlabelled."""
    pairs = _pairs(root, "validation" if split == "val" else split)
    return labelled_frames("street_hazards", STREET_HAZARDS, pairs, MEANING)


def _pairs(root: Path, split: str) -> list[FramePair]:
    name = f"street_hazards/{split}"
    bases = [root / folder for folder in (*FOLDERS, *ARCHIVES) if (root / folder).is_dir()]
    if not bases:
        refuse(name, [not_found(root, FOLDERS)], HOW_TO_GET)
    problems: list[str] = []
    for base in bases:
        listed = next((base / file for file in LISTS[split] if (base / file).is_file()), None)
        if listed is not None:
            pairs = _listed_pairs(name, base, listed)
            problems = missing_files(pairs, listed)
            break
        images = base / IMAGES[split]
        if images.is_dir():
            found = image_paths(images, deep=True)
            pairs = [_pair(path, _annotation(base, path)) for path in found]
            problems = missing_files(pairs, images)
            break
    else:
        wanted = " or ".join((*LISTS[split], f"{IMAGES[split]}/"))
        problems = [f"no {wanted} in {' or '.join(map(str, bases))}"]
    if problems:
        refuse(name, problems, HOW_TO_GET)
    return pairs


def _open(root: Path, split: str) -> AnomalyFrames:
    return anomaly_frames(
        f"street_hazards/{split}",
        f"StreetHazards {split}",
        _pairs(root, split),
        MEANING,
        space=STREET_HAZARDS,
        protocols=TEST_PROTOCOLS if split == "test" else CLOSED_SET_PROTOCOLS,
        source="StreetHazards, Hendrycks et al., ICML 2022; MIT",
    )


def _annotation(base: Path, image: Path) -> Path:
    part, _, *rest = image.relative_to(base).parts  # train or test, "images", ...
    return base.joinpath(part, "annotations", *rest)


def _pair(image: Path, label: Path) -> FramePair:
    return FramePair(f"{image.parent.name}/{image.stem}", image, label)


def _listed_pairs(name: str, base: Path, listed: Path) -> list[FramePair]:
    """Pairs of an .odgt file: one JSON list of objects with fpath_img and fpath_segm.

    Two variants exist: paths from the folder of the archive (images/...), and from the folder that
    holds the archives' folders (train/images/... or test/images/...).
    """
    try:
        entries = json.loads(listed.read_text())
        files = [(str(entry["fpath_img"]), str(entry["fpath_segm"])) for entry in entries]
    except (ValueError, KeyError, TypeError) as error:
        expected = "one JSON list of objects with fpath_img and fpath_segm"
        refuse(name, [f"{listed} does not read as {expected}: {error!r}"], HOW_TO_GET)
    origins = (listed.parent, base, base / IMAGES[name.rpartition("/")[2]].split("/")[0])
    exists = (origin for origin in origins if files and (origin / files[0][0]).is_file())
    origin = next(exists, listed.parent)
    return [_pair(origin / image, origin / label) for image, label in files]


DATASETS = (
    AnomalyDataset(
        "street_hazards", "StreetHazards", ("test", "validation", "train"), _open, HOW_TO_GET
    ),
)
