"""StreetHazards and BDD-Anomaly as sets that ObsNet's networks train on and are measured on."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import dataset_trees as trees
import numpy as np
import pytest
import torch

from training.__main__ import main
from training.benchmark.contenders import ContenderSpec, open_contender
from training.data.bdd_anomaly import build_splits
from training.data.catalogue import TRAINING_SETS
from training.data.label_spaces import BDD_ANOMALY, BY_NAME, STREET_HAZARDS, VOID
from training.data.labelled_frames import DatasetError
from training.data.mixture import MixtureSettings

HIDDEN = {"street_hazards": 13, "bdd_anomaly": 17}  # an output that no label trains
RUN = "width: 0.0625\nepochs: 1\nviews: {{data: {0}, size: [36, 64], batch: 2, workers: 0}}\n"
COMMON = {"street_hazards": 7, "bdd_anomaly": 0}  # a class of half of the labelled pixels


def training(*words: str | Path) -> int:
    arguments, sys.argv = sys.argv, ["training", *map(str, words)]
    try:
        return main()
    finally:
        sys.argv = arguments


def prefer(file: Path, class_id: int, out: Path) -> Path:
    """The checkpoint with a segmentation that says one class everywhere."""
    content = torch.load(file, weights_only=True)
    bias = content["state_dict"]["segmentation.up1.conv2.cbr_unit.1.bias"]
    bias[class_id] = 10 * bias.abs().max() + 1e6
    torch.save(content, out)
    return out


def tree(root: Path, name: str) -> Path:
    if name == "street_hazards":
        folder = root / name
        trees.street_hazards(folder, "train", "training", (1, 2, 8, 13))
        trees.street_hazards(folder, "train", "validation", (1, 8, 0, 13))
        trees.street_hazards(folder, "test", "test", (1, 8, 13, 14))
    else:
        known, odd = (0, 1, 13, 255), (0, 13, 17, 18)
        trees.bdd100k(root, {"train": [known, known, odd], "val": [known, odd]})
        build_splits(root, workers=1)
    return root


@pytest.mark.parametrize(
    ("name", "space", "train", "val"),
    [
        ("street_hazards", STREET_HAZARDS, [0, 1, 7, 12], [0, 7, VOID, 12]),
        ("bdd_anomaly", BDD_ANOMALY, [0, 1, 13, VOID], [0, 1, 13, VOID]),
    ],
)
def test_both_are_training_sets(
    name: str, space: object, train: list, val: list, tmp_path: Path
) -> None:
    root = tree(tmp_path, name)
    for split, expected in (("train", train), ("val", val)):
        frames = TRAINING_SETS[name](root, split)
        assert frames.space is space
        assert trees.stripes_of(frames.read(0)[1], 4) == expected
    with pytest.raises(DatasetError, match=f"no training mixture of {name}"):
        MixtureSettings({name: 1.0, "camvid": 1.0})


@pytest.mark.parametrize("name", HIDDEN)
def test_obsnet_trains_on_them_and_is_measured(name: str, tmp_path: Path) -> None:
    root, below = tree(tmp_path / "data", name), tmp_path / "segmentation"
    files = {}
    for model, more in (("segmentation", ""), ("observer", "attack: max_random_patch\n")):
        files[model] = tmp_path / f"{model}.yaml"
        files[model].write_text(f"model: paper_{model}\n{RUN.format(name)}{more}")
    assert training("fit", files["segmentation"], "--data", root, "--out", below) == 0
    one = prefer(below / "best.ckpt", COMMON[name], tmp_path / "one.ckpt")
    words = ("--data", root, "--out", tmp_path / "observer", "--start-from", one)
    assert training("fit", files["observer"], *words) == 0
    file = tmp_path / "observer" / "best.ckpt"
    # The networks have outputs that no label trains. Where they win, nothing is predicted.
    hidden = prefer(file, HIDDEN[name], tmp_path / "hidden.ckpt")
    spec = ContenderSpec("checkpoint", str(hidden), "max_softmax")
    found = open_contender(spec).predict(np.zeros((36, 64, 3), np.uint8), BY_NAME[name])
    assert found.predicted is not None and (found.predicted == VOID).all()
    code = training(
        *("benchmark", "--checkpoint", file, "--method", "own", "--dataset", f"{name}/test"),
        *("--protocol", "error_detection,segmentation,pooled", "--data", root),
        *("--out", tmp_path / "table", "--repeats", "0", "--pictures", "0"),
    )
    assert code == 0
    tables = json.loads((tmp_path / "table" / "results.json").read_text())["tables"]
    figures = {table["protocol"]: table["rows"]["observer/best.ckpt"] for table in tables}
    assert set(figures) == {"error_detection", "segmentation", "pooled"}
    for figure in (figure for row in figures.values() for figure in row.values()):
        assert figure["value"] is not None
    assert figures["segmentation"]["miou"]["value"] > 0
