"""Tiny bundles with exactly one fault each: what a comparison has to find."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from broken_graphs import MakeBundle
from tiny_bundle import (
    dissimilarity_graph,
    observer_graph,
    resynthesis_description,
    resynthesis_graph,
    segmentation_graph,
    tiny_description,
    write_resynthesis_bundle,
    write_tiny_bundle,
)

from anomaly_seg_ros.bundle import Bundle, write_bundle


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Two stages, nothing wrong."""
    return Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("sound") / "tiny"))


@pytest.fixture(scope="session")
def resynthesis(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Three stages, nothing wrong."""
    return Bundle.open(write_resynthesis_bundle(tmp_path_factory.mktemp("sound") / "three"))


@pytest.fixture
def two_stages(tmp_path: Path) -> MakeBundle:
    """Write a bundle of two stages with the given graphs in the place of the sound ones."""

    def make(**graphs: onnx.ModelProto) -> Bundle:
        sound = {"segmentation": segmentation_graph(64, 128), "observer": observer_graph(64, 128)}
        return _write(tmp_path, tiny_description(), sound | graphs)

    return make


@pytest.fixture
def three_stages(tmp_path: Path) -> MakeBundle:
    """The same for the bundle of three stages."""

    def make(**graphs: onnx.ModelProto) -> Bundle:
        sound = {
            "segmentation": segmentation_graph(64, 128),
            "resynthesis": resynthesis_graph(64, 128),
            "dissimilarity": dissimilarity_graph(64, 128),
        }
        return _write(tmp_path, resynthesis_description(), sound | graphs)

    return make


def _write(folder: Path, description: dict, graphs: dict[str, onnx.ModelProto]) -> Bundle:
    files = {}
    for stage, graph in graphs.items():
        onnx.save(graph, folder / f"{stage}.onnx")
        files[stage] = {"fp32": folder / f"{stage}.onnx"}
    return write_bundle(folder / "broken", description=description, stage_files=files)
