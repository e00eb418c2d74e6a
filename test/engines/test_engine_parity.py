"""Which stage parts two engines is named, whatever hides it; nothing is named that does not."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from broken_graphs import MakeBundle, add_to_output, constant, set_constant
from tiny_bundle import (
    CLASS_COLORS,
    CLASS_NAMES,
    dissimilarity_graph,
    observer_graph,
    resynthesis_graph,
    segmentation_graph,
    write_tiny_bundle,
)

from anomaly_seg_ros.backends import Runner, RunnerInfo, RunResult, load_runner
from anomaly_seg_ros.bundle import Bundle
from anomaly_seg_ros.engine_parity.compare import (
    Engine,
    ParityError,
    ParityOptions,
    ParityReport,
    compare_engines,
)
from anomaly_seg_ros.engine_parity.errors import Gates
from anomaly_seg_ros.engine_parity.pictures import draw_parity
from anomaly_seg_ros.engine_parity.report import report_json, report_lines
from anomaly_seg_ros.replay.images import ImageSource
from anomaly_seg_ros.replay.sources import open_source

GATES = Gates(min_agreement=0.999, max_score_error=0.02)
Compare = Callable[..., ParityReport]


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six pictures of painted classes and some cyan, of the network's size."""
    folder = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(4)
    for number in range(6):
        image = np.zeros((64, 128, 3), np.uint8)
        for row in range(0, 64, 16):
            for column in range(0, 128, 16):
                color = CLASS_COLORS[rng.integers(19)]
                image[row : row + 16, column : column + 16] = color
        image[16:32, 32:48] = (0, 200, 220)  # a score between 0 and 1
        cv2.imwrite(str(folder / f"{number}.png"), image[:, :, ::-1])
    return folder


@pytest.fixture
def compare(photos: Path) -> Iterator[Compare]:
    """Compare two bundles on ONNX Runtime."""
    runners: list[Runner] = []

    def run(
        reference: Bundle,
        test: Bundle,
        wrap: tuple[Callable[[Runner], Runner], Callable[[Runner], Runner]] = (lambda r: r,) * 2,
        **options: object,
    ) -> ParityReport:
        engines = []
        for bundle, wrapped in zip((reference, test), wrap, strict=True):
            runners.append(load_runner(bundle, "onnxruntime", threads=1))
            engines.append(Engine(bundle, wrapped(runners[-1])))
        chosen = ParityOptions(GATES, **options)  # type: ignore[arg-type]
        return compare_engines(engines[0], engines[1], ImageSource(photos), chosen)

    yield run
    for runner in runners:
        runner.close()


class WholeRunsOnly(Runner):
    """Another runner, but for its stages one by one."""

    def __init__(self, inner: Runner) -> None:
        self.inner = inner

    def run(self, image: np.ndarray, wanted: Sequence[str]) -> RunResult:
        return self.inner.run(image, wanted)

    def warmup(self, runs: int = 2) -> float:
        return self.inner.warmup(runs)

    def describe(self) -> RunnerInfo:
        return dataclasses.replace(self.inner.describe(), backend="whole")

    def close(self) -> None:
        self.inner.close()


# --- which stage -----------------------------------------------------------------------------


def test_an_engine_agrees_with_itself_to_the_bit(compare: Compare, tiny: Bundle) -> None:
    report = compare(tiny, tiny)
    assert report.faults == [] and report.first_bad_stage is None and report.bad_alone == []
    assert report.outcome.agreement == 1 and report.outcome.score.largest == 0
    assert report.outcome.pixels == 6 * 16 * 32 and report.outcome.left_out == 0
    for stage in report.stages:
        assert stage.alone is not None
        for tensor in (*stage.alone, *stage.chained):
            assert tensor.equal == 1
    assert "the engines agree within the gates" in report_lines(report)


def test_a_broken_last_stage_is_named(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle
) -> None:
    observer = observer_graph(64, 128)
    set_constant(observer, "radius", np.float32(0.3))  # 0.39 in the sound one
    report = compare(tiny, two_stages(observer=observer))
    assert report.first_bad_stage is not None
    assert report.first_bad_stage.name == "observer" and report.bad_alone == ["observer"]
    assert report.outcome.agreement == 1
    first, last = report.stages
    assert first.result is not None and first.result.score.largest == 0
    assert last.result == last.result_alone == report.outcome
    assert "first bad stage: observer" in report_lines(report)


def test_a_broken_first_stage_is_named_and_the_sound_one_behind_it_is_not(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle
) -> None:
    segmentation = segmentation_graph(64, 128)
    add_to_output(segmentation, "features_4", 0.1)
    report = compare(tiny, two_stages(segmentation=segmentation))
    assert report.first_bad_stage is not None
    assert report.first_bad_stage.name == "segmentation"
    assert report.bad_alone == ["segmentation"]
    observer = report.stages[1]
    assert observer.alone is not None
    alone, chained = observer.alone[0].error, observer.chained[0].error
    assert alone is not None and alone.largest == 0
    assert chained is not None and (chained.largest or 0) > 0.02
    features = report.stages[0].chained[2]
    assert features.name == "features_4" and features.error is not None
    assert features.error.mean == pytest.approx(0.1, rel=1e-5)
    assert features.error.p99 == pytest.approx(0.1, rel=0.01)


