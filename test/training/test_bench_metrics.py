"""The streaming histogram against scikit-learn, side by side, in small."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys

import numpy as np
import pytest

from anomaly_seg_ros.errors import MetricError
from anomaly_seg_ros.metrics import ANOMALY, VOID
from training.bench_metrics import (
    Load,
    add_parser,
    all_pixels,
    alone,
    histogram,
    run,
    synthetic_frame,
)

TINY = Load(frames=3, width=256, height=128, threads=1)


def arguments(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    return parser.parse_args(["bench-metrics", *words])


def test_both_contenders_and_their_difference_are_printed(capsys) -> None:
    pytest.importorskip("sklearn", reason="bench-metrics compares with scikit-learn")

    code = run(arguments("--frames", "3", "--size", "256x128"))

    printed = capsys.readouterr().out
    assert code == 0
    assert "3 frames of 256x128" in printed
    for name in ("ScoreHistogram", "all pixels, scikit-learn", "ratio", "AP", "AUROC", "FPR95"):
        assert re.search(rf"^  {name} +-?\d", printed, re.MULTILINE), name


def test_the_histogram_is_as_near_as_it_states() -> None:
    pytest.importorskip("sklearn", reason="bench-metrics compares with scikit-learn")

    near, exact = histogram(TINY).scores, all_pixels(TINY).scores

    assert (near.positives, near.negatives) == (exact.positives, exact.negatives)
    assert abs(near.ap - exact.ap) <= near.ap_error + 1e-9
    assert abs(near.auroc - exact.auroc) <= near.auroc_error + 1e-9
    assert abs(near.fpr95 - exact.fpr95) <= near.fpr95_error + 1e-9


def test_a_result_beyond_the_stated_error_is_an_exit_code(capsys, monkeypatch) -> None:
    pytest.importorskip("sklearn", reason="bench-metrics compares with scikit-learn")
    other = {"histogram": TINY, "all_pixels": Load(frames=2, width=256, height=128, threads=1)}
    monkeypatch.setattr(
        "training.bench_metrics.alone", lambda contender, _: contender(other[contender.__name__])
    )

    code = run(arguments("--frames", "3", "--size", "256x128"))

    assert code == 1
    assert "beyond the stated error" in capsys.readouterr().out


def test_the_memory_of_the_caller_is_not_counted() -> None:
    caller = np.ones(2**29, np.uint8)  # half a GiB

    assert alone(histogram, TINY).resident < caller.nbytes


def test_torch_stays_out_of_the_measured_processes() -> None:
    code = "import sys, training.bench_metrics; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_without_scikit_learn_the_error_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn", None)

    with pytest.raises(MetricError, match="pip install scikit-learn"):
        run(arguments("--frames", "1"))


def test_more_frames_than_memory_holds_are_refused_at_once() -> None:
    pytest.importorskip("sklearn", reason="bench-metrics compares with scikit-learn")

    with pytest.raises(MetricError, match="at most --frames"):
        run(arguments("--frames", "1000000"))


@pytest.mark.parametrize("words", [("--size", "2048"), ("--size", "0x9"), ("--frames", "0")])
def test_odd_arguments_are_refused(words, capsys) -> None:
    with pytest.raises(SystemExit):
        arguments(*words)
    assert "expected" in capsys.readouterr().err


def test_frames_are_like_those_of_a_road() -> None:
    score, label = synthetic_frame(0, 512, 256)

    again = synthetic_frame(0, 512, 256)
    assert np.array_equal(score, again[0]) and np.array_equal(label, again[1])
    assert not np.array_equal(label, synthetic_frame(1, 512, 256)[1])
    assert (score.dtype, label.dtype, score.shape) == (np.float32, np.uint8, (256, 512))
    assert score.min() > 0 and score.max() < 1
    assert np.median(score) < 0.1 < score.max() / 2
    assert np.mean(label == VOID) == pytest.approx(0.10, abs=0.001)
    assert np.mean(label == ANOMALY) == pytest.approx(0.01, abs=0.005)
