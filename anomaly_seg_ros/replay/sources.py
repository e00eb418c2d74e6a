"""One door to every recording: images, video, ROS bag or procedural scenes, frame by frame."""

from __future__ import annotations

import hashlib
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from anomaly_seg_ros.errors import ReplayError

IMAGE_SUFFIXES = frozenset(
    {".png", ".jpg", ".jpeg", ".jpe", ".jp2", ".webp", ".bmp", ".dib", ".tif", ".tiff"}
    | {".ppm", ".pgm", ".pnm", ".pbm", ".avif"}
)
VIDEO_SUFFIXES = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".m2ts"}
    | {".mjpg", ".mjpeg", ".wmv", ".flv", ".ogv", ".3gp"}
)
BAG_SUFFIXES = frozenset({".mcap", ".db3", ".bag"})
IDENTITY_SAMPLE = 4096  # bytes hashed at each end of a file to tell recordings apart


@dataclass(frozen=True)
class RawMessage:
    """The image message as a ROS 2 bag stores it, to be copied without loss."""

    message_type: str  # "sensor_msgs/msg/Image" or "sensor_msgs/msg/CompressedImage"
    cdr: bytes


@dataclass(frozen=True)
class Frame:
    """One picture of a recording.

    image is uint8 [H, W, 3] RGB, C-contiguous; it may be a read-only view of the recording's bytes.
    stamp_ns is when the picture was taken (header stamp, or index / fps of a video), None where the
    recording does not know; log_ns is when the bag received it. index counts the recording's frames
    from 0, unreadable ones included; name is the file's stem or the index as "000123".
    """

    index: int
    name: str
    stamp_ns: int | None
    image: np.ndarray
    frame_id: str = ""
    topic: str = ""
    log_ns: int | None = None
    message: RawMessage | None = field(default=None, repr=False)


@dataclass(frozen=True)
class BadFrame:
    """A frame that could not be read: it keeps its index, and the reason is reported."""

    index: int
    name: str
    reason: str


@dataclass(frozen=True)
class CameraModel:
    """What a bag's CameraInfo says: sizes in pixels, k [9], r [9], p [12] row by row."""

    height: int
    width: int
    distortion_model: str
    d: tuple[float, ...]
    k: tuple[float, ...]
    r: tuple[float, ...]
    p: tuple[float, ...]
    frame_id: str


@dataclass(frozen=True)
class SourceInfo:
    """What a source is. frames 0 = unknown; identity tells recordings apart, not where they lie."""

    kind: str  # images | video | bag | scenes
    path: str
    frames: int
    fps: float | None
    topic: str
    identity: str


def every_frame(index: int) -> bool:
    """The choice that leaves nothing out."""
    return True


