"""How an engine is named on a command line: BACKEND[:PRECISION][@DEVICE]."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomaly_seg_ros.errors import BackendError

if TYPE_CHECKING:
    from anomaly_seg_ros.backends import Runner
    from anomaly_seg_ros.bundle import Bundle

FORM = re.compile(r"(?P<backend>\w+)(?::(?P<precision>\w+))?(?:@(?P<device>[\w:]+))?")


@dataclass(frozen=True)
class EngineName:
    """A backend, the precision of its graphs and its device; None: the backend's own choice."""

    backend: str
    precision: str = "fp32"
    device: str | None = None

    def __str__(self) -> str:
        return f"{self.backend}:{self.precision}" + (f"@{self.device}" if self.device else "")


def parse_engine(text: str) -> EngineName:
    """Read "onnxruntime", "tensorrt:fp16" or "onnxruntime:fp32@cuda:0". Raises BackendError."""
    match = FORM.fullmatch(text.strip())
    if match is None:
        raise BackendError(
            f"engine {text!r}; expected BACKEND[:PRECISION][@DEVICE], such as onnxruntime:int8 or "
            "onnxruntime:fp32@cuda:0"
        )
    return EngineName(match["backend"], match["precision"] or "fp32", match["device"])


def open_engine(bundle: Bundle, name: EngineName, threads: int | None = None) -> Runner:
    """Load the bundle on the named engine. Raises BackendError, see `backends.load_runner`."""
    from anomaly_seg_ros.backends import load_runner

    return load_runner(bundle, name.backend, name.device, name.precision, threads)
