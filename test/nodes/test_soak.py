"""The soak around the real detector process, in its shortest form and with the tiny bundle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.cli.main import main
from anomaly_seg_ros.errors import EncodingError
from anomaly_seg_ros.imaging.encodings import SUPPORTED_ENCODINGS, message_to_rgb
from anomaly_seg_ros.nodes.soak.cases import CASES
from anomaly_seg_ros.nodes.soak.corpus import compressed_corpus, raw_corpus
from anomaly_seg_ros.nodes.soak.faults import FaultCase, Trial, run_case
from anomaly_seg_ros.nodes.soak.latency import LatencyRow, measure_bare, measure_latency
from anomaly_seg_ros.nodes.soak.results import (
    Check,
    Footprint,
    LatencyNumbers,
    Part,
    SoakReport,
    StreamNumbers,
)
from anomaly_seg_ros.nodes.soak.rig import Arrival, Setup
from anomaly_seg_ros.nodes.soak.source import number_in, numbered
from anomaly_seg_ros.nodes.soak.stream import stream_checks
from anomaly_seg_ros.nodes.soak.table import table
from anomaly_seg_ros.scenes import RoadSequence

SIZE = (120, 160)
PATIENCE = 120.0
# What they bring about stands in other tests as well, without the count of leaks.
QUICK = ("reload_damaged",)  # the others: `make parity`
PLACE = Footprint(resident=200.0, private=80.0, threads=20, descriptors=25)
NUMBERS = StreamNumbers(
    rate_asked=10.0,
    rate_sent=10.0,
    rate_masks=8.0,
    published=10,
    received=9,
    processed=7,
    dropped={"stale": 2},
    skipped={},
    lost_before=1,
    masks=6,
    lost_behind=1,
    age=None,
    inference=1.0,
    transport=1.0,
    age_limit=3.0,
    warm=PLACE,
    end=PLACE,
    memory_growth=0.0,
)


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A soak sets variables for itself; the other tests keep theirs."""
    for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE"):
        monkeypatch.setenv(name, os.environ.get(name, ""))


@pytest.fixture(scope="module")
def prepared(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Setup]:
    """What all parts share, for small pictures."""
    scratch = tmp_path_factory.mktemp("soak")
    road = RoadSequence(7, SIZE)
    pictures = np.stack([road.frame(index).image for index in range(2)])
    np.save(scratch / "pictures.npy", pictures)
    bundle = Bundle.open(tiny)
    bare, _ = measure_bare(bundle, 1, pictures, quick=True)
    yield Setup(
        bundle=bundle,
        scratch=scratch,
        threads=1,
        size=SIZE,
        images={SIZE: scratch / "pictures.npy"},
        bare={SIZE: bare},
        quick=True,
    )


def expect_no_fault(part: Part) -> None:
    """Everything holds that does not depend on how fast this machine is."""
    faults = [check for check in part.checks if not check.holds and not check.timing]
    assert not faults


def test_a_soak_accounts_for_every_image_and_keeps_its_numbers(
    tiny: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "build" / "soak.json"
    arguments = ["soak", "--quick", "--frames", "3000", "--bundle", str(tiny), "--size", "120x160"]
    code = main([*arguments, "--only", "stream_5x", "--out", str(out)])
    found = json.loads(out.read_text())
    assert found["finished"] and found["bundle"] == "tiny" and found["rate"] > 0
    (part,) = found["parts"]
    assert part["name"] == "stream_5x" and code == (part["verdict"] == "FAILED")
    numbers = part["numbers"]
    inside = numbers["processed"] + sum(numbers["dropped"].values())
    inside += sum(numbers["skipped"].values())
    assert numbers["published"] == 3000 == inside + numbers["lost_before"]
    assert numbers["masks"] == numbers["processed"] - numbers["lost_behind"] > 0
    assert numbers["age_limit"] > 2 * numbers["inference"] > 0
    assert all(check["holds"] for check in part["checks"] if not check["timing"]), part["checks"]
    assert "3000 published = " in capsys.readouterr().out


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name, marks=() if case.name in QUICK else pytest.mark.slow)
        for case in CASES
    ],
)
def test_the_node_survives(case: FaultCase, prepared: Setup) -> None:
    part = run_case(prepared, case)
    expect_no_fault(part)
    assert part.not_offered or part.checks[-1].what == "no traceback in the log"


@pytest.mark.parametrize("cameras", [pytest.param(1, marks=pytest.mark.slow), 3])
def test_a_latency_is_told_beside_the_bare_detector(prepared: Setup, cameras: int) -> None:
    part = measure_latency(prepared, LatencyRow(SIZE, compressed=True, cameras=cameras))
    expect_no_fault(part)
    if not part.not_offered:
        assert isinstance(part.numbers, LatencyNumbers) and part.numbers.send_to_mask is not None
        assert part.numbers.cameras == cameras and part.numbers.masks > 0
        assert part.numbers.ratio == part.numbers.send_to_mask.p50 / part.numbers.bare.p50