class Source(ABC):
    """A recording: iterate for its frames, from the start each time. Memory stays bounded."""

    def __init__(self) -> None:
        self.warnings: list[str] = []  # filled while iterating: what the recording did not deliver

    def warn(self, text: str) -> None:
        """Note something once, however often the recording is read."""
        if text not in self.warnings:
            self.warnings.append(text)

    @abstractmethod
    def frames(self, wanted: Callable[[int], bool] = every_frame) -> Iterator[Frame | BadFrame]:
        """Frames in recording order; those whose index is not wanted are passed over undecoded."""

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        return self.frames()

    @abstractmethod
    def __len__(self) -> int:
        """Frames the recording promises; 0 = unknown."""

    @abstractmethod
    def describe(self) -> SourceInfo:
        """Kind, length, rate and identity."""

    def __bool__(self) -> bool:
        return True  # a source of unknown length is still a source

    def camera(self) -> CameraModel | None:
        """The camera's calibration, where the recording holds one."""
        return None

    def close(self) -> None:  # noqa: B027 - most sources hold nothing open between iterations
        """Release files. Iterating afterwards is an error."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def open_source(
    path: str | Path,
    *,
    topic: str | None = None,
    not_topics: tuple[str, ...] = (),
    size: tuple[int, int] = (480, 640),
) -> Source:
    """Open a recording by what it is.

    path: an image or a folder of images, a video file, a ROS 2 bag (folder, .mcap or .db3), a ROS 1
    .bag, or "scenes:SEED[:FRAMES]" for procedural road scenes of `size` (H, W). topic picks the
    image topic of a bag; without it the bag must hold exactly one besides `not_topics` (labels).
    Raises ReplayError for what is missing, empty, damaged or of no known kind.
    """
    # Imported here: each kind needs its own libraries, and --help needs none of them.
    if str(path).startswith("scenes:"):
        from anomaly_seg_ros.replay.scene_source import SceneSource

        _refuse_topic(topic, path)
        return SceneSource(str(path), size)
    path = Path(path).expanduser()
    try:
        return _open_path(path, topic, not_topics)
    except OSError as error:
        raise ReplayError(f"{path}: cannot be read ({error.strerror or error}).") from error


def _open_path(path: Path, topic: str | None, not_topics: tuple[str, ...]) -> Source:
    if not path.exists():
        raise ReplayError(
            f"{path} does not exist. Give an image, a folder of images, a video, a ROS bag or"
            ' "scenes:SEED[:FRAMES]".'
        )
    suffix = path.suffix.lower()
    if suffix in BAG_SUFFIXES or (path.is_dir() and _is_bag_folder(path)):
        from anomaly_seg_ros.replay.bags import BagSource

        return BagSource(path, topic, not_topics=not_topics)
    if path.is_dir() or suffix in IMAGE_SUFFIXES:
        from anomaly_seg_ros.replay.images import ImageSource

        _refuse_topic(topic, path)
        return ImageSource(path)
    if suffix in VIDEO_SUFFIXES:
        from anomaly_seg_ros.replay.video import VideoSource

        _refuse_topic(topic, path)
        return VideoSource(path)
    raise ReplayError(
        f"{path}: no known kind of recording (suffix {suffix or 'none'!r}). Known: images"
        f" {_listed(IMAGE_SUFFIXES)}; videos {_listed(VIDEO_SUFFIXES)}; bags"
        f" {_listed(BAG_SUFFIXES)} or a bag folder."
    )


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key that puts "frame9" before "frame10"."""
    parts = re.split(r"([0-9]+)", text.casefold())
    key = tuple((0, int(part)) if part.isdecimal() else (1, part) for part in parts if part)
    return (*key, (1, text))


def image_files(folder: Path) -> list[Path]:
    """The image files of a folder (not of its subfolders), in natural order."""
    files = [
        file
        for file in folder.iterdir()
        if file.suffix.lower() in IMAGE_SUFFIXES
        and not file.name.startswith(".")
        and file.is_file()
    ]
    return sorted(files, key=lambda file: natural_key(file.name))


def plausible_count(count: float, most: int) -> int:
    """A stated number of frames, 0 (unknown) where it is more than the file can hold."""
    return int(count) if 0 < count <= most else 0


def file_identity(files: list[Path]) -> str:
    """A hash of names, sizes and both ends of each file: the same wherever the files lie."""
    digest = hashlib.sha256()
    for file in files:
        size = file.stat().st_size
        digest.update(os.fsencode(file.name) + f"\0{size}\0".encode())
        with file.open("rb") as stream:
            digest.update(stream.read(IDENTITY_SAMPLE))
            if size > 2 * IDENTITY_SAMPLE:
                stream.seek(-IDENTITY_SAMPLE, 2)
                digest.update(stream.read(IDENTITY_SAMPLE))
    return digest.hexdigest()[:16]


def _is_bag_folder(folder: Path) -> bool:
    if (folder / "metadata.yaml").is_file():
        return True
    return any(file.suffix.lower() in {".mcap", ".db3"} for file in folder.iterdir())


def _refuse_topic(topic: str | None, path: str | Path) -> None:
    if topic is not None:
        raise ReplayError(f"{path} has no topics, yet topic {topic!r} was asked for. Leave it out.")


def _listed(suffixes: frozenset[str]) -> str:
    return " ".join(sorted(suffixes))
