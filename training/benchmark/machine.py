"""The machine that figures came from, for the report."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import torch

LIBRARIES = ("numpy", "opencv-python-headless", "opencv-python", "torch", "onnxruntime")


def describe_machine() -> dict[str, str]:
    """Processor, cores, accelerator and versions, as text."""
    told = {"processor": _processor(), "cores": str(cores())}
    if torch.cuda.is_available():
        told["accelerator"] = torch.cuda.get_device_name()
    told["python"] = platform.python_version()
    for library in LIBRARIES:
        try:
            told[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return told


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
