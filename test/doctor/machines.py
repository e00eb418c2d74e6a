"""Surroundings as the doctor would find them: a healthy machine, and ways to fall ill."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from anomaly_seg_ros.doctor import Finding, Probe, Surroundings, examine
from anomaly_seg_ros.doctor.surroundings import MODULES, Imported
from anomaly_seg_ros.machine import Gpu, Machine

GPU = Gpu("NVIDIA L4", "570.1", 30.0, 2000.0, 40.0)


def healthy(**changes: Any) -> Surroundings:
    """A CPU machine with everything that the nodes need, ROS 2 from wheels; then `changes`."""
    imported = {name: Imported("1.0") for name in MODULES if name not in ("tensorrt", "cv_bridge")}
    imported["numpy"] = Imported("2.4.6")
    imported["onnxruntime"] = Imported("1.31.1", "CPUExecutionProvider")
    imported["rclpy"] = Imported("9.1.2", "rmw_fastrtps_cpp")
    imported["cuda.bindings.runtime"] = Imported("13.5", "cudaErrorInsufficientDriver")
    around = Surroundings(
        environ={"FASTDDS_DEFAULT_PROFILES_FILE": __file__, "AMENT_PREFIX_PATH": "/venv"},
        python=(3, 11, 7),
        platform="Debian 12, x86_64",
        prefix="/venv",
        virtual=True,
        distributions={"opencv-python-headless": "5.0", "onnxruntime": "1.31", "ros-rclpy": "9.1"},
        imported=imported,
        trials={
            "backends": {"onnxruntime": None, "tensorrt": "TensorRT is not installed: pip ..."},
            "bundles": {"street_obsnet_lite": ""},
            "frame": {
                "fault": "",
                "bundle": "street_obsnet_lite",
                "backend": "onnxruntime",
                "device": "cpu",
                "seconds": 0.06,
            },
            "cache": {
                "folder": "/home/user/.cache/engines",
                "writable": True,
                "free": 50_000_000_000,
                "bytes": 0,
                "engines": [],
                "damaged": 0,
            },
        },
        trial_faults={},
        machine=Machine("Some CPU", 4, "performance", (3000.0, 3000.0), 0.1, ()),
        shared_memory=512_000_000,
        paths=("/venv/lib/python3.11/site-packages",),
    )
    return replace(around, **changes)


def with_import(module: str, imported: Imported | None, **changes: Any) -> Surroundings:
    """The healthy machine, with another outcome of importing a module; None: it is not there."""
    around = healthy(**changes)
    others = {name: found for name, found in around.imported.items() if name != module}
    return replace(around, imported=others if imported is None else {**others, module: imported})


def with_trial(**changes: Any) -> Surroundings:
    """The healthy machine, with other outcomes of its trial."""
    around = healthy()
    return replace(around, trials={**around.trials, **changes})


def finding(around: Surroundings, what: str) -> Finding:
    """The one finding of that name on the page."""
    found = [f for findings in examine(around).values() for f in findings if f.what == what]
    assert len(found) == 1, [f.what for f in found]
    return found[0]


def marks(around: Surroundings) -> set[str]:
    """All marks on the page."""
    return {f.mark for findings in examine(around).values() for f in findings}


def probe(ask: Any) -> Probe:
    """A probe of a function."""
    return Probe("somewhere", ask)