@pytest.mark.parametrize("broken", ["segmentation", "resynthesis", "dissimilarity"])
def test_of_three_stages_the_broken_one_is_named(
    broken: str, compare: Compare, resynthesis: Bundle, three_stages: MakeBundle
) -> None:
    graphs = {
        "segmentation": segmentation_graph(64, 128),
        "resynthesis": resynthesis_graph(64, 128),
        "dissimilarity": dissimilarity_graph(64, 128),
    }
    model = graphs[broken]
    if broken == "segmentation":  # cars become trucks
        bias = constant(model, "bias").copy()
        bias[CLASS_NAMES.index("truck")] += 1.0
        set_constant(model, "bias", bias)
    elif broken == "resynthesis":  # roads are painted in another colour
        colors = constant(model, "colors").copy()
        colors[0] += 0.2
        set_constant(model, "colors", colors)
    else:
        set_constant(model, "radius", np.float32(0.6))  # 0.39 in the sound one
    report = compare(resynthesis, three_stages(**{broken: model}))
    assert report.first_bad_stage is not None
    assert report.first_bad_stage.name == broken and report.bad_alone == [broken]


def test_two_stages_that_are_bad_only_together_are_said_to_add_up(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle
) -> None:
    graphs = {"segmentation": segmentation_graph(64, 128), "observer": observer_graph(64, 128)}
    add_to_output(graphs["observer"], "score", 0.015)
    pooled = next(n for n in graphs["segmentation"].graph.node if "features_4" in n.output)
    assert pooled.op_type == "AveragePool"
    add_to_output(graphs["segmentation"], "features_4", 0.0068)  # about 0.012 of score
    report = compare(tiny, two_stages(**graphs))
    assert report.bad_alone == []
    assert report.first_bad_stage is not None and report.first_bad_stage.name == "observer"
    assert "no stage is beyond the gates alone" in "\n".join(report_lines(report))


def test_two_broken_stages_are_both_told(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle
) -> None:
    graphs = {"segmentation": segmentation_graph(64, 128), "observer": observer_graph(64, 128)}
    add_to_output(graphs["segmentation"], "features_4", 0.1)
    add_to_output(graphs["observer"], "score", 0.1)
    report = compare(tiny, two_stages(**graphs))
    assert report.first_bad_stage is not None and report.first_bad_stage.name == "segmentation"
    assert "also beyond the gates alone: observer" in "\n".join(report_lines(report))


def test_flipped_labels_count_as_labels_and_not_as_score(
    compare: Compare, resynthesis: Bundle, three_stages: MakeBundle
) -> None:
    segmentation = segmentation_graph(64, 128)
    bias = constant(segmentation, "bias").copy()
    bias[CLASS_NAMES.index("truck")] += 1.0
    set_constant(segmentation, "bias", bias)
    broken = three_stages(segmentation=segmentation)
    for margin, largest in ((0, 0.0), (3, 0.0)):
        report = compare(resynthesis, broken, margin=margin)
        assert report.outcome.agreement < 1
        assert report.outcome.score.largest == largest
        assert len(report.faults) == 1 and "labels agree on" in report.faults[0]
    assert report.outcome.left_out > 1 - report.outcome.agreement


def test_a_score_that_is_no_number_is_a_fault_and_json_holds_none(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle
) -> None:
    observer = observer_graph(64, 128)
    set_constant(observer, "target", np.full((1, 3, 1, 1), np.nan, np.float32))
    set_constant(observer, "one", np.float32(np.nan))
    report = compare(tiny, two_stages(observer=observer))
    assert report.first_bad_stage is not None and report.first_bad_stage.name == "observer"
    assert f"{6 * 16 * 32} values of the score are not finite" in report.faults
    json.dumps(report_json(report), allow_nan=False)


def test_a_reference_that_is_no_number_is_refused(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle
) -> None:
    observer = observer_graph(64, 128)
    set_constant(observer, "target", np.full((1, 3, 1, 1), np.nan, np.float32))
    set_constant(observer, "one", np.float32(np.nan))
    with pytest.raises(ParityError, match=r"the reference itself gives 512 values .* on frame 0"):
        compare(two_stages(observer=observer), tiny)


# --- backends that run no stage alone --------------------------------------------------------


def test_the_stage_is_named_without_the_tests_help(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle
) -> None:
    segmentation = segmentation_graph(64, 128)
    add_to_output(segmentation, "features_4", 0.1)
    report = compare(tiny, two_stages(segmentation=segmentation), wrap=(lambda r: r, WholeRunsOnly))
    assert report.first_bad_stage is not None and report.first_bad_stage.name == "segmentation"
    assert all(stage.alone is None and stage.result_alone is None for stage in report.stages)


