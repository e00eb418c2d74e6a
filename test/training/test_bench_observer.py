"""The bench of the observer's training step."""

from __future__ import annotations

import argparse
import re

import pytest

from anomaly_seg_ros.errors import AnomalySegError
from training import bench_observer


def run(*words: str) -> int:
    parser = argparse.ArgumentParser()
    bench_observer.add_parser(parser.add_subparsers())
    args = parser.parse_args(["bench-observer", "--threads", "1", *words])
    return args.handler(args)


def test_it_prints_a_ratio_for_each_precision_and_the_cost_of_the_observer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--width", "0.0625", "--size", "32x48", "--steps", "1") == 0
    printed = capsys.readouterr().out
    assert len(re.findall(r"images/s +\d+\.\d\d x the released loop", printed)) == 3
    assert "ours, bfloat16" in printed and printed.count("x the segmentation alone") == 2


@pytest.mark.parametrize("words", [("--size", "32"), ("--precision", "int8")])
def test_odd_options_are_refused(words: tuple[str, str]) -> None:
    with pytest.raises(AnomalySegError, match="expected"):
        run(*words)
