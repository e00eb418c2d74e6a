"""Engines in the node's configure step: built with progress, cancelled by a shutdown, diagnosed."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from node_rig import Rig, image_message, road_picture

from anomaly_seg_ros.nodes.engine_setup import PACKAGE_LOG, EngineProgress
from anomaly_seg_ros.nodes.node_process import NodeProcess

FAKES = Path(__file__).parents[1] / "backends"
sys.path.insert(0, str(FAKES))

from fake_tensorrt import LOG_VARIABLE, SECONDS_VARIABLE, FakeTensorRT, install  # noqa: E402

MakeRig = Callable[..., Rig]
PATIENCE = 60.0
PROGRAM = """
import fake_tensorrt
fake_tensorrt.install()
from anomaly_seg_ros.nodes.detector_node import main
raise SystemExit(main())
"""


@pytest.fixture
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ANOMALY_SEG_ENGINES", str(tmp_path / "engines"))
    return tmp_path / "engines"


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch, engines: Path) -> FakeTensorRT:
    return install(monkeypatch)


def engine_diagnosed(made: Rig) -> dict[str, str]:
    """The diagnostics once an engine is loaded; what was published before may still be queued."""
    made.spin_until(lambda: "backend" in made.diagnostics, "diagnostics of an engine")
    return made.diagnostics


@pytest.mark.parametrize("backend", ["tensorrt", "auto"])
def test_configure_builds_engines_with_progress_and_the_diagnostics_name_them(
    rig: MakeRig, trt: FakeTensorRT, backend: str
) -> None:
    made = rig(backend=backend, precision="fp32_strict")
    made.start()
    masks = made.read("anomaly_mask")
    made.camera.publish(image_message(road_picture(box=(40, 40, 100, 120))))
    made.spin_until(lambda: masks, "mask")
    values = engine_diagnosed(made)
    assert (values["backend"], values["device"]) == ("tensorrt", "cuda:0")
    assert (values["precision"], values["engine version"]) == ("fp32_strict", "10.13.3.9")
    note = "auto: tensorrt, as its engines are there" if backend == "auto" else ""
    assert values["backend note"] == note
    for stage in ("segmentation", "observer"):
        assert made.logged(f"building the engine of stage {stage}: 0% (Building Engine)")
    assert len(trt._builds) == 2 and trt._cuda.counts["captures"] >= 1


def test_engines_are_built_once_and_freed_with_the_node(rig: MakeRig, trt: FakeTensorRT) -> None:
    made = rig(backend="tensorrt", autostart=False)
    for _ in range(2):
        assert made.change_state(Transition.TRANSITION_CONFIGURE)
        assert made.change_state(Transition.TRANSITION_CLEANUP)
        assert not any(trt._cuda.live().values())
    assert len(trt._builds) == 2


def test_without_permission_nothing_is_built(rig: MakeRig, trt: FakeTensorRT) -> None:
    made = rig(backend="tensorrt", build_engines=False, autostart=False)
    assert not made.change_state(Transition.TRANSITION_CONFIGURE)
    made.spin_until(lambda: made.logged("cannot configure: no fp32 engine for Fake RTX"), "reason")
    assert made.logged("anomaly-seg engine build") and trt._builds == []
    made.fresh_diagnostics()
    assert made.summary.startswith("cannot configure: no fp32 engine")


def test_auto_without_permission_says_why_it_is_slower(rig: MakeRig, trt: FakeTensorRT) -> None:
    made = rig(build_engines=False)
    made.start()
    values = engine_diagnosed(made)
    assert values["backend"] == "onnxruntime" and trt._builds == []
    assert "not tensorrt: no fp32 engine for Fake RTX" in values["backend note"]


def test_a_lost_cuda_graph_is_a_warning_and_stays_in_the_diagnostics(
    rig: MakeRig, trt: FakeTensorRT
) -> None:
    trt._faults.add("capture")
    made = rig(backend="tensorrt")
    made.start()
    assert "no CUDA graph" in engine_diagnosed(made)["backend note"]
    made.spin_until(lambda: made.logged("no CUDA graph"), "the warning")
    assert all("[WARN]" in line for line in made.logged("no CUDA graph")[:1])


def test_a_build_that_fails_fails_the_transition_and_can_be_tried_again(
    rig: MakeRig, trt: FakeTensorRT
) -> None:
    trt._faults.add("build")
    made = rig(backend="tensorrt", autostart=False)
    assert not made.change_state(Transition.TRANSITION_CONFIGURE)
    made.spin_until(lambda: made.logged("Could not find any implementation"), "the reason")
    trt._faults.clear()
    assert made.change_state(Transition.TRANSITION_CONFIGURE)


def test_while_an_engine_is_built_the_diagnostics_go_on(
    rig: MakeRig, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No timer fires then: the build itself publishes, into the queue of whoever listens."""
    monkeypatch.setattr("anomaly_seg_ros.nodes.engine_setup.SHOW_PERIOD", 0.0)
    made = rig(backend="tensorrt", autostart=False)
    summaries: list[str] = []
    made.peer.create_subscription(
        DiagnosticArray,
        "/diagnostics",
        lambda message: summaries.append(message.status[0].message),
        1000,
    )
    made.fresh_diagnostics()
    assert made.change_state(Transition.TRANSITION_CONFIGURE)
    made.spin_until(lambda: "inactive" in summaries, "the end")
    told = [text for text in summaries if text.startswith("building the engine of stage ")]
    assert told[-1] == "building the engine of stage observer: 100%"


