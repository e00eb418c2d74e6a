"""A video file as a source, read with OpenCV's FFmpeg."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2

from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay.sources import (
    BadFrame,
    Frame,
    Source,
    SourceInfo,
    every_frame,
    file_identity,
    plausible_count,
)

FALLBACK_FPS = 25.0  # for files that state no rate
DAMAGE_TRIES = 32  # frames to look past before a damaged file counts as ended


def quiet_decoders() -> None:
    """Keep FFmpeg and OpenCV from writing to the terminal: we report what they could not read.

    Changes the process, so only command lines call it, before the first video is opened.
    """
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)


class VideoSource(Source):
    """Frames of a video, stamped index / fps from 0.

    A container states how many frames it holds; when fewer can be read, `warnings` says so.
    Raises ReplayError when the file cannot be opened or holds no picture.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        if path.stat().st_size == 0:
            raise ReplayError(f"{path}: the file is empty (0 bytes). Copy or record it again.")
        capture = self._open()
        frames = capture.get(cv2.CAP_PROP_FRAME_COUNT)
        fps = capture.get(cv2.CAP_PROP_FPS)
        readable = capture.read()[0]
        capture.release()
        if not readable:
            raise ReplayError(
                f"{path}: opens as a video, but not one picture can be decoded: damaged, or a"
                " codec that this OpenCV lacks. Convert it (ffmpeg -i IN -c:v libx264 OUT.mp4)."
            )
        self.count = plausible_count(frames, path.stat().st_size)
        self.fps = float(fps) if 0.0 < fps < 1e5 else FALLBACK_FPS
        if not 0.0 < fps < 1e5:
            self.warn(f"the video states no frame rate: {FALLBACK_FPS:g} fps assumed")

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise ReplayError(
                f"{self.path}: cannot be opened as a video ({self.path.stat().st_size} bytes): cut"
                " short, damaged, or of a kind that this OpenCV cannot read. A recording that was"
                " cut off can often be mended with ffmpeg or untrunc."
            )
        return capture

    def __len__(self) -> int:
        return self.count

    def frames(self, wanted: Callable[[int], bool] = every_frame) -> Iterator[Frame | BadFrame]:
        capture = self._open()
        index = read = 0
        try:
            while (lost := self._advance(capture, index)) is not None:
                for missing in filter(wanted, range(index, index + lost)):
                    yield BadFrame(missing, f"{missing:06d}", "the picture cannot be decoded")
                index += lost
                if wanted(index):
                    yield self._frame(capture, index)
                index += 1
                read += 1
        finally:
            capture.release()
        if index < self.count:
            self.warn(
                f"{read} of the {self.count} frames that the video promises could be read: its"
                " end is missing or damaged"
            )

    def _advance(self, capture: cv2.VideoCapture, index: int) -> int | None:
        """Go to the next readable picture; how many were lost on the way, None at the end."""
        for lost in range(max(1, min(DAMAGE_TRIES, self.count - index))):
            if capture.grab():
                return lost
        return None

    def _frame(self, capture: cv2.VideoCapture, index: int) -> Frame | BadFrame:
        name = f"{index:06d}"
        done, picture = capture.retrieve()
        if not done or picture is None or picture.size == 0:
            return BadFrame(index, name, "the picture cannot be decoded")
        code = cv2.COLOR_GRAY2RGB if picture.ndim == 2 else cv2.COLOR_BGR2RGB
        return Frame(index, name, round(index / self.fps * 1e9), cv2.cvtColor(picture, code))

    @functools.cached_property
    def _identity(self) -> str:
        return file_identity([self.path])

    def describe(self) -> SourceInfo:
        return SourceInfo("video", str(self.path), self.count, self.fps, "", self._identity)
