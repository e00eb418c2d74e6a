"""Results as a benchmark of three contenders on two datasets gives them, made up but plausible.

Names hold what a report must survive: markup, bars, non-ASCII letters, bytes that are no UTF-8.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from training.benchmark.published import published_rows
from training.benchmark.results import (
    BenchmarkResults,
    Breakdown,
    Column,
    Curves,
    DatasetInfo,
    Figure,
    FrameRow,
    Picture,
    Run,
    Spread,
    Table,
)

HOSTILE = '<script>alert("x")</script>|größer'
CONTENDERS = ("obsnet", "max logit", HOSTILE)
STRENGTH = {"obsnet": 2.2, "max logit": 1.5, HOSTILE: 1.0}  # how far the scores lie apart
PIXEL = (
    Column("ap", "AP"),
    Column("fpr95", "FPR95", better="low"),
    Column("siou", "sIoU gt"),
    Column("ppv", "PPV"),
    Column("f1", "mean F1"),
)
POOLED = (Column("ap", "AP"), Column("auroc", "AUROC"), Column("fpr95", "FPR95", better="low"))
DATASETS = [
    DatasetInfo(
        "road_anomaly21/validation",
        "RoadAnomaly21 validation",
        10,
        {"known": 10_120_331, "anomaly": 1_398_201, "void": 1_210_000},
        "SegmentMeIfYouCan, https://segmentmeifyoucan.com (CC BY 4.0 and others)",
    ),
    DatasetInfo(
        "fishyscapes_lost_and_found/val",
        "Fishyscapes Lost & Found",
        100,
        {"known": 163_000_000, "anomaly": 481_000, "void": 46_000_000},
        "Fishyscapes, https://fishyscapes.com",
    ),
]


def example_results(folder: Path | None = None) -> BenchmarkResults:
    """The results; with a folder, their pictures are written below it."""
    runs = [_run(dataset, contender, folder) for dataset in DATASETS for contender in CONTENDERS]
    return BenchmarkResults(
        title="Road anomalies: three scores on one segmenter",
        version="1.4.0",
        command="python -m training benchmark --datasets road_anomaly21"
        " fishyscapes_lost_and_found --contenders obsnet max_logit --out results/benchmark",
        date="2025-11-25T10:12:00+00:00",
        machine={
            "processor": "AMD EPYC 7B13, 16 cores",
            "python": "3.11.9",
            "torch": "2.9.1",
            "onnxruntime": "1.23.2",
        },
        settings={"seed": 0, "bootstrap repeats": 1000, "evaluation size": [1024, 2048]},
        contenders={
            "obsnet": {"method": "ObsNet", "bundle": "street_obsnet_lite", "sha256": "5f1c…"},
            "max logit": {"method": "max logit", "paper": "https://arxiv.org/abs/1911.11132"},
            HOSTILE: {"method": "entropy & more", "parameters": "temperature < 2"},
        },
        datasets=DATASETS,
        tables=[_smiyc_table(), _pooled_table()],
        runs=runs,
        warnings=["The network saw 4 of the 10 frames at <half> their size."],
    )


def _smiyc_table() -> Table:
    rows = {
        "obsnet": {
            "ap": Figure(0.7270, 0.6411, 0.8032, error=0.0004),
            "fpr95": Figure(0.4021, 0.2907, 0.5233, error=0.0004),
            "siou": Figure(0.4422, 0.371, 0.502),
            "ppv": Figure(0.5256, 0.431, 0.604),
            "f1": Figure(0.4508, 0.372, 0.523),
        },
        "max logit": {
            "ap": Figure(0.5843, 0.470, 0.6893, error=0.0004),
            "fpr95": Figure(0.4021, 0.301, 0.512, error=0.0004),
            "siou": Figure(0.2101, 0.150, 0.266),
            "ppv": Figure(0.1530, 0.101, 0.213),
            "f1": Figure(0.0722, 0.041, 0.109),
        },
        HOSTILE: {
            "ap": Figure(0.2797, 0.199, 0.377, error=0.0004),
            "fpr95": Figure(0.7205, 0.611, 0.813, error=0.0004),
            "siou": Figure(None, reason="no component was predicted at the threshold of best F1"),
            "ppv": Figure(None, reason="no component was predicted at the threshold of best F1"),
            "f1": Figure(0.0),
        },
    }
    return Table(
        "road_anomaly21/validation",
        "smiyc_anomaly",
        "RoadAnomaly21 validation: SegmentMeIfYouCan, anomaly track",
        "Pixels of all frames pooled through per-frame quantile histograms; components at the"
        " threshold of best F1, chosen on the same labels.",
        PIXEL,
        rows,
        published_rows("road_anomaly21", "smiyc_anomaly"),
    )


def _pooled_table() -> Table:
    rows = {
        "obsnet": {
            "ap": Figure(0.3312, 0.251, 0.414),
            "auroc": Figure(0.9610, 0.945, 0.974),
            "fpr95": Figure(0.1612, 0.119, 0.222),
        },
        "max logit": {
            "ap": Figure(0.3102, 0.229, 0.389),
            "auroc": Figure(0.9613, 0.941, 0.976),
            "fpr95": Figure(0.1588, 0.109, 0.214),
        },
        HOSTILE: {
            "ap": Figure(0.1036, 0.067, 0.153),
            "auroc": Figure(0.9011, 0.871, 0.927),
            "fpr95": Figure(0.4034, 0.333, 0.476),
        },
    }
    return Table(
        "fishyscapes_lost_and_found/val",
        "fishyscapes",
        "Fishyscapes Lost & Found: Fishyscapes",
        "All pixels of all frames pooled, exact thresholds, void left out.",
        POOLED,
        rows,
        published_rows("fishyscapes_lost_and_found", "fishyscapes"),
    )


def _run(info: DatasetInfo, contender: str, folder: Path | None) -> Run:
    generator = np.random.default_rng(len(contender) + info.frames)
    curves, spread = _separation(STRENGTH[contender], info)
    anomaly_track = info.name.startswith("road_anomaly21")
    excluded = [] if anomaly_track else [("04_Maurener_Weg_8_000003_000120", "damaged PNG")]
    if contender == HOSTILE:
        excluded.append(("a\udcffb/<b>7</b>", "the label has 1023 rows, the image 1024"))
    rows = [
        FrameRow(
            f"frame {number:03d}",
            float(generator.uniform(0.1, 0.9)),
            float(generator.uniform(0.05, 0.6)) if number else None,
            int(generator.integers(1000, 90000)),
            int(generator.integers(900_000, 1_200_000)),
            0.08,
        )
        for number in range(6)
    ]
    return Run(
        contender,
        info.name,
        info.frames - (contender == HOSTILE),
        excluded,
        {
            "median": 0.048 * STRENGTH[contender],
            "p95": 0.06 * STRENGTH[contender],
            "fit": 0.002,
            "segmentation": 0.03,
            **({"observer": 0.048 * 2.2 - 0.035} if contender == "obsnet" else {}),
        },
        curves,
        spread,
        _breakdowns(STRENGTH[contender], anomaly_track),
        rows,
        _pictures(info.name, contender, folder, generator),
    )


def _separation(strength: float, info: DatasetInfo) -> tuple[Curves, Spread]:
    """Two normal distributions `strength` apart, as counts and as curves."""
    edges = np.linspace(-4, 7, 65)
    middle = (edges[1:] + edges[:-1]) / 2
    known = np.exp(-(middle**2) / 2)
    anomalous = np.exp(-((middle - strength) ** 2) / 3)
    known = (known / known.sum() * info.pixels["known"]).astype(np.int64)
    anomalous = (anomalous / anomalous.sum() * info.pixels["anomaly"]).astype(np.int64)
    false, found = np.cumsum(known[::-1]), np.cumsum(anomalous[::-1])
    used = (false + found) > 0
    false, found = false[used], found[used]
    curves = Curves(
        (found / found[-1]).tolist(),
        (found / (found + false)).tolist(),
        (false / false[-1]).tolist(),
    )
    return curves, Spread(edges.tolist(), known.tolist(), anomalous.tolist())


def _breakdowns(strength: float, sizes_only: bool) -> list[Breakdown]:
    columns = (Column("objects", "objects", "", 1, 0), Column("recall", "recall"))
    sizes = ("below 500 px", "500 to 5 000 px", "above 5 000 px")
    found = [
        Breakdown(
            "size",
            [
                {"part": part, "recall": min(0.12 * strength * (2 + 2 * n), 0.98), "objects": 9 - n}
                for n, part in enumerate(sizes)
            ],
            columns,
        )
    ]
    if not sizes_only:
        parts = ("cargo & pallets", "ball", "bobby car", "wheel")
        rows = [
            {"part": p, "recall": 0.1 * strength * (1 + n) if n else None, "objects": 20 - 3 * n}
            for n, p in enumerate(parts)
        ]
        found.append(Breakdown("class", rows, columns))
    return found


def _pictures(
    dataset: str, contender: str, folder: Path | None, generator: np.random.Generator
) -> list[Picture]:
    if folder is None or contender == HOSTILE:
        return [Picture("worst", "lost <1>", "AP 2.1 %", "pictures/nowhere.jpg")]
    pictures = []
    for rank, kind in enumerate(("best", "best", "worst")):
        file = f"pictures/{dataset}/{contender} {rank}.jpg"
        scene = np.full((360, 720, 3), (196, 178, 160), np.uint8)
        cv2.fillPoly(
            scene, [np.array([(60, 360), (660, 360), (420, 150), (300, 150)])], (90, 86, 84)
        )
        x, y = int(generator.integers(260, 430)), int(generator.integers(190, 290))
        cv2.rectangle(scene, (x, y), (x + 60, y + 40), (40, 90, 220), -1)
        cv2.rectangle(scene, (x - 4, y - 4), (x + 64, y + 44), (230, 220, 60), 3)
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        heat = cv2.applyColorMap(cv2.GaussianBlur(scene[..., 2], (61, 61), 0), cv2.COLORMAP_MAGMA)
        cv2.imwrite(str(path), np.hstack([scene, heat]))
        pictures.append(Picture(kind, f"validation_{rank}", f"AP {90 - 30 * rank}.0 %", file))
    return pictures
