"""Still images as a source: one file, or all images of a folder in natural order."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np

from anomaly_seg_ros.errors import EncodingError, ReplayError
from anomaly_seg_ros.imaging.encodings import decode_compressed
from anomaly_seg_ros.replay.sources import (
    BadFrame,
    Frame,
    Source,
    SourceInfo,
    every_frame,
    file_identity,
    image_files,
)

COMPRESSED_STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"RIFF", b"BM")  # JPEG, PNG, WebP, BMP


def decode_image(data: bytes) -> np.ndarray:
    """Decode an image file of any kind OpenCV reads to uint8 [H, W, 3] RGB.

    Gray becomes three equal channels, 16 bit keeps its high byte, alpha is dropped.
    Raises EncodingError for damaged or unknown content.
    """
    if not data:
        raise EncodingError("the file is empty (0 bytes)")
    if data.startswith(COMPRESSED_STARTS):
        return decode_compressed(data)
    try:
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
        image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        raise EncodingError(f"{len(data)} bytes cannot be decoded as an image: {error}") from error
    if image is None:
        raise EncodingError(
            f"{len(data)} bytes starting with {data[:8].hex(' ')} cannot be decoded as an image:"
            " damaged, cut off, or of a kind that this OpenCV does not read"
        )
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


class ImageSource(Source):
    """Images of a folder (subfolders are left alone), or a single image.

    Raises ReplayError when the folder holds no image.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.files = image_files(path) if path.is_dir() else [path]
        if not self.files:
            inside = sum(1 for _ in path.iterdir())
            raise ReplayError(
                f"{path}: no image in this folder ({inside} other entries; subfolders are not"
                " searched). Name the folder that holds the images."
            )
        stems = Counter(file.stem for file in self.files)
        # road.jpg beside road.png: both keep their suffix, so that no result overwrites another.
        self.names = [file.stem if stems[file.stem] == 1 else file.name for file in self.files]
        if len(set(self.names)) < len(self.names):  # a.jpg, a.png and a.jpg.png
            self.names = [file.name for file in self.files]

    def __len__(self) -> int:
        return len(self.files)

    def frames(self, wanted: Callable[[int], bool] = every_frame) -> Iterator[Frame | BadFrame]:
        for index, (file, name) in enumerate(zip(self.files, self.names, strict=True)):
            if not wanted(index):
                continue
            try:
                image = decode_image(file.read_bytes())
            except (EncodingError, OSError) as error:
                yield BadFrame(index, name, f"{file.name}: {error}")
                continue
            yield Frame(index, name, None, image)

    @functools.cached_property
    def _identity(self) -> str:
        return file_identity(self.files)

    def describe(self) -> SourceInfo:
        return SourceInfo("images", str(self.path), len(self.files), None, "", self._identity)
