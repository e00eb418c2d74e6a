"""Nodes as programs: how they end, and camera and detector in processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import pytest
import rclpy
from make_recordings import write_folder
from node_rig import road_picture
from rclpy.context import Context
from sensor_msgs.msg import CompressedImage

from anomaly_seg_ros.errors import NodeError
from anomaly_seg_ros.imaging.encodings import message_to_map
from anomaly_seg_ros.nodes.camera_stand_in import CameraStandIn
from anomaly_seg_ros.nodes.node_process import NodeProcess, detector_process

PATIENCE = 60.0
DETECTOR = "anomaly_seg_ros.nodes.detector_node"
SOURCE = "anomaly_seg_ros.nodes.image_source_node"
EVALUATOR = "anomaly_seg_ros.nodes.evaluator_node"


def wait_for_line(process: NodeProcess, text: str) -> str:
    """The first line of the log with this text."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        lines = process.log.read_text(errors="replace").splitlines()
        for line in lines:
            if text in line:
                return line
        process.check()
        time.sleep(0.02)
    raise AssertionError(f"waited in vain for {text!r} in {lines}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_an_active_detector_with_status_0(
    tiny: Path, tmp_path: Path, number: int
) -> None:
    with detector_process({"bundle": str(tiny)}, {}, tmp_path / "log") as process:
        wait_for_line(process, "active: waiting")
        os.kill(process.pid, number)
        assert process.wait(PATIENCE) == 0, process.last_lines()
    assert "Traceback" not in process.last_lines()


def test_more_signals_while_ending_change_nothing(tiny: Path, tmp_path: Path) -> None:
    with detector_process({"bundle": str(tiny)}, {}, tmp_path / "log") as process:
        wait_for_line(process, "active: waiting")
        for _ in range(20):
            process.interrupt()
            time.sleep(0.02)
        assert process.wait(PATIENCE) == 0
    assert "Traceback" not in process.last_lines()


def test_a_detector_ends_with_the_program_that_started_it(tiny: Path, tmp_path: Path) -> None:
    """However that ends: a demo that is killed leaves no detector behind."""
    log = tmp_path / "log"
    starter = (
        "import sys, time, pathlib\n"
        "from anomaly_seg_ros.nodes.node_process import detector_process\n"
        "bundle, log = sys.argv[1:]\n"
        "process = detector_process({'bundle': bundle}, {}, pathlib.Path(log))\n"
        "print(process.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    command = [sys.executable, "-c", starter, str(tiny), str(log)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        detector = int(parent.stdout.readline())
        deadline = time.monotonic() + PATIENCE
        while "active: waiting" not in (log.read_text() if log.exists() else ""):
            assert time.monotonic() < deadline
            time.sleep(0.02)
        parent.kill()
    while Path(f"/proc/{detector}/exe").exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_detector_with_a_bad_bundle_lives_until_it_is_ended(tmp_path: Path) -> None:
    with detector_process({"bundle": "/not/there"}, {}, tmp_path / "log") as process:
        assert "/not/there" in wait_for_line(process, "cannot configure")
        time.sleep(0.2)
        process.check()
        assert process.stop() == 0


def test_wrong_parameters_end_the_program_with_one_line(tmp_path: Path) -> None:
    with detector_process({"queue_policy": "some"}, {}, tmp_path / "log") as process:
        assert process.wait(PATIENCE) == 2
        lines = process.last_lines().strip().splitlines()
    assert len(lines) == 1 and "error: parameter queue_policy is 'some'" in lines[0]


def test_a_process_that_died_is_told_with_its_last_lines(tmp_path: Path) -> None:
    process = detector_process({"focus": "sideways"}, {}, tmp_path / "log")
    process.wait(PATIENCE)
    with pytest.raises(NodeError, match=r"ended with status 2(.|\n)*focus is 'sideways'"):
        process.check()


@pytest.mark.parametrize("module", [DETECTOR, SOURCE, EVALUATOR])
def test_help_lists_topics_and_parameters(module: str) -> None:
    done = subprocess.run([sys.executable, "-m", module, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "Parameters:" in done.stdout
    assert "--ros-args" in done.stdout


def test_camera_and_detector_in_processes_of_their_own(tiny: Path, tmp_path: Path) -> None:
    with (
        detector_process({"bundle": str(tiny)}, {}, tmp_path / "log") as process,
        CameraStandIn(["anomaly_mask", "overlay"], process.check) as camera,
    ):
        camera.wait_until_active(PATIENCE)
        picture = cv2.resize(road_picture(box=(40, 40, 100, 120)), (640, 480))
        for _ in range(5):
            stamp, answers = camera.ask(camera.message(picture), PATIENCE)
            mask, latency = answers["anomaly_mask"]
            assert (mask.header.stamp.sec, mask.header.stamp.nanosec) == stamp
            assert message_to_map(mask)[280, 320] == 255
            assert latency > 0
        assert answers["overlay"][0].encoding == "rgb8"


def test_silence_names_the_transport_of_a_camera_that_sends_another_type(
    tiny: Path, tmp_path: Path
) -> None:
    context = Context()
    rclpy.init(args=[], context=context)
    camera = rclpy.create_node("other_camera", context=context)
    camera.create_publisher(CompressedImage, "/camera/image", 1)
    parameters = {"bundle": str(tiny), "silence_warning": 0.5}
    try:
        with detector_process(parameters, {}, tmp_path / "log") as process:
            line = wait_for_line(process, "carries sensor_msgs/msg/CompressedImage")
    finally:
        camera.destroy_node()
        context.try_shutdown()
    assert "set image_transport to compressed" in line


def test_an_image_source_plays_a_folder_to_the_detector(tiny: Path, tmp_path: Path) -> None:
    """Two programs of ours, remapped onto each other; every image comes back as a mask."""
    source_log = tmp_path / "source.log"
    folder = write_folder(tmp_path / "images", 4)
    arguments = ["--ros-args", "-r", "image:=/camera/image", "-p", f"source:={folder}"]
    arguments += ["-p", "wait_for_subscribers:=1", "-p", "rate:=20.0"]
    arguments += ["-p", "transport:=compressed"]
    parameters = {
        "bundle": str(tiny),
        "image_transport": "compressed",
        "queue_policy": "all",
        "always_process": True,
    }
    with (
        detector_process(parameters, {}, tmp_path / "log") as process,
        CameraStandIn(["anomaly_mask"], process.check, compressed=True) as reader,
    ):
        reader.wait_until_active(PATIENCE)
        with NodeProcess(SOURCE, arguments, {}, source_log) as source:
            assert source.wait(PATIENCE) == 0, source.last_lines()
        deadline = time.perf_counter() + PATIENCE
        while reader.fresh_diagnostics(PATIENCE)["masks published"] != "4":
            assert time.perf_counter() < deadline, reader.diagnostics
    assert "4 images published" in source.last_lines()


def test_an_image_source_without_a_recording_says_so(tmp_path: Path) -> None:
    for arguments, reason in (
        ([], "parameter source is empty"),
        (["--ros-args", "-p", "source:=/not/there"], "/not/there does not exist"),
        (["--ros-args", "-p", "source:=scenes:1", "-p", "rate:=-1.0"], "out of range"),
    ):
        with NodeProcess(SOURCE, arguments, {}, tmp_path / "log") as source:
            assert source.wait(PATIENCE) == 2
            assert reason in source.last_lines()
