"""SegmentMeIfYouCan (Chan et al., NeurIPS 2021): RoadAnomaly21, RoadObstacle21, LostAndFound."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from training.data.anomaly_frames import (
    AnomalyDataset,
    AnomalyFrames,
    AnomalySample,
    Exclusion,
)
from training.data.folder import plain_pairs
from training.data.frame_files import (
    FramePair,
    anomaly_frames,
    find_folder,
    image_paths,
    missing_files,
    not_found,
    read_image,
    refuse,
)
from training.data.label_meaning import ANOMALY_LABELS
from training.data.label_spaces import VOID
from training.data.lost_and_found import HOW_TO_GET as HOW_TO_GET_LOST_AND_FOUND
from training.data.lost_and_found import ON_ROAD, frame_pairs
from training.data.lost_and_found import SOURCE as LOST_AND_FOUND_SOURCE

NO_KNOWN_FRAMES = 1043
# Sequences of Lost and Found whose obstacles Cityscapes knows.
KNOWN_OBSTACLES = {
    "15_Rechbergstr_Deckenpfronn": "its obstacles are children, a known class",
    "01_Hanns_Klemm_Str_45_000006": "its obstacle is a bicycle, a known class",
    "01_Hanns_Klemm_Str_45_000007": "its obstacle is a bicycle, a known class",
    "10_Schlossberg_9_000004": "its obstacle is a bicycle, a known class",
}
LEFT_OUT = tuple(f"validation_{number}" for number in (19, *range(21, 30)))


@dataclass(frozen=True)
class Track:
    """One of the two datasets of the benchmark. Labels exist for the validation frames alone."""

    name: str
    title: str
    folders: tuple[str, ...]
    archive: str
    frames: int
    protocol: str
    left_out: tuple[str, ...] = ()  # what the ids of frames outside the split start with

    @property
    def how_to_get(self) -> str:
        """For a person who lacks the data."""
        return (
            f"Unpack {self.archive} of https://segmentmeifyoucan.com/datasets into ROOT, so that"
            f" ROOT/{self.folders[0]}/images lies there. The labels of its test frames are not"
            " public: scores on them come from the benchmark's site. A copy of validation frames as"
            f" ROOT/{self.folders[1]}/{{images,labels}}/ works too."
        )

    def open(self, root: Path, split: str) -> AnomalyFrames:
        """Validation frames with labels, or test frames, which have none. Raises DatasetError."""
        name = f"{self.name}/{split}"
        folder = find_folder(root, self.folders)
        if folder is None:
            refuse(name, [not_found(root, self.folders)], self.how_to_get)
        if split == "test":
            return self._unlabelled(name, folder)
        excluded: list[Exclusion] = []
        published = (folder / "labels_masks").is_dir()
        if published:
            pairs, excluded = self._published(folder)
        else:
            pairs = plain_pairs(folder)
        problems = missing_files(pairs, folder / "images")
        if published and pairs and len(pairs) != self.frames:
            problems.append(f"{len(pairs)} validation frames in {folder}; expected {self.frames}")
        if problems:
            refuse(name, problems, self.how_to_get)
        return anomaly_frames(
            name,
            f"{self.title} {split}",
            pairs,
            ANOMALY_LABELS,
            protocols=(self.protocol, "pooled"),
            excluded=tuple(excluded),
            source=f"{self.title}, Chan et al., NeurIPS 2021; licences per image",
        )

    def _unlabelled(self, name: str, folder: Path) -> AnomalyFrames:
        """All void: for predictions to hand in. As every frame that is no validation frame."""
        paths = image_paths(folder / "images")
        paths = [path for path in paths if not path.stem.startswith("validation")]
        if not paths or not (folder / "labels_masks").is_dir():
            refuse(name, [f"no test frames in {folder}/images"], self.how_to_get)

        def read(index: int) -> AnomalySample:
            image = read_image(paths[index])
            void = np.full(image.shape[:2], VOID, np.uint8)
            return AnomalySample(paths[index].stem, image, void)

        return AnomalyFrames(
            name=name,
            title=f"{self.title} test",
            names=tuple(path.stem for path in paths),
            read=read,
            source=f"{self.title}, Chan et al., NeurIPS 2021; licences per image",
        )

    def _published(self, folder: Path) -> tuple[list[FramePair], list[Exclusion]]:
        pairs, excluded = [], []
        for path in image_paths(folder / "images"):
            if not path.stem.startswith("validation"):
                continue
            if path.stem.startswith(self.left_out):
                reason = "the benchmark leaves it out of its validation split"
                excluded.append(Exclusion(path.stem, reason))
                continue
            label = folder / "labels_masks" / f"{path.stem}_labels_semantic.png"
            pairs.append(FramePair(path.stem, path, label))
        return pairs, excluded


ROAD_ANOMALY = Track(
    "road_anomaly21",
    "RoadAnomaly21",
    ("dataset_AnomalyTrack", "RoadAnomaly21", "samples/RoadAnomaly21"),
    "dataset_AnomalyTrack.zip",
    frames=10,
    protocol="smiyc_anomaly",
)
ROAD_OBSTACLE = Track(
    "road_obstacle21",
    "RoadObstacle21",
    ("dataset_ObstacleTrack", "RoadObstacle21", "samples/RoadObstacle21"),
    "dataset_ObstacleTrack.zip",
    frames=30,
    protocol="smiyc_obstacle",
    left_out=LEFT_OUT,
)


def _open_no_known(root: Path, split: str) -> AnomalyFrames:
    name = f"lost_and_found_no_known/{split}"
    pairs, empty = frame_pairs(name, root, split)
    known = [
        Exclusion(pair.name, reason)
        for pair in pairs
        for prefix, reason in KNOWN_OBSTACLES.items()
        if pair.name.startswith(prefix)
    ]
    left_out = {exclusion.name for exclusion in known}
    pairs = [pair for pair in pairs if pair.name not in left_out]
    if len(pairs) != NO_KNOWN_FRAMES:
        problem = f"{len(pairs)} frames without known obstacles; expected {NO_KNOWN_FRAMES}"
        refuse(name, [problem], HOW_TO_GET_LOST_AND_FOUND)
    return anomaly_frames(
        name,
        "LostAndFound-NoKnown",
        pairs,
        ON_ROAD,
        protocols=("smiyc_obstacle", "pooled"),
        excluded=(*empty, *known),
        source=f"{LOST_AND_FOUND_SOURCE}; split of SegmentMeIfYouCan",
    )


DATASETS = (
    *(
        AnomalyDataset(
            track.name, track.title, ("validation", "test"), track.open, track.how_to_get
        )
        for track in (ROAD_ANOMALY, ROAD_OBSTACLE)
    ),
    AnomalyDataset(
        "lost_and_found_no_known",
        "LostAndFound-NoKnown",
        ("test",),
        _open_no_known,
        HOW_TO_GET_LOST_AND_FOUND,
    ),
)
