"""A published network through the whole benchmark gives the figures measured with it elsewhere."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from training.benchmark.contenders import ContenderSpec
from training.benchmark.run import BenchmarkOptions, benchmark
from training.benchmark.scored_frames import EvaluationSize

sys.path.insert(0, str(Path(__file__).parent))
from espnetv2 import ROOT, WEIGHTS

# ESPNetv2 s2.0 trained on Cityscapes by its authors, 1024 columns, Pillow bilinear: AP, AUROC,
# FPR95 in percent, measured elsewhere from histograms of 2000 bins.
REFERENCE = {
    "road_anomaly21": {
        "max_softmax": (24.2, 69.7, 68.1),
        "entropy": (24.8, 70.7, 67.2),
        "max_logit": (24.0, 70.2, 70.9),
    },
    "road_obstacle21": {
        "max_softmax": (15.2, 96.1, 14.8),
        "entropy": (13.8, 96.2, 14.7),
        "max_logit": (5.1, 92.0, 22.7),
    },
    "fishyscapes_static": {
        "max_softmax": (8.2, 88.7, 32.1),
        "entropy": (10.1, 89.6, 31.5),
        "max_logit": (11.5, 91.0, 28.8),
    },
}
WITHIN = 0.6  # percent points: half a point, and the rounding and bins of the reference


def check(dataset: str, scores: tuple[str, ...], out: Path) -> None:
    if not WEIGHTS.is_file():
        pytest.skip("the published weights are not here: set ANOMALY_SEG_SHARED")
    results = benchmark(
        BenchmarkOptions(
            contenders=tuple(ContenderSpec("python", f"espnetv2:{score}") for score in scores),
            datasets=(dataset,),
            root=ROOT / "data",
            out=out,
            protocols=("pooled",),
            size=EvaluationSize(width=1024, filter="bilinear"),
            repeats=0,
            pictures=0,
        )
    )
    for score in scores:
        figures = results.tables[0].rows[f"espnetv2:{score}"]
        found = [100 * (figures[key].value or 0) for key in ("ap", "auroc", "fpr95")]
        assert found == pytest.approx(REFERENCE[dataset][score], abs=WITHIN), (dataset, score)


@pytest.mark.slow
def test_road_anomaly_21_is_reproduced(tmp_path: Path) -> None:
    check("road_anomaly21", ("max_softmax",), tmp_path / "out")


@pytest.mark.slow
@pytest.mark.parametrize("dataset", REFERENCE)
def test_all_scores_are_reproduced(tmp_path: Path, dataset: str) -> None:
    check(dataset, ("max_softmax", "entropy", "max_logit"), tmp_path / "out")
