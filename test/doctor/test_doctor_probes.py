"""Each illness has its mark and its mend; a healthy machine has none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from machines import GPU, finding, healthy, marks, with_import, with_trial

from anomaly_seg_ros.doctor import FAIL, OFF, OK, WARN, examine
from anomaly_seg_ros.doctor.surroundings import Imported

CLASH = "ImportError: numpy.core.multiarray failed to import"


def test_a_healthy_machine_has_no_warning() -> None:
    assert marks(healthy()) == {OK, OFF}


def names(around: Any) -> set[str]:
    return {found.what for findings in examine(around).values() for found in findings}


# --- libraries -------------------------------------------------------------------------------


def test_an_old_python_fails() -> None:
    found = finding(healthy(python=(3, 8, 10)), "Python")
    assert found.mark == FAIL and found.mend == "install Python 3.10 or newer"


@pytest.mark.parametrize(
    ("module", "what"), [("numpy", "numpy"), ("cv2", "OpenCV"), ("yaml", "PyYAML")]
)
def test_what_everything_needs_fails_when_it_is_missing_or_broken(module: str, what: str) -> None:
    missing = finding(with_import(module, None), what)
    assert missing.mark == FAIL and missing.mend.startswith("pip install ")
    broken = finding(
        with_import(module, Imported(fault="it ended the interpreter (SIGSEGV)")), what
    )
    assert broken.mark == FAIL and "SIGSEGV" in broken.found


def test_an_opencv_of_another_numpy_is_told_so() -> None:
    log = "A module that was compiled using NumPy 1.x cannot be run in NumPy 2.4.6\n" + CLASH
    found = finding(with_import("cv2", Imported(fault=CLASH, log=log)), "OpenCV")
    assert found.mark == FAIL and "another numpy than the 2.4.6" in found.found
    assert "numpy<2" in found.mend


def test_an_opencv_that_wants_a_screen_is_to_be_replaced_by_the_headless_one() -> None:
    fault = "ImportError: libGL.so.1: cannot open shared object file: No such file or directory"
    found = finding(with_import("cv2", Imported(fault=fault, log=fault)), "OpenCV")
    assert "needs libGL.so.1" in found.found
    assert found.mend.endswith("pip install opencv-python-headless")


def test_two_opencv_wheels_are_a_warning_that_names_both() -> None:
    both = {"opencv-python": "4.9", "opencv-python-headless": "5.0"}
    found = finding(healthy(distributions=both), "OpenCV wheels")
    assert found.mark == WARN and "opencv-python 4.9, opencv-python-headless 5.0" in found.found
    assert found.mend == (
        "pip uninstall -y opencv-python opencv-python-headless && "
        "pip install opencv-python-headless"
    )


@pytest.mark.parametrize(("gpus", "kept"), [((), "onnxruntime"), ((GPU,), "onnxruntime-gpu")])
def test_two_onnxruntime_wheels_are_a_warning(gpus: tuple[Any, ...], kept: str) -> None:
    both = {"onnxruntime": "1.2", "onnxruntime-gpu": "1.3"}
    around = healthy(distributions=both, machine=replace(healthy().machine, gpus=gpus))
    found = finding(around, "ONNX Runtime wheels")
    assert found.mark == WARN and found.mend.endswith(f"pip install {kept}")


@pytest.mark.parametrize(
    ("module", "what"),
    [
        ("rosbags.highlevel", "rosbags"),
        ("torch", "torch"),
        ("tensorrt", "TensorRT"),
        ("rclpy", "rclpy"),
        ("cv_bridge", "cv_bridge"),
        ("cuda.bindings.runtime", "cuda-python"),
    ],
)
def test_what_only_some_need_may_be_missing(module: str, what: str) -> None:
    found = finding(with_import(module, None), what)
    assert found.mark == OFF and "not installed; only" in found.found


# --- engines ---------------------------------------------------------------------------------


def test_a_gpu_that_onnxruntime_leaves_alone_is_a_warning() -> None:
    around = healthy(machine=replace(healthy().machine, gpus=(GPU,)))
    found = finding(around, "ONNX Runtime")
    assert found.mark == WARN and "onnxruntime-gpu" in found.mend
    cuda = Imported("1.31", "CUDAExecutionProvider, CPUExecutionProvider")
    assert finding(with_import("onnxruntime", cuda, machine=around.machine), found.what).mark == OK


@pytest.mark.parametrize(
    ("version", "mark"), [("10.2.0", WARN), ("10.3.0", OK), ("11.4.0.106", OK), ("12.0", WARN)]
)
def test_tensorrt_outside_the_known_versions_is_a_warning(version: str, mark: str) -> None:
    assert finding(with_import("tensorrt", Imported(version)), "TensorRT").mark == mark


def test_a_driver_that_does_not_answer_is_a_warning_only_where_there_is_a_gpu() -> None:
    assert finding(healthy(), "cuda-python").mark == OFF
    around = healthy(machine=replace(healthy().machine, gpus=(GPU,)))
    found = finding(around, "cuda-python")
    assert found.mark == WARN and "update the driver" in found.mend
    fine = with_import("cuda.bindings.runtime", Imported("13.5", "cudaSuccess"))
    assert finding(fine, "cuda-python").mark == OK


def test_without_any_backend_nothing_can_be_detected() -> None:
    around = with_trial(backends={"onnxruntime": "onnxruntime is not installed: pip ..."})
    assert finding(around, "backend onnxruntime").mark == OFF
    assert finding(around, "backends").mark == FAIL


def test_a_frame_that_fails_tells_why() -> None:
    found = finding(with_trial(frame={"fault": "stage observer failed"}), "one frame")
    assert found.mark == FAIL and found.found == "stage observer failed"


@pytest.mark.parametrize("part", ["backends", "bundles", "frame", "cache"])
def test_a_part_that_cannot_be_tried_fails_and_the_others_are_told(part: str) -> None:
    around = healthy()
    trials = {name: result for name, result in around.trials.items() if name != part}
    faults = {part: "it ended the interpreter (SIGSEGV)"}
    around = replace(around, trials=trials, trial_faults=faults)
    found = finding(around, part)
    assert found.mark == FAIL
    assert found.found == "could not be tried: it ended the interpreter (SIGSEGV)"
    failed = [f for findings in examine(around).values() for f in findings if f.mark == FAIL]
    assert failed == [found]


def test_a_damaged_bundle_fails_with_its_faults() -> None:
    fault = "bundle x has 1 fault:\n  - observer.onnx is missing"
    found = finding(with_trial(bundles={"street_obsnet_lite": fault}), "street_obsnet_lite")
    assert found.mark == FAIL and "observer.onnx is missing" in found.found
    assert finding(with_trial(bundles={}), "bundles").mark == FAIL


def cache(**changes: Any) -> dict[str, Any]:
    return {**healthy().trials["cache"], **changes}


def test_a_cache_that_cannot_be_written_matters_only_to_backends_that_build() -> None:
    around = with_trial(cache=cache(writable=False))
    found = finding(around, "engine cache")
    assert found.mark == WARN and "ANOMALY_SEG_ENGINES" in found.mend
    others = {k: v for k, v in around.imported.items() if k not in ("torch", "tensorrt")}
    assert finding(replace(around, imported=others), "engine cache").mark == OFF


def test_a_full_disk_is_a_warning() -> None:
    found = finding(with_trial(cache=cache(free=10_000_000)), "engine cache")
    assert found.mark == WARN and "10 MB left" in found.found


def test_engines_of_another_version_or_gpu_and_damaged_ones_are_stale() -> None:
    def engine(**key: str) -> dict[str, Any]:
        return {"key": {"kind": "tensorrt", **key}, "bytes": 1}

    around = with_trial(
        cache=cache(
            engines=[
                engine(tensorrt="10.3.0", gpu="NVIDIA L4"),
                engine(tensorrt="10.3.0", gpu="NVIDIA L4"),
                engine(tensorrt="11.4.0", gpu="NVIDIA L4"),
                engine(tensorrt="11.4.0", gpu="NVIDIA T4"),
            ],
            damaged=1,
        )
    )
    around = replace(
        around,
        imported={**around.imported, "tensorrt": Imported("11.4.0")},
        machine=replace(around.machine, gpus=(GPU,)),
    )
    found = finding(around, "stale engines")
    assert found.mark == WARN
    assert "2 of tensorrt 10.3.0, here is 11.4.0" in found.found
    assert "1 of a NVIDIA T4, here is NVIDIA L4" in found.found
    assert "1 damaged or not finished" in found.found
    assert "engine clear" in found.mend


def test_engines_that_can_be_used_are_not_stale() -> None:
    around = with_trial(cache=cache(engines=[{"key": {"torch": "1.0"}, "bytes": 1}]))
    assert "stale engines" not in names(around)


# --- ROS 2 -----------------------------------------------------------------------------------


def test_without_ros_nothing_is_said_of_its_transport() -> None:
    around = with_import("rclpy", None, environ={}, distributions={})
    assert marks(around) == {OK, OFF}
    assert not names(around) & {"messages", "middleware", "Fast DDS profile", "/dev/shm"}


def test_a_broken_rclpy_fails() -> None:
    around = with_import("rclpy", Imported(fault="librcl.so: cannot open shared object file"))
    assert finding(around, "rclpy").mark == FAIL


def test_messages_of_another_numpy_are_told_so() -> None:
    around = with_import("sensor_msgs.msg", Imported(fault=CLASH, log=CLASH))
    found = finding(around, "messages")
    assert found.mark == FAIL and found.mend == "pip install 'numpy<2'"


def test_missing_messages_are_named() -> None:
    found = finding(with_import("lifecycle_msgs.msg", None), "messages")
    assert found.mark == FAIL and found.found == "no lifecycle_msgs"


@pytest.mark.parametrize(
    ("distro", "version", "warned"),
    [("humble", "2.1.0", True), ("humble", "1.26.4", False), ("kilted", "2.1.0", False)],
)
def test_numpy_2_with_an_older_distribution_is_a_warning(
    distro: str, version: str, warned: bool
) -> None:
    environ = {**healthy().environ, "ROS_DISTRO": distro}
    around = with_import("numpy", Imported(version), environ=environ, distributions={})
    assert ("numpy and ROS" in names(around)) is warned


def profile(**environ: str) -> Any:
    return finding(healthy(environ={"AMENT_PREFIX_PATH": "/venv", **environ}), "Fast DDS profile")


def test_a_transport_without_room_for_images_is_a_warning_with_the_line_to_set() -> None:
    found = profile()
    assert found.mark == WARN and "export FASTDDS_DEFAULT_PROFILES_FILE=" in found.mend
    assert found.mend.endswith("config/fastdds.xml")
    old = profile(ROS_DISTRO="humble")
    assert "export FASTRTPS_DEFAULT_PROFILES_FILE=" in old.mend


def test_a_profile_that_is_no_file_fails() -> None:
    found = profile(FASTDDS_DEFAULT_PROFILES_FILE="/nowhere.xml")
    assert found.mark == FAIL and "/nowhere.xml, which is no file" in found.found


def test_a_variable_that_this_fast_dds_does_not_read_is_a_warning() -> None:
    found = profile(ROS_DISTRO="humble", FASTDDS_DEFAULT_PROFILES_FILE=__file__)
    assert found.mark == WARN and "which this Fast DDS does not read" in found.found
    # Fast DDS 3 still reads the old one.
    assert profile(ROS_DISTRO="kilted", FASTRTPS_DEFAULT_PROFILES_FILE=__file__).mark == OK


def test_another_middleware_needs_no_profile_of_fast_dds() -> None:
    around = with_import("rclpy", Imported("9", "rmw_cyclonedds_cpp"), environ={})
    assert "Fast DDS profile" not in names(around)
    assert "only Fast DDS was tried" in finding(around, "middleware").found


def test_little_shared_memory_is_a_warning() -> None:
    found = finding(healthy(shared_memory=64_000_000), "/dev/shm")
    assert found.mark == WARN and "--shm-size" in found.mend
    assert "/dev/shm" not in names(healthy(shared_memory=None))


def test_ros_from_wheels_is_told_where_it_lies() -> None:
    found = finding(healthy(environ={}), "AMENT_PREFIX_PATH")
    assert found.mark == WARN and found.mend == "export AMENT_PREFIX_PATH=/venv"
    assert "AMENT_PREFIX_PATH" not in names(healthy(environ={}, distributions={}))


def test_a_system_ros_beside_the_wheels_is_a_warning() -> None:
    paths = ("/opt/ros/jazzy/lib/python3.12/site-packages", "/venv/lib")
    assert finding(healthy(paths=paths), "ROS 2 twice").mark == WARN


def test_the_segment_is_that_of_the_shipped_profile() -> None:
    from anomaly_seg_ros.doctor.ros import SEGMENT

    text = (Path(__file__).parents[2] / "config" / "fastdds.xml").read_text()
    assert f"<segment_size>{SEGMENT}</segment_size>" in text
