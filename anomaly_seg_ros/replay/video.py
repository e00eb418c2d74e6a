"""A video file as a source, read with OpenCV's FFmpeg."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay.sources import BadFrame, Frame, Source, SourceInfo, file_identity

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
        self.frames = int(frames) if 0 < frames < 1e9 else 0
        self.fps = float(fps) if 0.0 < fps < 1e5 else FALLBACK_FPS
        if not 0.0 < fps < 1e5:
            self.warnings.append(f"the video states no frame rate: {FALLBACK_FPS:g} fps assumed")

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
        return self.frames

    def __iter__(self) -> Iterator[Frame | BadFrame]:
        capture = self._open()
        index = read = 0
        try:
            while True:
                picture = _next_picture(capture)
                if picture is None:
                    skipped = self._skip_damage(capture, index)
                    if skipped is None:
                        break
                    picture, lost = skipped
                    for _ in range(lost):
                        yield BadFrame(index, f"{index:06d}", "the picture cannot be decoded")
                        index += 1
                yield Frame(index, f"{index:06d}", round(index / self.fps * 1e9), picture)
                index += 1
                read += 1
        finally:
            capture.release()
        if index < self.frames:
            self.warnings.append(
                f"{read} of the {self.frames} frames that the video promises could be read: its"
                " end is missing or damaged"
            )

    def _skip_damage(self, capture: cv2.VideoCapture, index: int) -> tuple[np.ndarray, int] | None:
        """The next readable picture and how many were lost before it; None at the end."""
        for lost in range(1, min(DAMAGE_TRIES, self.frames - index - 1) + 1):
            picture = _next_picture(capture)
            if picture is not None:
                return picture, lost
        return None

    @functools.cached_property
    def _identity(self) -> str:
        return file_identity([self.path])

    def describe(self) -> SourceInfo:
        return SourceInfo("video", str(self.path), self.frames, self.fps, "", self._identity)


def _next_picture(capture: cv2.VideoCapture) -> np.ndarray | None:
    """The next frame as uint8 [H, W, 3] RGB, or None."""
    done, picture = capture.read()
    if not done or picture is None or picture.size == 0:
        return None
    if picture.ndim == 2:
        return cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    return cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
