"""Building engines on a fake TensorRT: what is asked of it, what keys hold, how failures read."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import onnx
import pytest
from fake_tensorrt import NEW, OLD, FakeTensorRT, install
from low_precision import precisions_bundle, with_dynamic_batch
from tiny_bundle import segmentation_graph

from anomaly_seg_ros.backends.engine_cache import (
    CachedEngine,
    EngineCache,
    key_digest,
)
from anomaly_seg_ros.backends.tensorrt_backend import TensorRTBackend
from anomaly_seg_ros.backends.tensorrt_build import EngineOptions, engine_key, read_source
from anomaly_seg_ros.backends.tensorrt_memory import Gpu
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.bundle_parts import ExternalFile
from anomaly_seg_ros.errors import BackendError

BACKEND = TensorRTBackend()
STAGES = ["segmentation", "observer"]


@pytest.fixture(scope="session")
def low(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """The tiny bundle with fp16 and int8 graphs."""
    return precisions_bundle(tmp_path_factory.mktemp("low") / "bundle")


def keys(engines: dict[str, CachedEngine]) -> set[str]:
    return {engine.path.name for engine in engines.values()}


# --- what is asked of TensorRT ---------------------------------------------------------------


@pytest.mark.parametrize("version", [OLD, NEW])
def test_engines_are_strongly_typed_and_told_everything(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    trt = install(monkeypatch, version)
    engines = BACKEND.build(bundle)
    assert list(engines) == STAGES and all(engine.built for engine in engines.values())
    for header in trt._builds:
        assert header["strongly_typed"] and header["detailed"] and header["tf32"]
        assert (header["workspace"], header["level"], header["profiles"]) == (1 << 30, 3, [])


def test_engines_that_are_there_are_tried_and_not_built_again(
    bundle: Bundle, trt: FakeTensorRT
) -> None:
    BACKEND.build(bundle)
    again = BACKEND.build(bundle)
    assert not any(engine.built for engine in again.values()) and len(trt._builds) == 2
    assert BACKEND.missing(bundle) == [] and BACKEND.missing(bundle, "cuda:1") == STAGES


def test_the_layers_are_kept_beside_the_plan_and_counted_in_the_side_car(
    low: Bundle, trt: FakeTensorRT
) -> None:
    engine = BACKEND.build(low, precision="fp16")["segmentation"]
    layers = json.loads(engine.path.with_suffix(".layers.json").read_text())
    notes = engine.side_car["notes"]
    nodes = len(onnx.load(low.stages[0].files[1].path).graph.node)
    assert len(layers["Layers"]) == notes["layers"]["layers"] == nodes
    assert notes["layers"]["tensors"]["fp16"] == 2 and notes["layers"]["opaque"] == 0
    assert (notes["bundle"], notes["stage"]) == ("tiny", "segmentation")


def test_strict_fp32_clears_tf32_and_is_another_engine(bundle: Bundle, trt: FakeTensorRT) -> None:
    usual, strict = BACKEND.build(bundle), BACKEND.build(bundle, precision="fp32_strict")
    assert [header["tf32"] for header in trt._builds] == [True, True, False, False]
    assert not keys(usual) & keys(strict)


def test_what_was_measured_is_used_by_the_next_build(
    bundle: Bundle, trt: FakeTensorRT, engines: Path, caplog: pytest.LogCaptureFixture
) -> None:
    BACKEND.build(bundle)
    (file,) = (engines / "timings").iterdir()
    assert file.name == "tensorrt-10.13.3.9-Fake_RTX-8.9"
    assert file.read_bytes() == b"timings" * 2  # two builds, the second began with the first's
    file.write_bytes(b"of another driver")  # is refused
    BACKEND.build(bundle, precision="fp32_strict")
    assert file.read_bytes() == b"timings" * 2 and not caplog.text
    trt._faults.add("timing")
    BACKEND.build(bundle, "cuda:1")
    assert "took no timing cache" in caplog.text


def test_a_dynamic_batch_gets_a_profile(bundle: Bundle, tmp_path: Path, trt: FakeTensorRT) -> None:
    dynamic = with_dynamic_batch(bundle, tmp_path)
    engines = TensorRTBackend(EngineOptions(max_batch=4)).build(dynamic)
    assert trt._builds[0]["profiles"] == [
        {"image": [[1, 64, 128, 3], [4, 64, 128, 3], [4, 64, 128, 3]]}
    ]
    side_car = engines["observer"].side_car
    assert side_car["key"]["profiles"]["features_4"][2] == [4, 3, 16, 32]


def test_another_dynamic_dimension_is_an_error(
    bundle: Bundle, tmp_path: Path, trt: FakeTensorRT
) -> None:
    dynamic = with_dynamic_batch(bundle, tmp_path)
    path = dynamic.stages[0].files[0].path
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_param = "H"
    onnx.save(model, path)
    with pytest.raises(BackendError, match=r"image is \[-1, -1, 128, 3\]; only the first"):
        BACKEND.build(dynamic)


def test_weights_outside_the_file_are_part_of_key_and_engine(
    bundle: Bundle, tmp_path: Path, trt: FakeTensorRT
) -> None:
    stage = bundle.stages[0]
    path, side = tmp_path / "external.onnx", tmp_path / "weights.bin"
    onnx.save(
        segmentation_graph(64, 128),
        path,
        save_as_external_data=True,
        location=side.name,
        size_threshold=100,
    )
    digest = hashlib.sha256(side.read_bytes()).hexdigest()
    file = dataclasses.replace(stage.files[0], path=path, external=(ExternalFile(side, digest),))
    first = dataclasses.replace(stage, files=(file,))
    external = dataclasses.replace(bundle, stages=(first, bundle.stages[1]))
    engines = BACKEND.build(external)
    assert engines["segmentation"].side_car["key"]["onnx_sha256"][1] == digest
    BACKEND.load(external).close()


# --- keys ------------------------------------------------------------------------------------


def test_whatever_an_engine_depends_on_makes_a_new_one(
    bundle: Bundle, low: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trt = install(monkeypatch)
    seen = keys(BACKEND.build(bundle))

    def is_new(engines: dict[str, CachedEngine], stages: int = 2) -> bool:
        fresh = keys(engines) - seen
        seen.update(fresh)
        return len(fresh) == stages

    assert is_new(BACKEND.build(bundle, "cuda:1"))  # another GPU
    assert is_new(BACKEND.build(bundle, precision="fp32_strict"))
    assert is_new(BACKEND.build(low, precision="fp16"))  # other graphs
    assert is_new(TensorRTBackend(EngineOptions(workspace_bytes=1 << 20)).build(bundle))
    assert is_new(TensorRTBackend(EngineOptions(optimization_level=5)).build(bundle))
    dynamic = with_dynamic_batch(bundle, tmp_path)
    assert is_new(BACKEND.build(dynamic))  # another shape
    assert is_new(TensorRTBackend(EngineOptions(max_batch=2)).build(dynamic))
    path = dynamic.stages[0].files[0].path
    model = onnx.load(path)
    model.doc_string = "one more byte"
    onnx.save(model, path)
    assert is_new(BACKEND.build(dynamic), stages=1)  # one changed graph
    monkeypatch.setattr(trt._cuda, "cudaDriverGetVersion", lambda: (0, 12060))
    assert is_new(BACKEND.build(bundle))
    install(monkeypatch, "10.13.3.10")
    assert is_new(BACKEND.build(bundle))
    install(monkeypatch, NEW)
    assert is_new(BACKEND.build(bundle))
    install(monkeypatch)
    assert is_new(BACKEND.build(bundle), stages=0)  # all as at first


def test_the_same_graph_under_another_precision_is_another_key(bundle: Bundle) -> None:
    """What caches that know a graph by its name alone get wrong."""
    stage, gpu = bundle.stages[0], Gpu(0, "Fake RTX", "8.9", 24, 13)
    made = {}
    for precision in ("fp32", "fp32_strict", "fp16", "int8"):
        source = read_source("tiny", stage, stage.files[0], precision)
        made[precision] = engine_key(source, OLD, gpu, EngineOptions())
        assert made[precision]["precision"] == precision
    assert [key["tf32"] for key in made.values()] == [True, False, True, True]
    assert len({key_digest(key) for key in made.values()}) == 4


def test_where_a_bundle_lies_makes_no_new_engine(
    bundle: Bundle, trt: FakeTensorRT, tmp_path: Path
) -> None:
    moved = Bundle.open(shutil.copytree(bundle.folder, tmp_path / "moved"))
    assert keys(BACKEND.build(bundle)) == keys(BACKEND.build(moved))


# --- failures --------------------------------------------------------------------------------

FAILURES = {
    "builder": r"made no builder \(.*nullptr\)",
    "network": "made no network: .*\n.*CUDA initialization failure",
    "parse": r"cannot read segmentation.onnx\n  - MaxUnpool No importer.*\n.*node number 3",
    "build": "TensorRT 10.13.3.9 cannot build an engine from segmentation.onnx: .*\n.*Code 10",
    "build_memory": "end what else uses the GPU; TensorRT said:\n.*OutOfMemory",
    "deserialize": "does not take the engine that it has just built: .*\n.*assertion failed",
}


@pytest.mark.parametrize("fault", FAILURES)
def test_each_failure_of_a_build_says_what_failed_and_leaves_nothing(
    bundle: Bundle, trt: FakeTensorRT, engines: Path, fault: str
) -> None:
    trt._faults.add(fault)
    with pytest.raises(BackendError, match=f"stage segmentation: .*{FAILURES[fault]}"):
        BACKEND.build(bundle)
    assert EngineCache(engines).entries() == []
    assert not any(trt._cuda.live().values())
    trt._faults.clear()
    assert BACKEND.build(bundle)["segmentation"].built


def test_an_engine_without_room_for_its_context_is_kept(
    bundle: Bundle, trt: FakeTensorRT, engines: Path
) -> None:
    trt._faults.add("context")
    with pytest.raises(BackendError, match="no execution context: it needs 8 MB of GPU memory"):
        BACKEND.build(bundle)
    assert len(EngineCache(engines).entries()) == 1


def test_shapes_that_are_refused_are_named(
    bundle: Bundle, trt: FakeTensorRT, tmp_path: Path
) -> None:
    trt._faults.add("profile")
    with pytest.raises(BackendError, match=r"refuses \{'image': \[\[1, 64, 128, 3\]"):
        BACKEND.build(with_dynamic_batch(bundle, tmp_path))


def test_a_graph_that_is_no_onnx_is_an_error(
    bundle: Bundle, trt: FakeTensorRT, tmp_path: Path
) -> None:
    (tmp_path / "broken.onnx").write_bytes(b"\xff" * 9)
    stage = bundle.stages[0]
    for path, message in ((tmp_path / "broken.onnx", "no ONNX"), (tmp_path / "no", "be read")):
        file = dataclasses.replace(stage.files[0], path=path)
        broken = dataclasses.replace(
            bundle, stages=(dataclasses.replace(stage, files=(file,)), bundle.stages[1])
        )
        with pytest.raises(BackendError, match=message):
            BACKEND.build(broken)


# --- precision -------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_engines_are_confirmed_in_the_precision_asked_for(
    low: Bundle, monkeypatch: pytest.MonkeyPatch, precision: str, version: str
) -> None:
    install(monkeypatch, version)
    for engine in BACKEND.build(low, precision=precision).values():
        assert engine.side_car["notes"]["layers"]["tensors"].get(precision, 0) > 0
    runner = BACKEND.load(low, precision=precision)
    assert runner.describe().precision == precision
    runner.close()


@pytest.mark.parametrize("version", [OLD, NEW])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_fp32_in_the_place_of_a_lower_precision_is_an_error(
    low: Bundle, monkeypatch: pytest.MonkeyPatch, engines: Path, precision: str, version: str
) -> None:
    install(monkeypatch, version, {"precision"})
    with pytest.raises(BackendError, match=rf"asked for {precision}, the engine has .*: none of"):
        BACKEND.build(low, precision=precision)
    assert EngineCache(engines).entries() == []


def test_a_graph_listed_under_a_precision_it_has_not_is_found_before_building(
    low: Bundle, trt: FakeTensorRT
) -> None:
    stage = low.stages[0]
    files = tuple(
        dataclasses.replace(file, path=stage.files[0].path) if file.precision == "fp16" else file
        for file in stage.files
    )
    wrong = dataclasses.replace(
        low, stages=(dataclasses.replace(stage, files=files), low.stages[1])
    )
    with pytest.raises(BackendError, match="listed as fp16 but no tensor of its graph is"):
        BACKEND.build(wrong, precision="fp16")
    assert trt._builds == []


def test_a_precision_without_graphs_lists_what_there_is(bundle: Bundle, trt: FakeTensorRT) -> None:
    with pytest.raises(BackendError, match="has no fp16 graph that tensorrt can run; it has fp32"):
        BACKEND.build(bundle, precision="fp16")


def test_an_inspector_that_hides_types_is_told(
    low: Bundle, trt: FakeTensorRT, caplog: pytest.LogCaptureFixture
) -> None:
    trt._faults.add("opaque")
    BACKEND.build(low, precision="fp16")
    assert "the precision could not be confirmed" in caplog.text


# --- rejected engines ------------------------------------------------------------------------


def of_another_version(engine: CachedEngine) -> None:
    """Turn a stored plan into one of another TensorRT, under its key and with a matching hash."""
    plan = engine.path.read_bytes().replace(b"10.13.3.9", b"10.12.0.1")
    engine.path.write_bytes(plan)
    side_car = json.loads(engine.path.with_suffix(".json").read_text())
    side_car["sha256"] = hashlib.sha256(plan).hexdigest()
    engine.path.with_suffix(".json").write_text(json.dumps(side_car))


def test_a_rejected_engine_is_moved_aside_and_built_anew_once(
    bundle: Bundle, trt: FakeTensorRT, engines: Path, caplog: pytest.LogCaptureFixture
) -> None:
    of_another_version(BACKEND.build(bundle)["segmentation"])
    again = BACKEND.build(bundle)
    assert [engine.built for engine in again.values()] == [True, False]
    assert len(list(engines.glob("*.plan.bad"))) == 1 and len(trt._builds) == 3
    assert "not compatible with this version of TensorRT" in caplog.text
    BACKEND.load(bundle).close()


def test_a_rejected_engine_is_never_built_anew_by_load(
    bundle: Bundle, trt: FakeTensorRT, engines: Path
) -> None:
    of_another_version(BACKEND.build(bundle)["observer"])
    with pytest.raises(BackendError, match="observer: TensorRT rejects the engine") as caught:
        BACKEND.load(bundle)
    assert f"anomaly-seg engine build {bundle.folder} --precision fp32" in str(caught.value)
    assert len(trt._builds) == 2 and not any(trt._cuda.live().values())
    with pytest.raises(BackendError, match=r"no fp32 engine for Fake RTX .* of stage observer in"):
        BACKEND.load(bundle)


def test_a_rejected_engine_of_the_read_only_folder_is_built_into_the_own(
    bundle: Bundle, trt: FakeTensorRT, engines: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_another_version(BACKEND.build(bundle)["segmentation"])
    shipped = engines.rename(engines.with_name("shipped"))
    monkeypatch.setenv("ANOMALY_SEG_ENGINES_READ_ONLY", str(shipped))
    again = BACKEND.build(bundle)
    assert {stage: engine.path.parent for stage, engine in again.items()} == {
        "segmentation": engines,
        "observer": shipped,
    }


def test_engines_that_differ_from_the_bundle_are_rejected_with_both_sides(
    bundle: Bundle, trt: FakeTensorRT
) -> None:
    first, second = bundle.stages
    outputs = tuple(
        dataclasses.replace(spec, shape=(1, 8, 16, 32)) if spec.name == "features_4" else spec
        for spec in first.outputs
    )
    wrong = dataclasses.replace(
        bundle, stages=(dataclasses.replace(first, outputs=outputs), second)
    )
    with pytest.raises(BackendError) as caught:
        BACKEND.build(wrong)
    assert "found features_4 float32 [1, 3, 16, 32], expected features_4 float32 [1, 8," in str(
        caught.value
    )
