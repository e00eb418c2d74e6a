"""A video file out of overlay pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.errors import ReplayError

# H.264 plays everywhere, but the pip wheels of OpenCV cannot encode it; MPEG-4 they all can.
CODECS = ("avc1", "mp4v")


def write_video(
    pictures: Sequence[Path], path: Path, fps: float, advance: Callable[[], object] = lambda: None
) -> str:
    """Join picture files of one recording to an MP4; returns the codec.

    Pictures of another size than the first are fitted into its size with black borders. `advance`
    is called after each picture. The file appears under its name only when it is whole and reads
    back with as many frames. Raises ReplayError.
    """
    part = path.with_name(f".{path.stem}.part{path.suffix}")
    reasons = []
    for codec in CODECS:
        try:
            if not _write(pictures, part, fps, codec, advance):
                reasons.append(f"{codec}: no encoder")
                continue
            if (count := _count_frames(part)) == len(pictures):
                part.replace(path)
                return codec
            reasons.append(f"{codec}: {count} of {len(pictures)} frames read back")
        except OSError as error:
            raise ReplayError(f"cannot write {path}: {error.strerror or error}") from error
        finally:
            part.unlink(missing_ok=True)
    raise ReplayError(
        f"cannot write {path} with this OpenCV ({'; '.join(reasons)}). The pictures are kept: leave"
        " video out of --save, or join them with ffmpeg."
    )


def _write(
    pictures: Sequence[Path], part: Path, fps: float, codec: str, advance: Callable[[], object]
) -> bool:
    size: tuple[int, int] | None = None  # (W, H)
    writer: cv2.VideoWriter | None = None
    try:
        for file in pictures:
            picture = cv2.imread(str(file), cv2.IMREAD_COLOR)
            if picture is None:
                raise ReplayError(f"{file}: cannot be read back for the video. Run again.")
            if writer is None or size is None:
                size = (picture.shape[1], picture.shape[0])
                four = cv2.VideoWriter.fourcc(*codec)
                writer = cv2.VideoWriter(str(part), cv2.CAP_FFMPEG, four, fps, size)
                if not writer.isOpened():
                    return False
            writer.write(_fitted(picture, size))
            advance()
    finally:
        if writer is not None:
            writer.release()
    return writer is not None


def _fitted(picture: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The picture uint8 [H, W, 3] inside `size` (W, H), its proportions kept."""
    height, width = picture.shape[:2]
    if (width, height) == size:
        return picture
    scale = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * scale)), max(1, round(height * scale)))
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    left, top = (size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2
    canvas[top : top + inner[1], left : left + inner[0]] = cv2.resize(
        picture, inner, interpolation=cv2.INTER_AREA
    )
    return canvas


def _count_frames(path: Path) -> int:
    capture = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG)
    try:
        count = 0
        while capture.grab():
            count += 1
        return count
    finally:
        capture.release()
