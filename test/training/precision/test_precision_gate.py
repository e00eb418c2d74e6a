"""The gate and the search: what is measured, what is refused, and how few blocks are given up."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomaly_seg_ros.bundle import Bundle
from training.precision.frames import calibration_pictures, measured_frames
from training.precision.int8 import Block
from training.precision.parity import Parity, Reference
from training.precision.sensitivity import Damage, damage, fewest, worst_first


def parity(**changed: float) -> Parity:
    values: dict = {
        "data": "frames",
        "frames": 10,
        "label_agreement": 0.98,
        "score_mean_error": 0.001,
        "score_max_error": 0.1,
    }
    return Parity(**values | changed)


def test_what_agrees_passes() -> None:
    assert parity().faults(1.0) == []
    assert parity(ap=0.895, ap_fp32=0.90).faults(1.0) == []


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (parity(label_agreement=0.96), "label agreement 0.9600, expected 0.97 or more"),
        (
            parity(ap=0.889, ap_fp32=0.90),
            "AP 0.8890 against 0.9000 in fp32, expected a loss below 0.01",
        ),
        (parity(score_mean_error=0.05), "mean score error 0.05, expected 0.02 or less"),
    ],
)
def test_a_fault_says_what_was_measured_and_what_was_expected(found: Parity, message: str) -> None:
    assert found.faults(1.0) == [message]


def test_score_errors_are_judged_by_the_range_of_the_score_and_only_without_ap() -> None:
    assert parity(score_mean_error=0.05).faults(10.0) == []
    assert parity(score_mean_error=0.05, ap=0.9, ap_fp32=0.9).faults(1.0) == []


def test_the_entry_of_the_bundle_holds_plain_numbers_alone() -> None:
    entry = parity(ap=0.9, ap_fp32=0.91).entry()
    assert entry["ap_fp32"] == 0.91 and all(type(v) in (str, int, float) for v in entry.values())
    assert "ap" not in parity().entry()


@given(st.integers(0, 200), st.integers(0, 220))
@settings(deadline=None, max_examples=60)
def test_the_fewest_blocks_are_found_in_few_tries(count: int, needed: int) -> None:
    tries: list[int] = []

    def passes(kept: int) -> bool:
        tries.append(kept)
        return kept >= needed

    assert fewest(count, passes) == (needed if needed <= count else None)
    assert len(tries) <= 2 * count.bit_length() + 2
    assert len(tries) == len(set(tries))


def test_the_most_damaging_block_comes_first() -> None:
    found = [Damage("s", Block(str(share), ()), share) for share in (0.1, 0.9, 0.5)]
    assert [entry.share for entry in worst_first(found)] == [0.9, 0.5, 0.1]


def test_damage_is_the_worse_of_labels_and_score() -> None:
    assert damage(parity(label_agreement=0.97), 1.0) == pytest.approx(1.0)
    assert damage(parity(label_agreement=1.0, score_mean_error=0.01), 1.0) == pytest.approx(0.5)


def test_the_same_graphs_agree_wholly(chain: Bundle) -> None:
    frames, real = measured_frames(None)
    assert not real and frames.title == "procedural drives"
    reference = Reference(chain, frames, every=16, real=True, threads=1)
    found = reference.measure({}, "int8")
    assert (found.label_agreement, found.score_max_error) == (1.0, 0.0)
    assert found.ap == found.ap_fp32 is not None
    assert reference.measure({}, "int8", first=1).ap is None


def test_scenes_calibrate_where_there_are_no_data(chain: Bundle, tmp_path) -> None:
    pictures = calibration_pictures(tmp_path, 2)
    assert pictures.title == "procedural scenes"
    assert len(pictures.readers) == 2
    image = next(pictures.fitted(chain))
    assert image.shape == (1, 64, 128, 3) and image.std() > 5
