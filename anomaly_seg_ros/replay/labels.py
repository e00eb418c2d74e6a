"""Anomaly labels of an evaluation: label values, and which label belongs to which frame.

An anomaly label is uint8 [H, W]: 0 known, 1 anomaly, 255 void (not scored).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.errors import EncodingError, ReplayError
from anomaly_seg_ros.replay.bags import BagSource, LabelTopic
from anomaly_seg_ros.replay.scene_source import SceneSource
from anomaly_seg_ros.replay.sources import BadFrame, Frame, Source, image_files

ANOMALY_VALUES = (0, 1, 255)
PAIRINGS = ("auto", "stem", "number", "order", "stamp")
SCENE_LABELS = "scenes"  # the name of drawn scenes' own labels on the command line
SMALLEST_STAMP = 10**15  # nanoseconds, 12 days: smaller numbers count frames


@dataclass(frozen=True)
class LabelMap:
    """Which stored label values mean what: value -> 0, 1 or 255, and what all others mean."""

    values: tuple[tuple[int, int], ...] = tuple((value, value) for value in ANOMALY_VALUES)
    others: int | None = None  # None: any other value is an error

    @classmethod
    def parse(cls, text: str) -> LabelMap:
        """Read "12:1,11:255,*:0". Raises ReplayError."""
        values: dict[int, int] = {}
        others: int | None = None
        for part in text.split(","):
            left, colon, right = (piece.strip() for piece in part.partition(":"))
            fits = colon and (left == "*" or (left.isdecimal() and int(left) < 65536))
            if not fits or right not in {str(value) for value in ANOMALY_VALUES}:
                raise ReplayError(
                    f"label map {text!r}: {part.strip()!r} is not VALUE:MEANING with a value of"
                    ' 0..65535 or "*" and a meaning of 0 (known), 1 (anomaly) or 255 (void);'
                    ' for example "12:1,11:255,*:0"'
                )
            if left == "*":
                others = int(right)
            else:
                values[int(left)] = int(right)
        return cls(tuple(sorted(values.items())), others)

    def apply(self, stored: np.ndarray, name: str) -> np.ndarray:
        """Stored labels [H, W] (uint8 or uint16) to 0, 1, 255. Raises ReplayError for others."""
        known = dict(self.values)
        counts = np.bincount(stored.ravel())
        present = np.flatnonzero(counts)
        strange = [int(value) for value in present if int(value) not in known]
        if strange and self.others is None:
            listed = ", ".join(str(value) for value in strange[:20])
            raise ReplayError(
                f"{name}: label values {listed}{' ...' if len(strange) > 20 else ''}; expected"
                f" {', '.join(str(value) for value in sorted(known))}. Anomaly labels are 0 known,"
                " 1 anomaly, 255 void; say what others mean with --map, for example"
                ' "12:1,11:255,*:0".'
            )
        table = np.full(len(counts), self.others or 0, np.uint8)
        for value, meaning in known.items():
            if value < len(table):
                table[value] = meaning
        return table[stored]

    def describe(self) -> str:
        parts = [f"{value}:{meaning}" for value, meaning in self.values]
        return ",".join(parts if self.others is None else [*parts, f"*:{self.others}"])


class LabelSource(ABC):
    """Stored labels of a recording, found by frame."""

    rule: str  # how frames and labels are paired, for people
    warnings: list[str]

    @abstractmethod
    def find(self, frame: Frame | BadFrame) -> Hashable | None:
        """The key of the frame's label, or None."""

    @abstractmethod
    def read(self, key: Hashable) -> np.ndarray:
        """Stored label values [H, W]. Raises EncodingError for a label that cannot be read."""

    @abstractmethod
    def name(self, key: Hashable) -> str:
        """The label for messages and lists."""

    @abstractmethod
    def all(self) -> list[Hashable]:
        """The keys of all labels."""

    def close(self) -> None:  # noqa: B027 - only bags hold files open
        """Release files."""


