"""Any dataset as a folder of images/ and labels/ at another size: small, and quick to read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path

import cv2
import numpy as np

from training.data.anomaly_frames import AnomalyFrames
from training.data.catalogue import open_dataset
from training.data.folder import DESCRIPTION, Description
from training.data.labelled_frames import DatasetError
from training.data.parallel import in_parallel

QUALITY = {"webp": cv2.IMWRITE_WEBP_QUALITY, "jpg": cv2.IMWRITE_JPEG_QUALITY}
FORMATS = (*QUALITY, "png")


@dataclass(frozen=True)
class Conversion:
    """size: width and height of all frames, None = as they are. quality: 1..100, png has none."""

    size: tuple[int, int] | None = None
    format: str = "webp"
    quality: int = 90


def convert(spec: str, root: Path, out: Path, conversion: Conversion, workers: int = 1) -> int:
    """Write the frames of a dataset to out/images, out/labels and, with classes, out/classes.

    Images are antialiased, labels nearest. A stopped run goes on where it was: an image is written
    last, so that where it is, all of the frame is. Returns the number of frames. Raises
    DatasetError, also for a folder that holds another conversion.
    """
    if conversion.format not in FORMATS or not 1 <= conversion.quality <= 100:
        raise DatasetError(
            f"format {conversion.format!r} at quality {conversion.quality};"
            f" expected one of {', '.join(FORMATS)} at 1..100"
        )
    frames = open_dataset(spec, root)
    _begin(frames, out, conversion)
    indices = [
        index
        for index, name in enumerate(frames.names)
        if not _image_file(out, name, conversion).is_file()
    ]
    work = partial(_convert_frame, spec, root, out, conversion)
    in_parallel(work, indices, workers, f"convert {spec}")
    return len(frames.names)


def _begin(frames: AnomalyFrames, out: Path, conversion: Conversion) -> None:
    """Describe the folder, or check that it holds the same conversion."""
    made: dict[str, str | int] = {"dataset": frames.name}
    made |= {
        key: "x".join(map(str, value)) if isinstance(value, tuple) else value or "as stored"
        for key, value in asdict(conversion).items()
    }
    found = Description.read(out)
    if found is not None and found.made != made:
        raise DatasetError(f"{out} holds another conversion, {found.made}; choose another folder")
    if found is None and (out / "images").exists():
        raise DatasetError(
            f"{out} holds images/ but no {DESCRIPTION}, so it was not converted here;"
            " choose another folder"
        )
    times = frames.times
    out.mkdir(parents=True, exist_ok=True)
    Description(
        title=frames.title,
        space=None if frames.space is None else frames.space.name,
        protocols=frames.protocols,
        source=frames.source,
        stretch=_stretch(frames, conversion.size),
        excluded=tuple((exclusion.name, exclusion.reason) for exclusion in frames.excluded),
        times=None if times is None else dict(zip(frames.names, times, strict=True)),
        made=made,
    ).write(out)


def _stretch(frames: AnomalyFrames, size: tuple[int, int] | None) -> float:
    """True width over width of the converted frames, by the first frame."""
    if size is None:
        return frames.stretch
    rows, columns = frames.read(0).anomaly.shape
    return round(frames.stretch * columns / rows * size[1] / size[0], 6)


@lru_cache(maxsize=1)
def _opened(spec: str, root: Path) -> AnomalyFrames:
    return open_dataset(spec, root)


def _convert_frame(spec: str, root: Path, out: Path, conversion: Conversion, index: int) -> None:
    frames = _opened(spec, root)
    sample = frames.read(index)
    size = conversion.size or (sample.anomaly.shape[1], sample.anomaly.shape[0])
    labels = {"labels": sample.anomaly}
    if frames.space is not None and sample.truth is not None:
        labels["classes"] = sample.truth
    for folder, values in labels.items():
        resized = cv2.resize(values, size, interpolation=cv2.INTER_NEAREST_EXACT)
        _write(out / folder / f"{sample.name}.png", resized, [])
    flag = QUALITY.get(conversion.format)
    pixels = cv2.cvtColor(resized_image(sample.image, size), cv2.COLOR_RGB2BGR)
    options = [] if flag is None else [flag, conversion.quality]
    _write(_image_file(out, sample.name, conversion), pixels, options)


def resized_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """image uint8 [H, W, 3] at size (width, height): area where it shrinks, linear elsewhere."""
    rows, columns = image.shape[:2]
    smaller = (min(columns, size[0]), min(rows, size[1]))
    if smaller != (columns, rows):
        image = cv2.resize(image, smaller, interpolation=cv2.INTER_AREA)
    if smaller != size:
        image = cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)
    return image


def _image_file(out: Path, name: str, conversion: Conversion) -> Path:
    return out / "images" / f"{name}.{conversion.format}"


def _write(file: Path, pixels: np.ndarray, options: list[int]) -> None:
    """Write a picture whole or not at all."""
    fine, data = cv2.imencode(file.suffix, pixels, options)
    if not fine:
        raise DatasetError(f"{file}: OpenCV cannot write {pixels.shape} {pixels.dtype} as it")
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f".{file.name}")
    draft.write_bytes(data.tobytes())
    draft.replace(file)
