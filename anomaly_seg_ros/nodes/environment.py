"""The surroundings a ROS 2 process needs: what to set in a plain pip venv, where our config lies.

Importable without ROS.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import sys
from pathlib import Path

from anomaly_seg_ros.errors import NodeError

PACKAGE = "anomaly_seg_ros"
TRANSPORT_PROFILE = "fastdds.xml"
PROFILE_VARIABLES = (
    "FASTDDS_DEFAULT_PROFILES_FILE",  # Fast DDS 3 (ROS 2 Kilted and later)
    "FASTRTPS_DEFAULT_PROFILES_FILE",  # Fast DDS 2 (Humble, Jazzy); later ones warn of it
)
FAST_DDS_2_DISTROS = ("humble", "iron", "jazzy")
PARENT_VARIABLE = "ANOMALY_SEG_PARENT"  # process id of a starter that its nodes end with
SHARED_MEMORY = "/dev/shm"
PRIVATE_PROCESSES = 2  # of a demo or bench: the detector and the camera around it
SEGMENT_SHARE = 0.85  # of the room: ports and bookkeeping take some, 10 % of a segment too
SMALLEST_SEGMENT = 8_000_000  # bytes: some images of 640x480 with their scores
PRIVATE_DOMAINS = range(1, 101)  # above 101 the ports of Linux run into the ephemeral ones


def config_file(name: str) -> Path:
    """A shipped config file: from the ament index, this Python's prefix or the source checkout.

    Raises NodeError naming the places that were searched.
    """
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    candidates = [prefix / "share" / PACKAGE / "config" / name for prefix in prefixes]
    candidates.append(Path(sys.prefix) / "share" / PACKAGE / "config" / name)
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "package.xml").is_file():
        candidates.insert(0, checkout / "config" / name)
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    places = "\n".join(f"  {candidate}" for candidate in candidates)
    raise NodeError(
        f"config file {name} was not found; searched:\n{places}\n"
        f"Install the package with `pip install .` (not -e) or `colcon build`."
    )


def transport_profile() -> Path | None:
    """The Fast DDS profile this process runs with, None when none is set."""
    for variable in PROFILE_VARIABLES:
        if os.environ.get(variable):
            return Path(os.environ[variable])
    return None


def private_ros_environment(scratch: Path, processes: int | None = None) -> dict[str, str]:
    """Variables to add to those of this process so that a demo or bench runs by itself.

    Own domain on this machine only, so that it meets no vehicle and no other run; our transport
    profile unless the user set one; in a plain venv also the prefix where ROS lies. In a container
    with little shared memory the profile is a smaller copy, written to the folder `scratch`.
    processes: how many have room for images at the same time, None: PRIVATE_PROCESSES.
    """
    added = {
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST",
        "ROS_DOMAIN_ID": str(PRIVATE_DOMAINS[os.getpid() % len(PRIVATE_DOMAINS)]),
    }
    if os.environ.get("ROS_DISTRO") == "humble":  # later ones know the range and warn of this
        added["ROS_LOCALHOST_ONLY"] = "1"
    if not os.environ.get("AMENT_PREFIX_PATH"):
        added["AMENT_PREFIX_PATH"] = sys.prefix
    if transport_profile() is None:
        profile = _fitting_profile(
            config_file(TRANSPORT_PROFILE), scratch, processes or PRIVATE_PROCESSES
        )
        added.update(profile_environment(profile))
    return added


def profile_environment(profile: Path | str) -> dict[str, str]:
    """The variable that names a Fast DDS profile in the ROS 2 distribution of this process."""
    is_old = os.environ.get("ROS_DISTRO") in FAST_DDS_2_DISTROS
    return {PROFILE_VARIABLES[1 if is_old else 0]: str(profile)}


def launched_environment(profile: Path | str, prefix: str) -> dict[str, str]:
    """Variables for a node that this process, `ros2 launch`, starts; profile may be empty: none.

    The node ends with the launch: that passes SIGINT on, but a SIGTERM or a crash would leave the
    node behind. Not behind a prefix (the launch-prefix, such as gdb), which is the parent then.
    """
    parent = {} if prefix else {PARENT_VARIABLE: str(os.getpid())}
    return {**parent, **(profile_environment(profile) if profile else {})}


def _fitting_profile(profile: Path, scratch: Path, processes: int) -> Path:
    """The profile, or a copy whose segments fit into /dev/shm.

    Fast DDS allocates a segment whole; where it does not fit it goes on without shared memory, and
    images get lost.
    """
    try:
        room = shutil.disk_usage(SHARED_MEMORY).free
    except OSError:
        return profile  # no Linux: the transport looks after itself
    text = profile.read_text(encoding="utf-8")
    match = re.search(r"<segment_size>(\d+)</segment_size>", text)
    if match is None:
        raise NodeError(f"{profile} states no <segment_size>; install the package again")
    segment = int(room * SEGMENT_SHARE / processes)
    if int(match[1]) <= segment:
        return profile
    if segment < SMALLEST_SEGMENT:
        raise NodeError(
            f"{SHARED_MEMORY} has {room / 1e6:.0f} MB left; camera images between processes need "
            f"{processes * SMALLEST_SEGMENT / SEGMENT_SHARE / 1e6:.0f} MB: start the "
            "container with --shm-size=512m"
        )
    smaller = scratch / TRANSPORT_PROFILE
    smaller.write_text(text.replace(match[0], f"<segment_size>{segment}</segment_size>"))
    return smaller


def require_ros() -> None:
    """Raise NodeError with the mend when ROS 2 cannot be imported by this Python."""
    missing = [
        module
        for module in ("rclpy", "sensor_msgs", "std_srvs", "diagnostic_msgs", "lifecycle_msgs")
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        raise NodeError(
            f"this Python has no {', '.join(missing)}: the nodes need ROS 2. Source a ROS 2 "
            f"installation, or install the wheels: pip install '{PACKAGE}[ros]'"
        )