class FolderLabels(LabelSource):
    """Single-channel label pictures of a folder.

    pairing: stem (file stem = image's file stem plus `suffix`), number (the stem is the frame
    number, counted from 0), order (n-th file in natural order = n-th frame) or stamp (the stem is
    the frame's stamp in nanoseconds).
    """

    def __init__(
        self, folder: Path, source: Source, pairing: str = "auto", suffix: str = ""
    ) -> None:
        self.folder = folder
        self.warnings = []
        files = image_files(folder)
        if not files:
            raise ReplayError(f"{folder}: no label picture in this folder. Labels are 8-bit PNGs.")
        stems = [_without(file.stem, suffix) for file in files]
        frames = len(source)
        still = source.describe().kind == "images"
        self.pairing = _choose_pairing(stems, frames, still) if pairing == "auto" else pairing
        keys: list[Hashable]
        if self.pairing == "stem":
            keys = list(stems)
            self.rule = "image and label with the same file stem"
        elif self.pairing == "order":
            keys = list(range(len(files)))
            self.rule = "n-th frame with n-th label in natural order"
            if frames and frames != len(files):
                self.warnings.append(
                    f"{len(files)} labels for {frames} frames, paired n-th with n-th: if labels are"
                    " missing in between, all later pairs are wrong. Name labels by frame number."
                )
        else:
            strange = [stem for stem in stems if not stem.isdecimal()]
            if strange:
                raise ReplayError(
                    f"{folder}: label {strange[0]!r} is no number; pairing by {self.pairing} needs"
                    " file stems that are numbers, such as 000123."
                )
            keys = [int(stem) for stem in stems]
            self.rule = "label file stem = stamp in nanoseconds"
            if self.pairing == "number":
                first = _first_number([int(stem) for stem in stems], frames)
                keys = [int(stem) - first for stem in stems]
                self.rule = f"label file stem = frame number, counted from {first}"
        twice = [str(key) for key, count in Counter(keys).items() if count > 1]
        if twice:
            raise ReplayError(
                f"{folder}: several label files for {', '.join(twice[:5])}. Keep one of each."
            )
        self.files = dict(zip(keys, files, strict=True))

    def find(self, frame: Frame | BadFrame) -> Hashable | None:
        by = {"stem": frame.name, "stamp": _stamp(frame)}
        key = by.get(self.pairing, frame.index)
        return key if key in self.files else None

    def read(self, key: Hashable) -> np.ndarray:
        return read_label(self.files[key])

    def name(self, key: Hashable) -> str:
        return self.files[key].name

    def all(self) -> list[Hashable]:
        return list(self.files)


class TopicLabels(LabelSource):
    """mono8 label messages of a bag topic: the same header stamp as the image."""

    def __init__(self, path: Path, topic: str) -> None:
        self.labels = LabelTopic(path, topic)
        self.warnings = list(self.labels.unreadable)
        self.rule = f"image and label message of {topic} with the same stamp"
        if not self.labels.log_ns:
            self.labels.close()
            raise ReplayError(f"{path}: topic {topic} holds no readable label message.")

    def find(self, frame: Frame | BadFrame) -> Hashable | None:
        stamp = _stamp(frame)
        return stamp if stamp in self.labels.log_ns else None

    def read(self, key: Hashable) -> np.ndarray:
        assert isinstance(key, int)
        label = self.labels.read(key)
        if label.dtype.kind != "u":
            raise ReplayError(
                f"{self.name(key)}: a label of {label.dtype}; expected encoding mono8 (or 8UC1)"
            )
        return label

    def name(self, key: Hashable) -> str:
        return f"{self.labels.topic} at stamp {key}"

    def all(self) -> list[Hashable]:
        return list(self.labels.log_ns)

    def close(self) -> None:
        self.labels.close()


class SceneLabels(LabelSource):
    """What the drawing of procedural scenes knows about each pixel."""

    def __init__(self, source: SceneSource) -> None:
        self.source = source
        self.warnings = []
        self.rule = "labels of the drawn scene itself"

    def find(self, frame: Frame | BadFrame) -> Hashable | None:
        return frame.index

    def read(self, key: Hashable) -> np.ndarray:
        assert isinstance(key, int)
        return self.source.scene(key).anomaly

    def name(self, key: Hashable) -> str:
        return f"drawn label {key}"

    def all(self) -> list[Hashable]:
        return list(range(len(self.source)))


