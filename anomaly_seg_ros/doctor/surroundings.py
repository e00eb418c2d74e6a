"""What there is on this machine, gathered without trusting any of it.

Every library is imported in a process of its own, so that one that ends the interpreter, hangs or
clashes with another is a finding like any other.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anomaly_seg_ros.doctor.trial import PARTS
from anomaly_seg_ros.machine import Machine, this_machine
from anomaly_seg_ros.nodes.environment import SHARED_MEMORY

IMPORT_SECONDS = 90.0  # torch from a slow disk
AT_ONCE = 4  # processes
MARK = "anomaly-seg-doctor:"  # what we print, among what libraries print

# Module -> an expression of what else to tell about it, once it is imported as `module`.
MODULES: Mapping[str, str] = {
    "numpy": "''",
    "cv2": "''",
    "yaml": "''",
    "tqdm": "''",
    "rosbags.highlevel": "''",
    "onnxruntime": "', '.join(module.get_available_providers())",
    "tensorrt": "''",
    "cuda.bindings.runtime": "module.cudaGetDeviceCount()[0].name",
    "torch": "f'CUDA {module.version.cuda}, usable: {module.cuda.is_available()}'",
    "rclpy": "__import__('rclpy.utilities').utilities.get_rmw_implementation_identifier()",
    # A vector of numbers is a numpy array: message packages of another numpy fail at the first.
    "sensor_msgs.msg": "module.CameraInfo().k.dtype.name",
    "diagnostic_msgs.msg": "''",
    "lifecycle_msgs.msg": "''",
    "std_srvs.srv": "''",
    "cv_bridge": "''",
}
IMPORT = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
import {module} as module
print("{mark}" + json.dumps([str(getattr(module, "__version__", "")), str({detail})]))
"""
TRIAL = """
import json, sys
sys.path[:] = json.loads(sys.argv[1])
from anomaly_seg_ros.doctor.trial import PARTS
print("{mark}" + json.dumps(PARTS["{part}"]()))
"""


@dataclass(frozen=True)
class Imported:
    """What came of importing a module."""

    version: str = ""  # its own or its distribution's; empty: not told
    detail: str = ""  # see MODULES
    fault: str = ""  # the last line of what went wrong
    log: str = ""  # all that it said, where it went wrong


@dataclass(frozen=True)
class Surroundings:
    """Everything that probes judge."""

    environ: Mapping[str, str]
    python: tuple[int, int, int]
    platform: str
    prefix: str  # sys.prefix
    virtual: bool  # in a virtual environment
    distributions: Mapping[str, str]  # normalised name -> version, what pip installed
    imported: Mapping[str, Imported]  # by module; those that are not there are left out
    trials: Mapping[str, Any]  # by the name of the part, see trial.py; those that ended well
    trial_faults: Mapping[str, str]  # of the others
    machine: Machine
    shared_memory: int | None  # bytes of room in /dev/shm; None: no such thing
    paths: Sequence[str] = field(default_factory=tuple)  # where Python looks for modules

    def has(self, module: str) -> bool:
        """Whether a module is there and can be imported."""
        return module in self.imported and not self.imported[module].fault


def look_around() -> Surroundings:
    """Gather everything; takes some seconds, mostly torch where it is installed."""
    distributions = _distributions()
    there = [name for name in MODULES if is_there(name)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        parts = {part: pool.submit(_child, TRIAL.format(mark=MARK, part=part)) for part in PARTS}
        imports = {name: pool.submit(_import, name, distributions) for name in there}
        ended = {part: future.result() for part, future in parts.items()}
        imported = {name: future.result() for name, future in imports.items()}
    return Surroundings(
        environ=dict(os.environ),
        python=(sys.version_info[0], sys.version_info[1], sys.version_info[2]),
        platform=_platform(),
        prefix=sys.prefix,
        virtual=sys.prefix != sys.base_prefix,
        distributions=distributions,
        imported=imported,
        trials={part: result for part, (result, fault, _) in ended.items() if not fault},
        trial_faults={part: fault for part, (_, fault, _) in ended.items() if fault},
        machine=this_machine(),
        shared_memory=_room(SHARED_MEMORY),
        paths=tuple(sys.path),
    )


def is_there(module: str) -> bool:
    """Whether a module can be found; only the packages above it are imported."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, AttributeError, ValueError):
        # A package above it is not there, or is damaged: importing the topmost says which.
        return "." in module and is_there(module.rpartition(".")[0])


def _import(module: str, distributions: Mapping[str, str]) -> Imported:
    code = IMPORT.format(module=module, mark=MARK, detail=MODULES[module])
    result, fault, log = _child(code)
    if fault:
        return Imported(fault=fault, log=log)
    version, detail = result
    return Imported(version or distributions.get(normalised(module.partition(".")[0]), ""), detail)


def _child(code: str) -> tuple[Any, str, str]:
    """Run code in a process of its own; what it gave, or the fault and all that was said."""
    command = [sys.executable, "-c", code, json.dumps(sys.path)]
    try:
        # Elsewhere than here: a file numpy.py in this folder is nothing that an installation has.
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=IMPORT_SECONDS,
            check=False,
            cwd=tempfile.gettempdir(),
        )
    except subprocess.TimeoutExpired:
        return None, f"it did not end within {IMPORT_SECONDS:.0f} s", ""
    except OSError as error:
        return None, f"no process could be started: {error.strerror}", ""
    for line in done.stdout.splitlines():
        if line.startswith(MARK):
            return json.loads(line[len(MARK) :]), "", ""
    if done.returncode < 0:
        return None, f"it ended the interpreter ({_signal(-done.returncode)})", done.stderr
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    return None, said[-1] if said else f"it ended with status {done.returncode}", done.stderr


def _signal(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _distributions() -> dict[str, str]:
    """What pip installed. Damaged entries are passed over."""
    found: dict[str, str] = {}
    for distribution in importlib.metadata.distributions():
        name = distribution.metadata["Name"] if distribution.metadata else None
        if name:
            found.setdefault(normalised(name), distribution.version)
    return found


def normalised(name: str) -> str:
    """A distribution's name as PyPI compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _platform() -> str:
    try:
        system = platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        system = platform.system()
    return f"{system}, {platform.machine()}"


def _room(folder: str) -> int | None:
    try:
        return shutil.disk_usage(Path(folder)).free
    except OSError:
        return None
