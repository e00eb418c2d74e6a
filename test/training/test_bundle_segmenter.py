"""What a bundle's classes are, judged by their names, and outputs that are none of a dataset's."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_bundle as tiny
import yaml

from anomaly_seg_ros.bundle import Bundle
from training.benchmark.contenders import ContenderSpec, open_contender
from training.bundle_segmenter import BundleSegmenter, space_of
from training.data.label_spaces import BDD_ANOMALY, CAMVID, CITYSCAPES, STREET_HAZARDS, VOID
from training.methods.obsnet.published import PAIRS

SPACES = {"camvid": CAMVID, "streethazards": STREET_HAZARDS, "bdd": CITYSCAPES}


def renamed(bundle: Bundle, names: list[str]) -> Bundle:
    classes = [replace(bundle.classes[0], name=name) for name in names]
    return replace(bundle, classes=tuple(classes))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(tiny.write_tiny_bundle(tmp_path_factory.mktemp("tiny")))


@pytest.mark.parametrize("pair", PAIRS)
def test_published_networks_are_of_their_datasets_classes(pair: str, bundle: Bundle) -> None:
    names = [name for name, _ in PAIRS[pair].trained.classes]
    expected = SPACES.get(pair.split("_")[1], CITYSCAPES)
    assert space_of(renamed(bundle, names)) is expected


def test_the_longest_beginning_that_is_known_counts(bundle: Bundle) -> None:
    names = tiny.CLASS_NAMES
    assert space_of(renamed(bundle, [*names, "void"])) is CITYSCAPES
    assert space_of(renamed(bundle, [*BDD_ANOMALY.names, "other"])) is BDD_ANOMALY
    own = space_of(renamed(bundle, names[:15]))
    assert own.names == tuple(names[:15]) and not any(own.groups)


@pytest.mark.parametrize("method", ["own", "max_softmax"])
def test_a_class_beyond_the_datasets_is_no_prediction(method: str, tmp_path: Path) -> None:
    folder = tiny.write_tiny_bundle(tmp_path / "camvid")
    description = yaml.safe_load((folder / "bundle.yaml").read_text())
    beyond = ["void", *(f"spare {number}" for number in range(7))]
    for entry, name in zip(description["classes"], (*CAMVID.names, *beyond), strict=True):
        entry["name"] = name
    (folder / "bundle.yaml").write_text(yaml.safe_dump(description))
    assert BundleSegmenter(Bundle.open(folder)).void_class == len(CAMVID.names)
    image = np.zeros((64, 128, 3), np.uint8)
    image[:, :64], image[:, 64:] = tiny.CLASS_COLORS[3], tiny.CLASS_COLORS[11]
    found = open_contender(ContenderSpec("bundle", str(folder), method)).predict(image, CAMVID)
    assert found.predicted is not None
    assert (found.predicted[:, :60] == 3).all() and (found.predicted[:, 68:] == VOID).all()