def test_without_the_references_help_it_is_said_that_no_stage_can_be_named(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle
) -> None:
    segmentation = segmentation_graph(64, 128)
    add_to_output(segmentation, "features_4", 0.1)
    report = compare(tiny, two_stages(segmentation=segmentation), wrap=(WholeRunsOnly, lambda r: r))
    assert report.faults
    lines = "\n".join(report_lines(report))
    assert "first bad stage: not known, because backend whole of the reference" in lines
    assert report.stages[0].result is None and report.stages[0].alone is not None


# --- frames ----------------------------------------------------------------------------------


def test_frames_are_spread_over_the_input(compare: Compare, tiny: Bundle) -> None:
    report = compare(tiny, tiny, frames=3)
    assert [frame.name for frame in report.frames] == ["0", "2", "4"]


def test_the_worst_frame_is_the_one_with_the_largest_error(
    compare: Compare, tiny: Bundle, two_stages: MakeBundle, photos: Path, tmp_path: Path
) -> None:
    observer = observer_graph(64, 128)
    set_constant(observer, "radius", np.float32(0.3))
    broken = two_stages(observer=observer)
    plain = np.full((64, 128, 3), 128, np.uint8)
    cv2.imwrite(str(tmp_path / "plain.png"), plain)
    (tmp_path / "strange.png").write_bytes((photos / "0.png").read_bytes())
    cv2.imwrite(str(tmp_path / "usual.png"), plain)
    engines = [Engine(b, load_runner(b, "onnxruntime", threads=1)) for b in (tiny, broken)]
    report = compare_engines(
        engines[0], engines[1], ImageSource(tmp_path), ParityOptions(GATES, frames=5)
    )
    assert report.worst.name == "strange"
    assert [f.outcome.score.largest == 0 for f in report.frames] == [True, False, True]


def test_a_frame_that_cannot_be_read_is_told_and_the_others_count(
    tiny: Bundle, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "a.png").write_bytes((photos / "0.png").read_bytes())
    (tmp_path / "b.png").write_bytes(b"no picture")
    engine = Engine(tiny, load_runner(tiny, "onnxruntime", threads=1))
    report = compare_engines(engine, engine, ImageSource(tmp_path), ParityOptions(GATES))
    assert [frame.name for frame in report.frames] == ["a"]
    assert [frame.name for frame in report.bad_frames] == ["b"]
    (tmp_path / "a.png").unlink()
    with pytest.raises(ParityError, match=r"no frame could be read\n  - b: b.png"):
        compare_engines(engine, engine, ImageSource(tmp_path), ParityOptions(GATES))


def test_camera_images_of_any_size_are_fitted_as_the_bundle_says(tiny: Bundle) -> None:
    engine = Engine(tiny, load_runner(tiny, "onnxruntime", threads=1))
    shapes = []
    compare_engines(
        engine,
        engine,
        open_source("scenes:3:2", size=(96, 200)),
        ParityOptions(GATES),
        on_frame=lambda name, expected, found: shapes.append(expected["image"].shape),
    )
    assert shapes == [(1, 64, 128, 3)] * 2


# --- what cannot be compared -----------------------------------------------------------------


def test_bundles_of_another_size_or_with_other_classes_are_refused(
    compare: Compare, tiny: Bundle, tmp_path: Path
) -> None:
    other = Bundle.open(write_tiny_bundle(tmp_path / "other", height=32, classes=7))
    with pytest.raises(ParityError) as caught:
        compare(tiny, other)
    for part in (
        "input: ",
        "stages: segmentation: image -> logits float32 [1, 19, 16, 32]",
        "classes: their ids or names differ",
    ):
        assert part in str(caught.value)


def test_an_unknown_operating_point_is_refused(compare: Compare, tiny: Bundle) -> None:
    with pytest.raises(ParityError, match="no operating point 'lax'; it has default, strict"):
        compare(tiny, tiny, operating_point="lax")


# --- pictures --------------------------------------------------------------------------------


def test_the_picture_is_bright_where_scores_differ_and_coloured_where_labels_do(
    tiny: Bundle,
) -> None:
    expected: dict[str, np.ndarray] = {
        "image": np.zeros((1, 64, 128, 3), np.uint8),
        "labels": np.zeros((1, 16, 32), np.uint8),
        "score": np.zeros((1, 16, 32), np.float32),
    }
    found = {name: array.copy() for name, array in expected.items()}
    found["labels"][0, :8] = 13
    found["score"][0, 8:] = 0.5
    page = draw_parity(tiny, GATES, expected, found, ("a", "b"))
    height, width = page.shape[0] // 2, page.shape[1] // 3
    flips, difference = page[height:, width : 2 * width], page[height:, 2 * width :]
    top, bottom = height // 3, height - 20
    assert tuple(flips[top, 50]) == CLASS_COLORS[13]
    assert tuple(flips[bottom, 50]) == tuple(int(0.35 * c) for c in CLASS_COLORS[0])
    assert difference[top, 50].sum() < 30 and difference[bottom, 50].sum() > 600