def test_the_log_of_the_package_reaches_the_node_only_while_it_lives(rig: MakeRig) -> None:
    before = list(PACKAGE_LOG.handlers)
    made = rig(autostart=False)
    PACKAGE_LOG.getChild("test").warning("the %s is here", "word")
    PACKAGE_LOG.getChild("test").error("and another")
    made.spin_until(lambda: made.logged("[ERROR]") and made.logged("[WARN]"), "both lines")
    assert "the word is here" in made.logged("[WARN]")[0]
    made.node.destroy_node()
    assert PACKAGE_LOG.handlers == before


def test_progress_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    from anomaly_seg_ros.backends import BuildStep

    moments = iter([0.0, 0.5, 1.5, 2.0, 6.0, 6.1])
    monkeypatch.setattr("time.perf_counter", lambda: next(moments))
    lines: list[str] = []
    shown: list[str] = []
    progress = EngineProgress(lines.append, lambda: shown.append(progress.text), lambda: True)
    for done in (0.0, 0.1, 0.2, 0.3, 0.4):
        progress._told(BuildStep("stage a", "Tactics", done))
    progress._told(BuildStep("stage b", "Tactics", 0.0))
    assert lines == [
        "building the engine of stage a: 0% (Tactics)",
        "building the engine of stage a: 40% (Tactics)",
        "building the engine of stage b: 0% (Tactics)",
    ]
    assert [text.rpartition(": ")[2] for text in shown] == ["0%", "20%", "40%", "0%"]


@pytest.mark.parametrize("ends", [True, False])
def test_publishing_may_fail_only_where_ros_ends_in_the_middle_of_it(ends: bool) -> None:
    from anomaly_seg_ros.backends import BuildStep

    alive = [True]

    def show() -> None:
        alive[0] = not ends
        raise RuntimeError("context is invalid")

    progress = EngineProgress(str, show, lambda: alive[0])
    step = BuildStep("stage a", "Tactics", 0.5)
    if ends:
        progress._told(step)
    else:
        with pytest.raises(RuntimeError):
            progress._told(step)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_cancels_the_build_and_ends_the_node(
    tiny: Path, engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    (tmp_path / "detector_on_fake.py").write_text(PROGRAM)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, (tmp_path, FAKES))))
    builds = tmp_path / "builds"
    arguments = ["--ros-args", "-p", f"bundle:={tiny}", "-p", "backend:=tensorrt"]
    environment = {LOG_VARIABLE: str(builds), SECONDS_VARIABLE: "10"}
    with NodeProcess("detector_on_fake", arguments, environment, tmp_path / "log") as process:
        deadline = time.monotonic() + PATIENCE
        while not builds.exists():
            process.check()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(process.pid, number)
        assert process.wait(PATIENCE) == 0, process.last_lines()
    log = (tmp_path / "log").read_text()
    assert "the build of stage segmentation was cancelled" in log and "Traceback" not in log
    assert "end" not in builds.read_text()
    assert [path for path in engines.iterdir() if path.is_file()] == []
