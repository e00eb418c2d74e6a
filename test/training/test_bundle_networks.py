"""A shipped bundle comes back as torch networks, and its engines are measured beside them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.backends.engine_cache import EngineCache
from anomaly_seg_ros.bundle import DEFAULT_BUNDLE, Bundle, StageSpec
from anomaly_seg_ros.engine_bench import measure_engines
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.scenes import RoadSequence
from training import release
from training.bench import cpu_precisions, lines, open_engines
from training.bundle_networks import bundle_stages
from training.torch_programs.eager import EagerRunner
from training.torch_programs.programs import compare, sample_images

CPU = torch.device("cpu")


@pytest.mark.parametrize("name", [DEFAULT_BUNDLE, "street_resynthesis_lite"])
def test_the_networks_of_a_shipped_bundle_answer_as_its_graphs(name: str) -> None:
    bundle = Bundle.open(name)
    images = sample_images((bundle.input.height, bundle.input.width))[:1]
    found = compare(bundle, EagerRunner(bundle_stages(bundle), CPU), images)
    assert found.label_agreement > 0.9999 and found.score_max_error < 1e-4


def test_the_networks_of_a_shipped_bundle_run_at_another_size() -> None:
    image = RoadSequence(1, size=(128, 256)).frame(10).image[None]
    runner = EagerRunner(bundle_stages(Bundle.open(DEFAULT_BUNDLE)), CPU)
    found = runner.run(image, ("labels", "score")).arrays
    assert found["labels"].shape == found["score"].shape == (1, 32, 64)


def test_a_bundle_exported_again_says_whose_weights_it_has() -> None:
    bundle = Bundle.open(DEFAULT_BUNDLE)
    provenance = release.exported_again(bundle)
    assert provenance["commit"] == bundle.provenance["commit"]
    assert provenance["weights_of"] == {
        "bundle": DEFAULT_BUNDLE,
        "graphs": {stage.name: stage.files[0].sha256 for stage in bundle.stages},
    }


def test_a_checkpoint_and_a_bundle_together_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    release.add_parser(parser.add_subparsers())
    both = ["--checkpoint", "a.ckpt", "--bundle", DEFAULT_BUNDLE]
    with pytest.raises(SystemExit):
        parser.parse_args(["export", *both, "--data", "d", "--out", "o"])
    assert "not allowed with argument --checkpoint" in capsys.readouterr().err


def test_a_bundle_of_unknown_networks_is_refused_and_the_checkpoint_named(tmp_path: Path) -> None:
    bundle = Bundle.open(write_tiny_bundle(tmp_path / "tiny"))
    with pytest.raises(BundleError, match=r"networks of bundle tiny are not known .* checkpoint"):
        bundle_stages(bundle)
    renamed = replace(Bundle.open(DEFAULT_BUNDLE), stages=bundle.stages[:1])
    with pytest.raises(BundleError, match="has the stages segmentation, expected segmentation, ob"):
        bundle_stages(renamed)


def test_only_graphs_that_every_stage_has_for_this_cpu_are_measured() -> None:
    bundle = Bundle.open(DEFAULT_BUNDLE)
    first, second = bundle.stages
    both = (with_int8(first), with_int8(second))
    assert cpu_precisions(replace(bundle, stages=both)) == ["fp32", "int8"]
    assert cpu_precisions(replace(bundle, stages=(with_int8(first), second))) == ["fp32"]
    gpu = (with_int8(first, "tensorrt"), with_int8(second, "tensorrt"))
    assert cpu_precisions(replace(bundle, stages=gpu)) == ["fp32"]


def test_every_engine_has_its_row_and_sees_the_same(tmp_path: Path) -> None:
    bundle = Bundle.open(DEFAULT_BUNDLE)
    engines = open_engines(bundle, EngineCache(tmp_path), threads=1)
    image = RoadSequence(1).frame(10).image
    report = measure_engines(engines, [image], ("labels", "score"), frames=1, warmup=1)
    rows = [line.split(" | ") for line in lines(bundle, 1, report, {}) if line.startswith("| ")]
    assert [row[0] for row in rows[1:]] == [f"| {name}" for name in engines]
    assert next(iter(engines)) == "torch eager" and rows[1][2] == "1.00 (1.00-1.00)"
    scores = [engine.detect(image, ("score",))[0].score for engine in engines.values()]
    for score in scores[1:]:
        np.testing.assert_allclose(score, scores[0], atol=1e-4)
    for engine in engines.values():
        engine.close()


def with_int8(stage: StageSpec, target: str = "onnxruntime-cpu") -> StageSpec:
    more = replace(stage.files[0], precision="int8", target=target)
    return replace(stage, files=(*stage.files, more))
