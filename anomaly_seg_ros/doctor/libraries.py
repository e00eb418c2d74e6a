"""Python and the libraries that everything needs: numpy, OpenCV, YAML, bags."""

from __future__ import annotations

import re

from anomaly_seg_ros.doctor.finding import FAIL, OFF, OK, WARN, Finding
from anomaly_seg_ros.doctor.surroundings import Surroundings

OLDEST_PYTHON = (3, 10)
OPENCVS = (
    "opencv-python",
    "opencv-python-headless",
    "opencv-contrib-python",
    "opencv-contrib-python-headless",
)
ONNXRUNTIMES = ("onnxruntime", "onnxruntime-gpu")
ABI_CLASH = re.compile(r"_ARRAY_API|multiarray|compiled using NumPy|numpy\.core|dtype size changed")
NO_LIBRARY = re.compile(r"(lib[\w.+-]+\.so[.\d]*): cannot open shared object file")
HEADLESS = "pip install opencv-python-headless"


def python(around: Surroundings) -> list[Finding]:
    """A Python that the package runs on."""
    version = ".".join(map(str, around.python))
    where = "virtual environment" if around.virtual else "no virtual environment"
    found = f"{version}, {where}"
    if around.python[:2] < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return [Finding("Python", FAIL, found, f"install Python {oldest} or newer")]
    return [Finding("Python", OK, found)]


def machine(around: Surroundings) -> list[Finding]:
    """For whom reads the page: nothing is wrong with a machine."""
    lines = around.machine.lines()
    return [
        Finding("system", OK, around.platform),
        *(Finding("machine", OK, line) for line in lines),
    ]


def numpy(around: Surroundings) -> list[Finding]:
    """numpy can be imported."""
    return [_needed(around, "numpy", "numpy", "pip install numpy")]


def yaml(around: Surroundings) -> list[Finding]:
    """PyYAML, which reads bundles."""
    return [_needed(around, "yaml", "PyYAML", "pip install PyYAML")]


def tqdm(around: Surroundings) -> list[Finding]:
    """tqdm, which draws progress bars."""
    return [_needed(around, "tqdm", "tqdm", "pip install tqdm")]


def opencv(around: Surroundings) -> list[Finding]:
    """OpenCV is there, and fits the numpy beside it."""
    system = "or python3-opencv of the system's packages"
    found = _needed(around, "cv2", "OpenCV", f"{HEADLESS}, {system}")
    if found.mark != FAIL or "cv2" not in around.imported:
        return [found]
    log = around.imported["cv2"].log + around.imported["cv2"].fault
    library = NO_LIBRARY.search(log)
    if ABI_CLASH.search(log):
        version = around.imported["numpy"].version if "numpy" in around.imported else "?"
        found = Finding(
            "OpenCV",
            FAIL,
            f"was built for another numpy than the {version} that is here",
            "pip install 'numpy<2' where OpenCV is the system's; else pip install --upgrade "
            "opencv-python-headless",
        )
    elif library:
        found = Finding(
            "OpenCV",
            FAIL,
            f"needs {library[1]}, which is not here: it was built for a screen",
            f"pip uninstall -y opencv-python && {HEADLESS}",
        )
    return [found]


def one_opencv(around: Surroundings) -> list[Finding]:
    """At most one OpenCV wheel: they write over each other's files."""
    return _rivals(around, "OpenCV wheels", OPENCVS, "opencv-python-headless")


def one_onnxruntime(around: Surroundings) -> list[Finding]:
    """At most one ONNX Runtime wheel, for the same reason."""
    keep = "onnxruntime-gpu" if around.machine.gpus else "onnxruntime"
    return _rivals(around, "ONNX Runtime wheels", ONNXRUNTIMES, keep)


def rosbags(around: Surroundings) -> list[Finding]:
    """rosbags, which reads recordings."""
    found = library(around, "rosbags.highlevel", "rosbags", "pip install rosbags", "bags")
    return [found]


def library(
    around: Surroundings, module: str, name: str, install: str, use: str, broken: str = WARN
) -> Finding:
    """A library that only `use` needs: OFF where it is not there, `broken` where it fails."""
    if module not in around.imported:
        return Finding(name, OFF, f"not installed; only {use} need it", install)
    imported = around.imported[module]
    if imported.fault:
        return Finding(name, broken, f"cannot be imported: {imported.fault}", install)
    parts = [part for part in (imported.version, imported.detail) if part]
    return Finding(name, OK, ", ".join(parts) or "installed")


def _needed(around: Surroundings, module: str, name: str, install: str) -> Finding:
    """A library that everything needs."""
    if module not in around.imported:
        return Finding(name, FAIL, "not installed", install)
    return library(around, module, name, install, "", broken=FAIL)


def _rivals(around: Surroundings, what: str, names: tuple[str, ...], keep: str) -> list[Finding]:
    there = [name for name in names if name in around.distributions]
    if len(there) < 2:
        return []
    shown = ", ".join(f"{name} {around.distributions[name]}" for name in there)
    return [
        Finding(
            what,
            WARN,
            f"{shown}: they write over each other's files",
            f"pip uninstall -y {' '.join(there)} && pip install {keep}",
        )
    ]