def test_a_node_that_dies_is_a_part_that_failed(prepared: Setup) -> None:
    def killed(trial: Trial) -> None:
        trial.rig.kill(trial.rig.process)
        trial.rig.expect_answer()

    part = run_case(prepared, FaultCase("killed", "the node itself is killed", killed))
    assert part.verdict == "FAILED" and "ended with status -9" in part.reasons[0]


def test_a_stopped_soak_keeps_what_it_had_and_leaves_no_process(tiny: Path, tmp_path: Path) -> None:
    out = tmp_path / "soak.json"
    command = [sys.executable, "-m", "anomaly_seg_ros.cli.main", "soak", "--quick"]
    command += ["--bundle", str(tiny), "--size", "120x160", "--out", str(out)]
    command += ["--only", "odd_stamps", "--only", "malformed_raw"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as soak:
        deadline = time.monotonic() + PATIENCE
        while not out.exists() or not json.loads(out.read_text())["parts"]:
            assert time.monotonic() < deadline and soak.poll() is None
            time.sleep(0.05)
        while not (children := Path(f"/proc/{soak.pid}/task/{soak.pid}/children").read_text()):
            assert time.monotonic() < deadline and soak.poll() is None
        soak.send_signal(signal.SIGINT)
        _, told = soak.communicate(timeout=PATIENCE)
        assert soak.returncode == 130
    while any(Path(f"/proc/{child}/exe").exists() for child in children.split()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert f"interrupted: {out} holds what was finished" in told
    found = json.loads(out.read_text())
    assert [part["name"] for part in found["parts"]] == ["odd_stamps"] and not found["finished"]


def test_a_part_that_is_none_is_named_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["soak", "--only", "weather", "--out", str(tmp_path / "soak.json")]) == 2
    told = capsys.readouterr().err
    assert "--only weather: no such part" in told and "source_killed" in told
    assert not (tmp_path / "soak.json").exists()


def test_every_encoding_stands_in_the_corpus_and_nothing_in_it_is_an_image() -> None:
    messages = list(raw_corpus())
    assert {message.encoding for message in messages} > set(SUPPORTED_ENCODINGS)
    for message in [*messages, *compressed_corpus()]:
        with pytest.raises(EncodingError):
            message_to_rgb(message)


def test_an_image_that_is_not_accounted_for_is_found() -> None:
    arrivals = [Arrival(number, 0.1, 0.0) for number in range(6)]
    assert stream_checks(NUMBERS, arrivals)[0].holds
    for wrong in ({"processed": 6}, {"received": 11, "lost_before": -1}, {"lost_behind": -1}):
        assert not stream_checks(replace(NUMBERS, **wrong), arrivals)[0].holds


@pytest.mark.parametrize("numbers", [[0, 1, 1], [0, 2, 1], [0, 10], []])
def test_masks_twice_out_of_order_or_of_nothing_are_found(numbers: list[int]) -> None:
    arrivals = [Arrival(number, 0.1, 0.0) for number in numbers]
    assert not stream_checks(NUMBERS, arrivals)[1].holds


@pytest.mark.parametrize(
    "end",
    [replace(PLACE, threads=21), replace(PLACE, descriptors=26)],
)
def test_a_leak_of_threads_or_descriptors_is_found(end: Footprint) -> None:
    faults = [c.what for c in stream_checks(replace(NUMBERS, end=end), []) if not c.holds]
    assert "threads and descriptors" in faults


def test_the_table_says_why_a_part_failed() -> None:
    report = SoakReport("tiny", "cpu", (), frames=10, quick=True, started="now")
    report.parts = [
        Part("stream_1x", "10 images", 1.0, (Check("memory", False, "+7 %"),), NUMBERS),
        Part("reload_damaged", "~/reload", 1.0, not_offered="no service"),
        Part("odd_stamps", "odd stamps", 1.0, (Check("alive", True, "yes"),)),
    ]
    text = table(report)
    assert "memory: +7 %" in text and "not offered  no service" in text
    assert "1 ok, 1 FAILED, 1 not offered" in text
    assert "10 published = 7 processed, 2 stale, 1 lost in transport" in text


def test_run_and_number_pass_through_a_frame_id() -> None:
    assert number_in(numbered("stream_5x_1", 9999)) == ("stream_5x_1", 9999)
    for other in ("camera_optical_frame", "soak/x", "soak/x/-1", "", "a/b/3"):
        assert number_in(other) is None
