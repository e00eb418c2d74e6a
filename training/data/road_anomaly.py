"""Road Anomaly (Lis et al., ICCV 2019): 60 pictures from the web, 1280x720."""

from __future__ import annotations

import json
from pathlib import Path

from training.data.anomaly_frames import AnomalyDataset, AnomalyFrames
from training.data.frame_files import (
    FramePair,
    anomaly_frames,
    find_folder,
    missing_files,
    not_found,
    refuse,
)
from training.data.label_meaning import LabelMeaning

FOLDERS = ("RoadAnomaly_jpg", "RoadAnomaly", "road_anomaly")
# Lis et al.: 2 and above is anomalous, all else normal; no void. 255 is left unknown: copies with
# a region of interest use it as void, and such labels must not pass for the published ones.
MEANING = LabelMeaning(known={0: 0, 1: 0}, anomaly=range(2, 255), void=())
HOW_TO_GET = (
    "Unpack RoadAnomaly_jpg.zip of https://www.epfl.ch/labs/cvlab/data/road-anomaly/ (research use;"
    " the images belong to their photographers) into ROOT, so that"
    " ROOT/RoadAnomaly_jpg/frame_list.json lies there."
)


def _open(root: Path, split: str) -> AnomalyFrames:
    name = f"road_anomaly/{split}"
    folder = find_folder(root, FOLDERS)
    if folder is None:
        refuse(name, [not_found(root, FOLDERS)], HOW_TO_GET)
    listed = folder / "frame_list.json"
    try:
        files = [str(file) for file in json.loads(listed.read_text())]
    except (OSError, ValueError, TypeError) as error:
        expected = "a JSON list of image file names"
        refuse(name, [f"{listed} does not read as {expected}: {error}"], HOW_TO_GET)
    frames = folder / "frames"
    pairs = [
        FramePair(stem, frames / file, frames / f"{stem}.labels" / "labels_semantic.png")
        for file in files
        for stem in (Path(file).stem,)
    ]
    if problems := missing_files(pairs, frames):
        refuse(name, problems, HOW_TO_GET)
    return anomaly_frames(
        name,
        "Road Anomaly",
        pairs,
        MEANING,
        protocols=("resynthesis_roc", "pooled", "fishyscapes"),
        source="Road Anomaly, Lis et al., ICCV 2019; research use",
    )


DATASETS = (AnomalyDataset("road_anomaly", "Road Anomaly", ("test",), _open, HOW_TO_GET),)
