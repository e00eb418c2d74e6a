"""Progress, cancelling and messages of builds on a fake TensorRT."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from fake_tensorrt import Builder, FakeTensorRT

from anomaly_seg_ros.backends.build_watch import BuildCancelled, BuildStep, BuildWatch
from anomaly_seg_ros.backends.engine_cache import default_cache
from anomaly_seg_ros.backends.tensorrt_backend import TensorRTBackend
from anomaly_seg_ros.backends.tensorrt_progress import Phases
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.errors import BackendError

BACKEND = TensorRTBackend()
STAGES = ["segmentation", "observer"]


def test_inner_phases_fill_the_step_of_the_outer_one() -> None:
    phases = Phases()
    assert phases.done() == 0
    phases.start("build", None, 4)
    phases.step("build", 0)
    phases.start("tactics", "build", 2)
    phases.step("tactics", 0)
    assert phases.done() == 3 / 8
    phases.finish("tactics")  # the outer step is told later: nothing falls back meanwhile
    assert phases.done() == 3 / 8
    phases.step("build", 3)
    assert phases.done() == 1
    phases.finish("build")
    phases.step("unknown", 0)
    assert phases.done() == 1


def test_progress_rises_from_stage_to_stage(bundle: Bundle, trt: FakeTensorRT) -> None:
    told: list[BuildStep] = []
    BACKEND.prepare(bundle, watch=BuildWatch(told.append))
    assert list(dict.fromkeys(step.what for step in told)) == [f"stage {name}" for name in STAGES]
    for name in STAGES:
        done = [step.done for step in told if step.what == f"stage {name}"]
        assert done == sorted(done) and done[0] == 0 and done[-1] == 1
    assert {step.phase for step in told} == {"Building Engine", "Timing tactics"}


def test_a_cancelled_build_leaves_nothing(bundle: Bundle, trt: FakeTensorRT, engines: Path) -> None:
    told: list[BuildStep] = []
    watch = BuildWatch(told.append, lambda: len(told) > 7)
    with pytest.raises(BuildCancelled, match="build of stage segmentation was cancelled"):
        BACKEND.prepare(bundle, watch=watch)
    assert 0 < told[-1].done < 1 and default_cache().entries() == []
    assert not any(trt._cuda.live().values())


def test_what_a_watch_raises_does_not_pass_through_tensorrt(
    bundle: Bundle, trt: FakeTensorRT, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of a callback from C++ it would end the process."""
    real, returned = Builder.build_serialized_network, []

    def recorded(self: Builder, *given: object) -> object:
        returned.append(real(self, *given))  # type: ignore[arg-type]
        return returned[-1]

    monkeypatch.setattr(Builder, "build_serialized_network", recorded)

    def broken(step: BuildStep) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        BACKEND.prepare(bundle, watch=BuildWatch(broken))
    assert returned == [None]


def test_messages_go_to_the_log_by_their_severity(
    bundle: Bundle, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt._faults.add("build")
    with pytest.raises(BackendError):
        BACKEND.build(bundle)
    levels = {record.getMessage()[:13]: record.levelno for record in caplog.records}
    assert levels["Error Code 10"] == logging.ERROR
