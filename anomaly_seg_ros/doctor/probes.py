"""The table of all probes: what is asked, in the order of the page."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from anomaly_seg_ros.doctor import engines, libraries, ros
from anomaly_seg_ros.doctor.finding import FAIL, Finding
from anomaly_seg_ros.doctor.surroundings import Surroundings

Question = Callable[[Surroundings], list[Finding]]


@dataclass(frozen=True)
class Probe:
    """A question, and the part of the page where its findings stand."""

    area: str
    ask: Question


PROBES = (
    Probe("this machine", libraries.machine),
    Probe("this machine", libraries.python),
    Probe("libraries", libraries.numpy),
    Probe("libraries", libraries.opencv),
    Probe("libraries", libraries.one_opencv),
    Probe("libraries", libraries.yaml),
    Probe("libraries", libraries.tqdm),
    Probe("libraries", libraries.rosbags),
    Probe("engines", engines.onnxruntime),
    Probe("engines", libraries.one_onnxruntime),
    Probe("engines", engines.tensorrt),
    Probe("engines", engines.cuda_python),
    Probe("engines", engines.torch),
    Probe("engines", engines.backends),
    Probe("engines", engines.cache_folder),
    Probe("engines", engines.stale_engines),
    Probe("bundles", engines.bundles),
    Probe("bundles", engines.one_frame),
    Probe("ROS 2", ros.rclpy),
    Probe("ROS 2", ros.messages),
    Probe("ROS 2", ros.numpy_of_the_distribution),
    Probe("ROS 2", ros.middleware),
    Probe("ROS 2", ros.transport_profile),
    Probe("ROS 2", ros.shared_memory),
    Probe("ROS 2", ros.ament_prefix),
    Probe("ROS 2", ros.cv_bridge),
)


def examine(around: Surroundings, probes: Sequence[Probe] = PROBES) -> dict[str, list[Finding]]:
    """The findings of all probes by area. A probe that fails is a finding itself."""
    areas: dict[str, list[Finding]] = {}
    for probe in probes:
        findings = areas.setdefault(probe.area, [])
        try:
            findings += probe.ask(around)
        except Exception as error:  # the others still have something to tell
            what = probe.ask.__name__.replace("_", " ")
            fault = f"the doctor's own probe failed: {type(error).__name__}: {error}"
            findings.append(Finding(what, FAIL, fault, "report it as a fault of this package"))
    return {area: findings for area, findings in areas.items() if findings}
