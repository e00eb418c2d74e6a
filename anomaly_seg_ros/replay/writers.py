"""Results of one frame as files: pictures, scores, masks, labels, and parts of a bag.

Every file is written under another name and then renamed, so that a kill leaves none half done.
"""

from __future__ import annotations

import io
import json
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.bundle_parts import SYNTHESIS
from anomaly_seg_ros.detector import MAPS, Detection
from anomaly_seg_ros.errors import ReplayError
from anomaly_seg_ros.replay.sources import Frame

PNG_LEVEL = 1  # zlib level: at 1280x720 three times as fast as the default for 10 % more bytes
SCORE_CODES = 65534  # codes 1..65535 span the range, 0 marks pixels the network did not look at
JPEG_QUALITY = 95  # of camera images that go into a result bag


@dataclass(frozen=True)
class ScoreFormat:
    """How scores are stored: 16-bit PNG over [low, high], or npz with float32 `score`."""

    kind: str = "png16"  # png16 | npz
    low: float = 0.0
    high: float = 1.0

    def describe(self) -> dict[str, object]:
        """What is needed to read the files again."""
        if self.kind == "npz":
            return {"format": "npz", "array": "score", "dtype": "float32", "not_looked_at": "NaN"}
        return {
            "format": "png16",
            "low": self.low,
            "high": self.high,
            "not_looked_at": 0,
            "score": f"low + (code - 1) / {SCORE_CODES} * (high - low)",
        }


def encode_score(score: np.ndarray, form: ScoreFormat) -> tuple[np.ndarray, int]:
    """Score float32 [H, W] to codes uint16 [H, W], and how many pixels the range clipped."""
    known = ~np.isnan(score)
    clipped = int(np.count_nonzero(known & ((score < form.low) | (score > form.high))))
    unit = (np.clip(score, form.low, form.high) - form.low) / (form.high - form.low)
    codes = np.rint(np.where(known, unit, 0.0) * SCORE_CODES).astype(np.uint16) + np.uint16(1)
    codes[~known] = 0
    return codes, clipped


def decode_score(codes: np.ndarray, low: float, high: float) -> np.ndarray:
    """Codes uint16 [H, W] of encode_score to float32 [H, W], NaN where not looked at."""
    score = low + (codes.astype(np.float32) - 1.0) / SCORE_CODES * (high - low)
    score[codes == 0] = np.nan
    return score.astype(np.float32)


def read_score(path: Path) -> np.ndarray:
    """A score file of `anomaly-seg detect` as float32 [H, W]. Raises ReplayError."""
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            return arrays["score"]
    codes = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if codes is None or codes.dtype != np.uint16 or codes.ndim != 2:
        raise ReplayError(f"{path}: not a 16-bit single-channel PNG of scores")
    try:
        form = json.loads((path.parent / SCORE_FORMAT_NAME).read_text())
        return decode_score(codes, form["low"], form["high"])
    except (OSError, ValueError, KeyError) as error:
        raise ReplayError(
            f"{path.parent / SCORE_FORMAT_NAME}: the range of the scores cannot be read ({error})."
            " It is written beside the scores: copy it with them."
        ) from error


SCORE_FORMAT_NAME = "format.json"


def write_atomically(path: Path, data: bytes | memoryview) -> int:
    """Write a file whole or not at all; returns its bytes. Raises ReplayError."""
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_bytes(data)
        os.replace(part, path)  # noqa: PTH105 - the name says that it replaces
    except OSError as error:
        with suppress(OSError):  # a parent that is a file has no such part either
            part.unlink()
        raise ReplayError(
            f"cannot write {path}: {error.strerror or error}. What is finished is kept: make room"
            " and run the same command again."
        ) from error
    return len(data)


def png_bytes(image: np.ndarray) -> bytes:
    """Encode uint8 [H, W, 3] RGB, or uint8 or uint16 [H, W]."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".png", image, [cv2.IMWRITE_PNG_COMPRESSION, PNG_LEVEL])
    if not done:
        raise ReplayError(f"OpenCV cannot write a PNG of {image.dtype} {list(image.shape)}")
    return data.tobytes()


def jpeg_bytes(image: np.ndarray, quality: int = JPEG_QUALITY) -> bytes:
    """Encode uint8 [H, W, 3] RGB; quality 1 to 100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    done, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not done:
        raise ReplayError(f"OpenCV cannot write a JPEG of {image.dtype} {list(image.shape)}")
    return data.tobytes()


@dataclass(frozen=True)
class FrameWriter:
    """Writes what `kinds` names for one frame: a file of each in the folder of its kind.

    overlay_part and bag lie in the parts folder until the video and the bag are made of them.
    """

    out: Path
    kinds: frozenset[str]
    score: ScoreFormat

    def prepare(self) -> None:
        """Write what describes the files of all frames."""
        if "score" in self.kinds:
            text = json.dumps(self.score.describe(), indent=1) + "\n"
            write_atomically(self.out / "scores" / SCORE_FORMAT_NAME, text.encode())

    def write(
        self,
        frame: Frame,
        found: Detection,
        overlay: np.ndarray | None,
        panels: np.ndarray | None = None,
    ) -> tuple[dict[str, tuple[str, int]], int]:
        """Write the frame's files: kind -> (path below out, bytes), and clipped score pixels."""
        files: dict[str, tuple[str, int]] = {}
        clipped = 0

        def write(kind: str, path: str, data: bytes | memoryview) -> None:
            files[kind] = (path, write_atomically(self.out / path, data))

        for kind, folder, picture in (
            ("overlay", "overlays", overlay),
            ("overlay_part", "parts", overlay),
            ("panels", "panels", panels),
            ("synthesis", "synthesis", found.extras.get(SYNTHESIS)),
            ("mask", "masks", found.mask),
            ("labels", "labels", found.labels),
        ):
            if kind in self.kinds and picture is not None:
                write(kind, f"{folder}/{frame.name}.png", png_bytes(picture))
        if "score" in self.kinds and found.score is not None:
            if self.score.kind == "npz":
                data = npz_bytes(score=found.score.astype(np.float32, copy=False))
                write("score", f"scores/{frame.name}.npz", data)
            else:
                codes, clipped = encode_score(found.score, self.score)
                write("score", f"scores/{frame.name}.png", png_bytes(codes))
        if "bag" in self.kinds:
            write("bag", f"parts/{frame.name}.npz", bag_part(frame, found))
        return files, clipped


def bag_part(frame: Frame, found: Detection) -> memoryview:
    """What the result bag needs of a frame: its message or a JPEG of it, and what was found."""
    message = frame.message
    image = message.cdr if message is not None else jpeg_bytes(frame.image)
    arrays = {
        "message_type": np.array(message.message_type if message is not None else ""),
        "image": np.frombuffer(image, np.uint8),
    }
    for name in (*MAPS, SYNTHESIS):
        values = found.array(name)
        if values is not None:
            arrays[name] = values
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getbuffer()


def npz_bytes(**arrays: np.ndarray) -> memoryview:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getbuffer()
