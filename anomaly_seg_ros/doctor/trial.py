"""What our own package can do here: backends, bundles, one frame, the engine cache.

Each part runs in a process of its own (see surroundings) and tells plain JSON.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from anomaly_seg_ros.errors import AnomalySegError


def backend_reasons() -> dict[str, str | None]:
    """Why each backend cannot run; None: it can."""
    from anomaly_seg_ros.backends import BACKENDS

    return {name: backend.unavailable_reason() for name, backend in BACKENDS.items()}


def bundle_faults() -> dict[str, str]:
    """What is wrong with each shipped bundle; empty: nothing."""
    from anomaly_seg_ros.bundle import Bundle, shipped_bundles

    faults = {}
    for name in shipped_bundles():
        try:
            Bundle.open(name)
            faults[name] = ""
        except AnomalySegError as error:
            faults[name] = str(error)
    return faults


def try_a_frame() -> dict[str, Any]:
    """One black frame through the default bundle on what `auto` picks."""
    from anomaly_seg_ros.backends import load_runner
    from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle

    try:
        runner = load_runner(Bundle.open(DEFAULT_BUNDLE))
        try:
            seconds, info = runner.warmup(), runner.describe()
        finally:
            runner.close()
    except AnomalySegError as error:
        return {"fault": str(error)}
    return {
        "fault": "",
        "bundle": DEFAULT_BUNDLE,
        "backend": info.backend,
        "device": info.device,
        "seconds": seconds,
    }


def cache_state() -> dict[str, Any]:
    """The engine cache: can it be written, what lies in it that no run can use."""
    from anomaly_seg_ros.backends.engine_cache import BAD, default_cache

    cache = default_cache()
    folder = nearest_folder(cache.folder)
    entries = cache.entries() if os.access(folder, os.R_OK | os.X_OK) else []
    return {
        "folder": str(cache.folder),
        "writable": os.access(folder, os.W_OK | os.X_OK),
        "free": shutil.disk_usage(folder).free,
        "bytes": sum(entry.size for entry in entries),
        "engines": [
            {"key": entry.side_car.get("key"), "bytes": entry.side_car.get("bytes")}
            for entry in entries
            if entry.side_car
        ],
        "damaged": sum(
            1
            for entry in entries
            if not entry.side_car or any(path.suffix == BAD for path in entry.paths)
        ),
    }


def nearest_folder(folder: Path) -> Path:
    """The folder itself, or the one above it that exists: where it would be made."""
    while not folder.is_dir() and folder != folder.parent:
        folder = folder.parent
    return folder


PARTS: Mapping[str, Callable[[], Any]] = {
    "backends": backend_reasons,
    "bundles": bundle_faults,
    "frame": try_a_frame,
    "cache": cache_state,
}
