"""BDD-Anomaly of the CAOS benchmark (Hendrycks et al., ICML 2022), made from BDD100K's labels.

Every image with a pixel of train, motorcycle or bicycle is a test frame; the others of BDD100K's
train and val are train and validation. Two encodings of its labels are about: Cityscapes train
ids, and the benchmark's own, shifted by two. Which one a folder holds is read from all its labels.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.anomaly_frames import CLOSED_SET_PROTOCOLS, AnomalyDataset, AnomalyFrames
from training.data.frame_files import (
    FramePair,
    anomaly_frames,
    find_folder,
    image_paths,
    labelled_frames,
    missing_files,
    not_found,
    read_ids,
    refuse,
    shorten,
)
from training.data.label_meaning import LabelMeaning
from training.data.label_spaces import BDD_ANOMALY
from training.data.labelled_frames import DatasetError, LabelledFrames
from training.data.parallel import in_parallel

ENCODINGS = {
    # BDD100K: Cityscapes train ids. Train, motorcycle and bicycle are the anomalies.
    "train_ids": LabelMeaning(
        known={value: value for value in range(16)}, anomaly=(16, 17, 18), void=(255,)
    ),
    # CAOS: train id + 2; what was 255 is 1.
    "shifted": LabelMeaning(
        known={value + 2: value for value in range(16)}, anomaly=(18, 19, 20), void=(1,)
    ),
}
# Road is 0 and void 255 in train ids alone, and next to no frame has neither.
ONLY_TRAIN_IDS = frozenset({0, 255})
CLEAR_SHARE = 0.99  # of frames that must show one of them before all count as train ids
SAMPLED = 8  # labels that are looked at again whenever a split is opened
LAYOUTS = (  # images, labels, what follows an image's stem in its label's name
    ("images/10k", "labels/sem_seg/masks", ""),
    ("seg/images", "seg/labels", "_train_id"),
    ("seg/images", "seg/train_labels", "_train_id"),
)
FOLDERS = ("bdd100k", "BDD100K", "bdd_anomaly")
SPLITS_FILE = Path("bdd_anomaly") / "splits.json"
TEST_PROTOCOLS = ("caos", "error_detection", "pooled", "segmentation")
HOW_TO_GET = (
    "Register at https://bdd-data.berkeley.edu (non-commercial research), unpack the 10K images and"
    " the semantic segmentation labels into ROOT/bdd100k/ (images/10k/{train,val} and"
    " labels/sem_seg/masks/{train,val}; the older seg/images and seg/labels work too), then run"
    " `python -m training prepare bdd_anomaly ROOT`."
)


@dataclass(frozen=True)
class Splits:
    """What the builder found. Frames: image and label, relative to the data root."""

    encoding: str
    frames: dict[str, list[tuple[str, str]]]  # train, validation, test

    @classmethod
    def read(cls, file: Path) -> Splits:
        """Raises DatasetError for a file that the builder did not write."""
        try:
            stored = json.loads(file.read_text())
            frames = {
                split: [(str(image), str(label)) for image, label in stored["frames"][split]]
                for split in ("train", "validation", "test")
            }
            encoding = str(stored["encoding"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise DatasetError(f"{file} does not read as splits: {error!r}; build again") from error
        if encoding not in ENCODINGS:
            known = " or ".join(ENCODINGS)
            raise DatasetError(f"{file}: encoding {encoding!r}; expected {known}; build again")
        return cls(encoding, frames)

    def write(self, file: Path) -> None:
        """Write the file, whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_name(f".{file.name}")
        draft.write_text(json.dumps({"encoding": self.encoding, "frames": self.frames}, indent=0))
        draft.replace(file)


def build_splits(root: Path, workers: int) -> Splits:
    """Sort BDD100K's frames by their labels and write ROOT/bdd_anomaly/splits.json.

    Raises DatasetError listing what is missing, or frames of another encoding than the others.
    """
    pairs, validation = _labelled_images(root)
    labels = [pair.label for pair in pairs]
    values = in_parallel(_values, labels, workers, "BDD100K labels")
    encoding = detect_encoding(labels, values)
    anomalies = set(ENCODINGS[encoding].anomaly)
    frames: dict[str, list[tuple[str, str]]] = {"train": [], "validation": [], "test": []}
    for pair, present in zip(pairs, values, strict=True):
        split = "validation" if pair.name in validation else "train"
        files = (pair.image.relative_to(root).as_posix(), pair.label.relative_to(root).as_posix())
        frames["test" if present & anomalies else split].append(files)
    splits = Splits(encoding, frames)
    splits.write(root / SPLITS_FILE)
    return splits


