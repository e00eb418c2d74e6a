"""Procedural road scenes as a source: "scenes:SEED[:FRAMES]"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay.sources import BadFrame, Frame, Source, SourceInfo, every_frame
from anomaly_seg_ros.scenes import RoadSequence, SceneFrame

DEFAULT_FRAMES = 150  # ten seconds at the scenes' rate
FRAMES_PER_SECOND = 15.0
FRAME_ID = "camera_optical_frame"


class SceneSource(Source):
    """A drawn drive with unknown objects on the road; the same seed gives the same drive."""

    def __init__(self, text: str, size: tuple[int, int] = (480, 640)) -> None:
        super().__init__()
        match = re.fullmatch(r"scenes:([0-9]+)(?::([0-9]+))?", text)
        if match is None:
            raise ReplayError(
                f'{text!r}: procedural scenes are named "scenes:SEED" or "scenes:SEED:FRAMES" with'
                ' whole numbers, for example "scenes:7:60".'
            )
        self.text = text
        self.count = int(match[2]) if match[2] else DEFAULT_FRAMES
        if self.count == 0:
            raise ReplayError(f"{text!r} asks for no frames. Ask for at least one.")
        self.size = size
        self.sequence = RoadSequence(int(match[1]), size, frames_per_second=FRAMES_PER_SECOND)

    def __len__(self) -> int:
        return self.count

    def frames(self, wanted: Callable[[int], bool] = every_frame) -> Iterator[Frame | BadFrame]:
        for index in filter(wanted, range(self.count)):
            scene = self.scene(index)
            yield Frame(index, f"{index:06d}", round(scene.seconds * 1e9), scene.image, FRAME_ID)

    def scene(self, index: int) -> SceneFrame:
        """The frame with its truth: class labels and anomaly labels."""
        return self.sequence.frame(index)

    def describe(self) -> SourceInfo:
        height, width = self.size
        identity = f"{self.text}:{width}x{height}"
        return SourceInfo("scenes", self.text, self.count, FRAMES_PER_SECOND, "", identity)
