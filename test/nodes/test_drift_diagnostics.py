"""Drift of the scores in the diagnostics: the sentence, the values, the node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from diagnostic_msgs.msg import DiagnosticStatus
from node_rig import Rig, image_message, road_picture
from std_srvs.srv import Trigger
from tiny_bundle import ANOMALY_COLOR, write_tiny_bundle

from anomaly_seg_ros.drift import Drift
from anomaly_seg_ros.nodes.diagnostics import CameraState, NodeState, status_values, statuses
from anomaly_seg_ros.nodes.statistics import FrameStatistics
from anomaly_seg_ros.score_quantiles import QUANTILE_LEVELS

MakeRig = Callable[..., Rig]


def status_of(drift: Drift | None) -> DiagnosticStatus:
    camera = CameraState("", "/camera/image", FrameStatistics().snapshot(), drift=drift)
    (status,) = statuses("/detector", NodeState("active", True, "", "tiny"), [camera], 5.0)
    return status


@pytest.mark.parametrize(
    ("rank", "sentence"),
    [
        (0.7, "scores are higher than on the drives this bundle was calibrated on: dusk"),
        (0.3, "scores are lower than on the drives"),
        (0.51, "scores are spread otherwise than on the drives"),
    ],
)
def test_a_drift_is_a_warning_in_words(rank: float, sentence: str) -> None:
    status = status_of(Drift(600, 0.4, rank, drifting=True))
    assert status.level == DiagnosticStatus.WARN and status.message.startswith(sentence)
    values = status_values(status)
    assert (values["score drift"], values["score rank"]) == ("0.400", f"{rank:.3f}")


def test_without_a_drift_all_is_well_and_what_is_missing_is_said() -> None:
    for drift, text in (
        (Drift(600, 0.05, 0.5), "0.050"),
        (Drift(7), "not yet: 7 frames seen"),
        (Drift(0, note="no reference: ..."), "no reference: ..."),
    ):
        status = status_of(drift)
        assert status.level == DiagnosticStatus.OK
        assert status_values(status)["score drift"] == text
    assert "score drift" not in status_values(status_of(None))


def test_the_node_warns_until_the_statistics_are_reset(rig: MakeRig, tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path / "tiny")
    file = folder / "bundle.yaml"
    description = yaml.safe_load(file.read_text())
    description["score"]["reference_quantiles"] = list(QUANTILE_LEVELS)
    file.write_text(yaml.safe_dump(description))
    made = rig(bundle=str(folder), drift_window=2, always_process=True)
    made.start()
    everywhere = np.full_like(road_picture(), ANOMALY_COLOR)
    for number in range(2):
        made.camera.publish(image_message(everywhere, number=number))
        made.spin_for(0.2)
    made.spin_until(lambda: made.summary.startswith("scores are higher than"), "the warning")
    made.call(Trigger, "reset_statistics", Trigger.Request())
    assert made.fresh_diagnostics()["score drift"] == "not yet: 0 frames seen"


def test_a_bundle_without_reference_says_so(rig: MakeRig) -> None:
    made = rig()
    made.start()
    assert made.fresh_diagnostics()["score drift"].startswith("no reference: the bundle has 3")
