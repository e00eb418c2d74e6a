"""The datasets by name: what training draws from, and what is measured on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from training.data import (
    bdd100k,
    bdd_anomaly,
    camvid,
    cityscapes,
    fishyscapes,
    idd_lite,
    lost_and_found,
    normal_drives,
    pasted,
    procedural,
    road_anomaly,
    segment_me_if_you_can,
    street_hazards,
    unlabelled,
    yamaha_cmu,
)
from training.data.anomaly_frames import AnomalyDataset, AnomalyFrames
from training.data.folder import open_folder
from training.data.labelled_frames import DatasetError, LabelledFrames

Opener = Callable[[Path, str], LabelledFrames]
FOLDED_SETS: dict[str, Opener] = {
    "cityscapes": cityscapes.cityscapes,
    "cityscapes256": cityscapes.cityscapes256,
    "cityscapes_sharp": cityscapes.cityscapes_sharp,
    "bdd100k": bdd100k.bdd100k,
    "camvid": camvid.camvid,
    "idd_lite": idd_lite.idd_lite,
    "procedural": procedural.procedural,
    "yamaha_cmu": yamaha_cmu.yamaha_cmu,
}
"""Labels that fold the 19 train ids, so that they train a network of those."""
TRAINING_SETS: dict[str, Opener] = {
    **FOLDED_SETS,
    "street_hazards": street_hazards.street_hazards,
    "bdd_anomaly": bdd_anomaly.bdd_anomaly,
}
"""With those whose classes are their own: for networks trained on one dataset."""
MIXTURE_SETS = {**FOLDED_SETS, "normal_drives": normal_drives.normal_drives}
"""What `mixture.Mixture` draws from. `normal_drives` has no classes: no other training takes it."""
ANOMALY_SETS: dict[str, AnomalyDataset] = {
    dataset.name: dataset
    for dataset in (
        *segment_me_if_you_can.DATASETS,  # road_anomaly21, road_obstacle21, lost_and_found_no_known
        *fishyscapes.DATASETS,  # fishyscapes_static, fishyscapes_lost_and_found
        *road_anomaly.DATASETS,  # road_anomaly
        *lost_and_found.DATASETS,  # lost_and_found
        *street_hazards.DATASETS,  # street_hazards
        *bdd_anomaly.DATASETS,  # bdd_anomaly
        *camvid.DATASETS,  # camvid, camvid_ood
        *cityscapes.DATASETS,  # cityscapes, cityscapes256
        *idd_lite.DATASETS,  # idd_lite
        *pasted.DATASETS,  # camvid_pasted, cityscapes256_pasted, idd_lite_pasted
        *procedural.DATASETS,  # procedural, procedural_anomalies, procedural_recordings
        *unlabelled.DATASETS,  # udacity_unlabelled
    )
}
FOLDER = "folder:"


def open_dataset(spec: str, root: Path) -> AnomalyFrames:
    """Open "NAME" (its first split), "NAME/SPLIT" or "folder:PATH" (from the current folder).

    root: folder that holds the datasets. Raises DatasetError for an unknown name or split, and for
    data that are missing or wrong.
    """
    if spec.startswith(FOLDER):
        return open_folder(Path(spec.removeprefix(FOLDER)).expanduser())
    name, slash, split = spec.partition("/")
    dataset = find_dataset(name)
    if slash and split not in dataset.splits:
        raise DatasetError(
            f"dataset {name} has no split {split!r}; expected one of {', '.join(dataset.splits)}"
        )
    return dataset.open_split(root, split or dataset.splits[0])


def find_dataset(name: str) -> AnomalyDataset:
    """The entry of ANOMALY_SETS. Raises DatasetError listing the names there are."""
    if name not in ANOMALY_SETS:
        raise DatasetError(
            f"unknown dataset {name!r}; expected one of {', '.join(ANOMALY_SETS)}, or folder:PATH"
        )
    return ANOMALY_SETS[name]
