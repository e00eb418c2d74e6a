"""ROS 2: can nodes run, and will camera images reach them."""

from __future__ import annotations

import os
from pathlib import Path

from anomaly_seg_ros.doctor.finding import FAIL, OK, WARN, Finding
from anomaly_seg_ros.doctor.libraries import ABI_CLASH, library
from anomaly_seg_ros.doctor.surroundings import Surroundings
from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.nodes.environment import (
    FAST_DDS_2_DISTROS,
    PRIVATE_PROCESSES,
    PROFILE_VARIABLES,
    SEGMENT_SHARE,
    TRANSPORT_PROFILE,
    config_file,
)

MESSAGES = ("sensor_msgs.msg", "diagnostic_msgs.msg", "lifecycle_msgs.msg", "std_srvs.srv")
INSTALL = "source a ROS 2 installation, or pip install 'anomaly_seg_ros[ros]'"
WHEELS = "ros-rclpy"  # the distribution that brings rclpy as a wheel
FAST_DDS = "rmw_fastrtps_cpp"
SEGMENT = 64 << 20  # bytes of shared memory for each process, see config/fastdds.xml


def rclpy(around: Surroundings) -> list[Finding]:
    """rclpy, without which there are no nodes."""
    found = library(around, "rclpy", "rclpy", INSTALL, "nodes", broken=FAIL)
    if found.mark == OK:
        distro = around.environ.get("ROS_DISTRO", "")
        from_wheels = around.distributions.get(WHEELS)
        kind = f"wheels {from_wheels}" if from_wheels else f"ROS 2 {distro or 'without ROS_DISTRO'}"
        return [Finding("rclpy", OK, kind)]
    return [found]


def messages(around: Surroundings) -> list[Finding]:
    """The messages that the nodes speak, and the numpy that these were built for."""
    if not around.has("rclpy"):
        return []
    missing = [name.partition(".")[0] for name in MESSAGES if name not in around.imported]
    if missing:
        return [Finding("messages", FAIL, f"no {', '.join(missing)}", INSTALL)]
    for name in MESSAGES:
        imported = around.imported[name]
        if imported.fault:
            clash = ABI_CLASH.search(imported.log + imported.fault)
            mend = "pip install 'numpy<2'" if clash else INSTALL
            return [Finding("messages", FAIL, f"{name}: {imported.fault}", mend)]
    return [Finding("messages", OK, ", ".join(name.partition(".")[0] for name in MESSAGES))]


def numpy_of_the_distribution(around: Surroundings) -> list[Finding]:
    """Message packages of older distributions were built for numpy 1."""
    distro = around.environ.get("ROS_DISTRO", "")
    version = around.imported["numpy"].version if around.has("numpy") else ""
    wheels = WHEELS in around.distributions
    if distro in FAST_DDS_2_DISTROS and not wheels and version.partition(".")[0] not in ("", "1"):
        found = f"numpy {version}; ROS 2 {distro} was built for numpy 1"
        return [Finding("numpy and ROS", WARN, found, "pip install 'numpy<2'")]
    return []


def middleware(around: Surroundings) -> list[Finding]:
    """Which RMW carries the images."""
    if not around.has("rclpy"):
        return []
    domain = around.environ.get("ROS_DOMAIN_ID", "0")
    found = f"{_rmw(around)}, domain {domain}"
    if _rmw(around) != FAST_DDS:
        return [Finding("middleware", OK, f"{found}; only Fast DDS was tried with this package")]
    return [Finding("middleware", OK, found)]


def transport_profile(around: Surroundings) -> list[Finding]:
    """Fast DDS has room for images. Its own segment loses those above half a megabyte."""
    if not around.has("rclpy") or _rmw(around) != FAST_DDS:
        return []
    what = "Fast DDS profile"
    old = around.environ.get("ROS_DISTRO") in FAST_DDS_2_DISTROS
    variable = PROFILE_VARIABLES[1 if old else 0]
    mend = f"where every publisher of images starts: export {variable}={_shipped_profile()}"
    values = {name: around.environ.get(name, "") for name in PROFILE_VARIABLES}
    value = values[variable] or ("" if old else values[PROFILE_VARIABLES[1]])
    if not value:
        other = next((name for name in PROFILE_VARIABLES if values[name]), None)
        found = f"{other} is set, which this Fast DDS does not read" if other else "not set"
        return [Finding(what, WARN, f"{found}: images above 0.5 MB get lost", mend)]
    if not Path(value).is_file():
        return [Finding(what, FAIL, f"{variable} names {value}, which is no file", mend)]
    return [Finding(what, OK, value)]


def shared_memory(around: Surroundings) -> list[Finding]:
    """Room for the segments of the profile: the camera's and the detector's."""
    if not around.has("rclpy") or around.shared_memory is None:
        return []
    room, needed = around.shared_memory, PRIVATE_PROCESSES * SEGMENT / SEGMENT_SHARE
    found = f"{room / 1e6:.0f} MB free"
    if room < needed:
        found += f"; camera and detector need {needed / 1e6:.0f} MB"
        mend = "start the container with --shm-size=512m, or remove old files from /dev/shm"
        return [Finding("/dev/shm", WARN, found, mend)]
    return [Finding("/dev/shm", OK, found)]


def ament_prefix(around: Surroundings) -> list[Finding]:
    """ROS 2 from wheels has to be told where it lies; with another ROS 2 in the path it is lost."""
    if WHEELS not in around.distributions:
        return []
    foreign = [path for path in around.paths if path.startswith("/opt/ros/")]
    if foreign:
        return [
            Finding(
                "ROS 2 twice",
                WARN,
                f"wheels are installed, and {foreign[0]} is in the path of Python before or after",
                "start a shell that sources no /opt/ros/*/setup.bash",
            )
        ]
    if not around.environ.get("AMENT_PREFIX_PATH"):
        return [
            Finding(
                "AMENT_PREFIX_PATH",
                WARN,
                "not set, so ROS 2 from wheels finds no packages",
                f"export AMENT_PREFIX_PATH={around.prefix}",
            )
        ]
    return [Finding("AMENT_PREFIX_PATH", OK, around.environ["AMENT_PREFIX_PATH"])]


def cv_bridge(around: Surroundings) -> list[Finding]:
    """cv_bridge, for rare encodings only."""
    mend = "apt install ros-$ROS_DISTRO-cv-bridge" if around.has("rclpy") else ""
    return [library(around, "cv_bridge", "cv_bridge", mend, "rare camera encodings")]


def _rmw(around: Surroundings) -> str:
    detail = around.imported["rclpy"].detail if "rclpy" in around.imported else ""
    return detail or around.environ.get("RMW_IMPLEMENTATION", "") or FAST_DDS


def _shipped_profile() -> str:
    try:
        return os.fspath(config_file(TRANSPORT_PROFILE))
    except NodeError:
        return f"/path/to/{TRANSPORT_PROFILE}"