def open_labels(
    labels: str, source: Source, *, pairing: str = "auto", suffix: str = ""
) -> LabelSource:
    """Labels of a recording: a folder, a topic of the same bag, or "scenes" for drawn scenes.

    Raises ReplayError when they are missing or empty, or cannot belong to this recording.
    """
    folder = Path(labels).expanduser()
    if isinstance(source, SceneSource) and labels == SCENE_LABELS:
        return SceneLabels(source)
    if folder.is_dir():
        return FolderLabels(folder, source, pairing, suffix)
    if isinstance(source, BagSource) and not folder.exists():
        topics = source.bag.topics(("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"))
        name = labels if labels in topics else f"/{labels}"
        if name in topics:
            return TopicLabels(source.bag.path, name)
        raise ReplayError(
            f"labels {labels!r}: neither a folder nor an image topic of {source.bag.path}"
            f" ({', '.join(topics) or 'it has none'})."
        )
    raise ReplayError(
        f"labels {labels!r}: expected a folder of label pictures"
        + (f', or "{SCENE_LABELS}" for the scenes\' own' if isinstance(source, SceneSource) else "")
        + ("; it is a file" if folder.exists() else "; it does not exist")
        + "."
    )


def read_label(file: Path) -> np.ndarray:
    """Label ids of a single-channel picture, uint8 or uint16 [H, W], exactly as stored.

    Raises EncodingError for a file that cannot be read, ReplayError for a picture that does not
    hold ids: colours, a palette, fewer than 8 bits.
    """
    try:
        raw = file.read_bytes()
        _refuse_expanded_png(raw, file)
        data = np.frombuffer(raw, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if data.size else None
    except (OSError, cv2.error) as error:
        raise EncodingError(f"{file.name}: cannot be read: {error}") from error
    if image is None:
        raise EncodingError(f"{file.name}: {data.size} bytes that are no picture, or damaged")
    if image.ndim == 3 and image.shape[2] >= 3:
        if not (image[..., 0] == image[..., 1]).all() or not (image[..., 1] == image[..., 2]).all():
            raise ReplayError(
                f"{file}: a colour or palette picture; expected one gray channel whose values"
                " are label ids. Save the ids as 8-bit gray PNG."
            )
        image = image[..., 0]
    if image.dtype not in (np.uint8, np.uint16) or image.ndim != 2:
        raise ReplayError(f"{file}: {image.dtype} {list(image.shape)}; expected 8-bit gray")
    return np.ascontiguousarray(image)


def _refuse_expanded_png(raw: bytes, file: Path) -> None:
    """Decoders stretch 1-bit gray to 0 and 255 and palettes to colours: ids would be lost."""
    if not raw.startswith(b"\x89PNG") or len(raw) < 26:
        return
    depth, kind = raw[24], raw[25]  # IHDR: PNG specification, 11.2.2
    if kind == 3 or depth < 8:
        what = "a palette" if kind == 3 else f"{depth}-bit"
        raise ReplayError(
            f"{file}: {what} PNG; expected 8-bit gray whose values are label ids. Convert it, for"
            " example with Pillow: Image.fromarray(numpy.array(Image.open(IN)).astype('uint8'))."
        )


def _stamp(frame: Frame | BadFrame) -> int | None:
    return frame.stamp_ns if isinstance(frame, Frame) else None


def _without(stem: str, suffix: str) -> str:
    return stem.removesuffix(suffix) if suffix else stem


def _choose_pairing(stems: list[str], frames: int, still: bool) -> str:
    if still:
        return "stem"
    if all(stem.isdecimal() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if min(numbers) >= SMALLEST_STAMP:
            return "stamp"
        if not frames or max(numbers) <= frames:
            return "number"
    return "order"


def _first_number(numbers: list[int], frames: int) -> int:
    """Frames count from 0; from 1 where 0 is absent and a label would lie one past the end."""
    return 1 if frames and min(numbers) >= 1 and max(numbers) == frames else 0
