"""The modes of replay.launch.py under the real `ros2 launch`; skipped where it is not installed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

pytest.importorskip("launch_ros", reason="the ROS 2 launch system is not installed")
pytest.importorskip("ros2launch", reason="`ros2 launch` is not installed")
pytest.importorskip("rclpy", reason="ROS 2 is not installed")

from launch_rig import launch

REPLAY = "replay.launch.py"


@pytest.mark.parametrize("mode", ["lock-step", "in-process"])
def test_a_mode_that_is_no_camera_runs_the_program_and_leaves_its_report(
    environment: dict[str, str], tiny_bundle: Path, tmp_path: Path, mode: str
) -> None:
    arguments = ["input:=scenes:4:2", f"mode:={mode}", f"out:={tmp_path / 'out'}"]
    arguments += ["labels:=scenes", "threshold:=0.25", f"bundle:={tiny_bundle}", "threads:=1"]
    status, text = launch(environment, REPLAY, *arguments)
    assert status == 0, text
    assert "detector_node" not in text
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["replay"]["mode"] == mode and results["frames"] == 2
    assert results["at_operating_point"]["threshold"] == 0.25
    assert results["bundle"] == "tiny" and results["runner"]["threads"] == 1


def test_evaluate_measures_along_and_leaves_a_report_when_the_recording_ends(
    environment: dict[str, str], tiny_bundle: Path, tmp_path: Path
) -> None:
    arguments = ["input:=scenes:4:12", "rate:=4.0", f"bundle:={tiny_bundle}", "namespace:=front"]
    status, text = launch(
        environment, REPLAY, *arguments, "evaluate:=true", f"out:={tmp_path / 'out'}"
    )
    assert status == 0, text
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert 1 <= results["frames"] <= 12 and results["bundle"] == "tiny"
    assert results["input"]["path"] == "/front/image_source/anomaly"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ("mode:=lock-step", "add out:=FOLDER"),
        ("mode:=in-process out:=there rviz:=true", "rviz is for mode:=real-time"),
        ("mode:=lock-step out:=there evaluate:=true", "evaluate is for mode:=real-time"),
        ("labels:=scenes", "labels is for mode:=lock-step or in-process"),
        ("out:=there", "nothing writes a report: add evaluate:=true"),
        ("mode:=backwards", "backwards"),
    ],
)
def test_arguments_that_do_not_go_together_stop_the_launch_before_anything_starts(
    environment: dict[str, str], arguments: str, complaint: str
) -> None:
    status, text = launch(environment, REPLAY, "input:=scenes:4:2", *arguments.split())
    assert status != 0
    assert complaint in text
    assert "process started" not in text
