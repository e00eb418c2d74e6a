"""Images that no camera should send, in every encoding there is: each must be refused and told."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

from anomaly_seg_ros.imaging.encodings import SUPPORTED_ENCODINGS
from anomaly_seg_ros.nodes.soak.faults import Trial
from anomaly_seg_ros.nodes.statistics import FAILED, MALFORMED

HEIGHT, WIDTH = 6, 8
STEP = 8 * WIDTH  # more bytes than a row of any encoding needs
ROWS = HEIGHT + HEIGHT // 2  # with the chroma rows of NV12
SEED = 20
PACE = 0.002  # seconds between two images
UINT32 = (1 << 32) - 1
ARRIVAL_PATIENCE = 30.0
UNKNOWN = (
    "",
    "rgb9",
    "RGB8",
    "32FC3",
    "64FC1",
    "h264",
    "bayer_rggb12",
    "\u00e4\u00f6\u00fc",
    "x" * 300,
)
LOWEST, HIGHEST = -(1 << 31), (1 << 31) - 1  # of the seconds of a stamp
ODD_STAMPS = (
    (LOWEST, 0),
    (-1, 999_999_999),
    (0, 0),
    (HIGHEST, 999_999_999),
    (1, (1 << 32) - 1),  # more nanoseconds than a second has
)


def malformed_raw(trial: Trial) -> None:
    """Every encoding with data cut off, wrong steps and sizes; unknown encodings."""
    _refused(trial, list(raw_corpus()))


def malformed_compressed(trial: Trial) -> None:
    """Broken JPEG and PNG files, and what is neither."""
    _refused(trial, list(compressed_corpus()))


def odd_stamps(trial: Trial) -> None:
    """Stamps before 1970, beyond 2038, and with more nanoseconds than there are."""
    for stamp in ODD_STAMPS:
        trial.rig.expect_answer(stamp)
    trial.check("stamps pass through unchanged", True, f"{len(ODD_STAMPS)} of them")


def _refused(trial: Trial, messages: list[Any]) -> None:
    """Send them all; each must be counted as malformed, told by its kind, and hurt nothing."""
    rig = trial.rig
    rig.camera.reset_statistics()
    chosen = messages[:: trial.effort.every] * trial.effort.repeats
    sent = len(chosen)
    for message in chosen:
        rig.publish(message)
        rig.spin(PACE)
    rig.camera.spin_until(
        lambda: int(rig.camera.diagnostics["images received"]) >= sent,
        time.perf_counter() + ARRIVAL_PATIENCE,
    )
    counts = rig.counts()
    kinds = {k: int(v) for k, v in rig.camera.diagnostics.items() if k.startswith("bad input: ")}
    trial.measured.update(images=sent, kinds=len(kinds))
    trial.check(
        "each is counted",
        counts["received"] == sent and counts[MALFORMED] == sent and counts[FAILED] == 0,
        f"{sent} sent, {counts['received']} received, {counts[MALFORMED]} malformed, "
        f"{counts[FAILED]} failed in the engine",
    )
    trial.check(
        "each has a kind on /diagnostics",
        sum(kinds.values()) == sent,
        f"{len(kinds)} kinds with {sum(kinds.values())} images",
    )
    told = any(text.startswith("WARN: malformed images") for text in rig.reported)
    trial.check("/diagnostics warns", told, "; ".join(rig.reported[-3:]))


def raw_corpus() -> Iterator[Image]:
    """Each encoding with each fault, then unknown encodings."""
    for encoding in SUPPORTED_ENCODINGS:
        for fault in FAULTS:
            message = _whole(encoding)
            fault(message)
            yield message
    for encoding in UNKNOWN:
        yield _whole(encoding)


def _whole(encoding: str) -> Image:
    """An image that every encoding can be read from."""
    message = Image(height=HEIGHT, width=WIDTH, step=STEP, encoding=encoding)
    message.data.frombytes(bytes(STEP * ROWS))
    return message


def _last_byte_missing(message: Image) -> None:
    rows = ROWS if message.encoding.startswith("nv") else HEIGHT
    del message.data[rows * STEP - 1 :]


def _half_missing(message: Image) -> None:
    del message.data[HEIGHT * STEP // 2 :]


def _empty(message: Image) -> None:
    del message.data[:]


def _step_of_zero(message: Image) -> None:
    message.step = 0


def _step_too_short(message: Image) -> None:
    message.step = WIDTH - 1


def _step_enormous(message: Image) -> None:
    message.step = UINT32


def _no_rows(message: Image) -> None:
    message.height = 0


def _no_columns(message: Image) -> None:
    message.width = 0


def _nothing(message: Image) -> None:
    message.height = message.width = message.step = 0
    _empty(message)


def _enormous(message: Image) -> None:
    message.height = message.width = message.step = UINT32


FAULTS: tuple[Callable[[Image], None], ...] = (
    _last_byte_missing,
    _half_missing,
    _empty,
    _step_of_zero,
    _step_too_short,
    _step_enormous,
    _no_rows,
    _no_columns,
    _nothing,
    _enormous,
)


def compressed_corpus() -> Iterator[CompressedImage]:
    """Files that break off in their heads, files of noise, other formats, nothing at all."""
    chance = random.Random(SEED)
    noise = np.random.default_rng(SEED).integers(0, 255, (60, 80, 3), np.uint8)
    jpeg, png = (cv2.imencode(ending, noise)[1].tobytes() for ending in (".jpg", ".png"))
    bodies = [
        b"",
        b"\x00",
        jpeg[:2],
        jpeg[:20],
        png[:8],
        png[:30],
        b"\xff\xd8\xff\xe0" + chance.randbytes(400),
        png[:16] + b"\xff" * 8 + png[24:60],  # a size of 4 thousand million pixels
        b"GIF89a" + bytes(40),
        b"RIFF" + bytes(60),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        *(chance.randbytes(chance.randrange(1, 5000)) for _ in range(50)),
    ]
    for form in ("jpeg", "png", "rgb8; jpeg compressed bgr8", "", "\u00e4"):
        for body in bodies:
            message = CompressedImage(format=form)
            message.data.frombytes(body)
            yield message