def detect_encoding(labels: Sequence[Path], values: Sequence[frozenset[int]]) -> str:
    """Name in ENCODINGS, from the values that each label file holds.

    Raises DatasetError when the files disagree or hold values that neither encoding knows.
    """
    telling = [bool(present & ONLY_TRAIN_IDS) for present in values]
    if any(telling) and sum(telling) < CLEAR_SHARE * len(telling):
        odd = [str(label) for label, tells in zip(labels, telling, strict=True) if not tells]
        raise DatasetError(
            f"BDD100K labels of two encodings: {sum(telling)} files hold 0 or 255, as train ids do,"
            f" {len(odd)} hold neither ({shorten(odd)}). Keep labels of one encoding."
        )
    encoding = "train_ids" if any(telling) else "shifted"
    meaning = ENCODINGS[encoding]
    allowed = {*meaning.known, *meaning.anomaly, *meaning.void}
    odd = [str(label) for label, p in zip(labels, values, strict=True) if not p <= allowed]
    if odd:
        raise DatasetError(
            f"BDD100K labels read as {encoding} ({meaning.describe()}), but {len(odd)} files hold"
            f" other values: {shorten(odd)}"
        )
    return encoding


def _labelled_images(root: Path) -> tuple[list[FramePair], set[str]]:
    """All frames with a label, and the names of those of BDD100K's val."""
    name = "bdd_anomaly"
    folder = find_folder(root, FOLDERS)
    if folder is None:
        refuse(name, [not_found(root, FOLDERS)], HOW_TO_GET)
    present = [
        layout
        for layout in LAYOUTS
        if (folder / layout[0]).is_dir() and (folder / layout[1]).is_dir()
    ]
    if not present:
        wanted = "; ".join(f"{images}/ and {labels}/" for images, labels, _ in LAYOUTS)
        refuse(name, [f"{folder} holds none of these: {wanted}"], HOW_TO_GET)
    images, labels, suffix = present[0]
    pairs, validation = [], set()
    for part in ("train", "val"):
        found = [
            FramePair(
                f"{part}/{path.stem}", path, folder / labels / part / f"{path.stem}{suffix}.png"
            )
            for path in image_paths(folder / images / part)
        ]
        # BDD100K has more images than labels.
        found = [pair for pair in found if pair.label.is_file()]
        if not found:
            refuse(name, [f"no labelled images in {folder / images / part}"], HOW_TO_GET)
        pairs += found
        if part == "val":
            validation = {pair.name for pair in found}
    return pairs, validation


def _values(label: Path) -> frozenset[int]:
    return frozenset(np.unique(read_ids(label)).tolist())


def bdd_anomaly(root: Path, split: str) -> LabelledFrames:
    """Frames of train or val without a train, motorcycle or bicycle, train ids 0..15."""
    pairs, meaning = _pairs(root, "validation" if split == "val" else split)
    return labelled_frames("bdd_anomaly", BDD_ANOMALY, pairs, meaning)


def _pairs(root: Path, split: str) -> tuple[list[FramePair], LabelMeaning]:
    name = f"bdd_anomaly/{split}"
    if not (root / SPLITS_FILE).is_file():
        refuse(name, [f"no {root / SPLITS_FILE}"], HOW_TO_GET)
    splits = Splits.read(root / SPLITS_FILE)
    pairs = [
        FramePair("/".join(Path(image).with_suffix("").parts[-2:]), root / image, root / label)
        for image, label in splits.frames[split]
    ]
    if problems := missing_files(pairs, root / SPLITS_FILE):
        refuse(name, problems, HOW_TO_GET)
    some = pairs[:: max(1, len(pairs) // SAMPLED)]
    holds_train_ids = any(_values(pair.label) & ONLY_TRAIN_IDS for pair in some)
    if holds_train_ids != (splits.encoding == "train_ids"):
        problem = f"its labels no longer read as {splits.encoding}; build the splits again"
        refuse(name, [problem], HOW_TO_GET)
    return pairs, ENCODINGS[splits.encoding]


def _open(root: Path, split: str) -> AnomalyFrames:
    return anomaly_frames(
        f"bdd_anomaly/{split}",
        f"BDD-Anomaly {split}",
        *_pairs(root, split),
        space=BDD_ANOMALY,
        protocols=TEST_PROTOCOLS if split == "test" else CLOSED_SET_PROTOCOLS,
        source="BDD100K, Yu et al., CVPR 2020 (non-commercial research); split of Hendrycks et al.",
    )


DATASETS = (
    AnomalyDataset(
        "bdd_anomaly", "BDD-Anomaly", ("test", "validation", "train"), _open, HOW_TO_GET
    ),
)
