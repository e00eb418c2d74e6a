"""Synthetic discrepancies: whole, resumed, in parallel, from true or predicted labels."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import dataset_trees as trees
import discrepancy_tree as tree
import numpy as np
import pytest
from discrepancy_tree import REQUEST, ClassColours
from tiny_bundle import CLASS_COLORS, write_tiny_bundle

from training.data.catalogue import TRAINING_SETS
from training.data.discrepancy import DiscrepancyReport, DiscrepancyRequest, make_discrepancies
from training.data.discrepancy_frames import open_discrepancies
from training.data.label_spaces import CAMVID, CITYSCAPES
from training.data.labelled_frames import DatasetError
from training.data.predicted_labels import open_predictor


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tree.camvid(tmp_path / "data")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture(autouse=True)
def no_threads_of_opencv_remain() -> Iterator[None]:
    """Later tests start processes, which such threads can block."""
    yield
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    cv2.setNumThreads(threads)


def test_a_frame_is_its_swapped_labels_and_their_synthesis(root: Path, out: Path) -> None:
    report = make_discrepancies(root, out, REQUEST, ClassColours())
    frames = open_discrepancies(out, "train")
    assert frames.names == tuple(f"{number:03d}" for number in range(6))
    assert report.frames == 6 and report.without_errors == 0
    assert frames.settings.classes == CAMVID.names and frames.settings.size == tree.SIZE
    shares = []
    for index in range(len(frames)):
        image, labels = TRAINING_SETS["camvid"](root, "train").read(index)
        sample = frames.read(index)
        np.testing.assert_array_equal(sample.errors, sample.labels != labels)
        assert sample.labels[sample.errors].max() < 11 and sample.region.all()
        assert sample.image.shape == image.shape and sample.image.dtype == np.uint8
        drawn = ClassColours().palette[sample.labels].astype(int)
        assert np.abs(drawn - sample.synthesis).mean() < 25  # JPEG blurs colour edges
        shares.append(sample.errors.mean())
    assert report.error_share == pytest.approx(np.mean(shares))


def test_files_have_the_names_of_the_release(root: Path, out: Path) -> None:
    make_discrepancies(root, out, replace(REQUEST, limit=1), ClassColours())
    assert set(tree.contents(out)) == {
        "discrepancy.json",
        "train.txt",
        "contact_sheet_train.png",
        "image/train/000.webp",
        "labels/train/000_fakeTrainIds.png",
        "labels/train/000_fakeTrainIds_colorimg.png",
        "labels/train/000_errors.png",
        "gen_image/train/000_gen.jpg",
    }
    assert set(np.unique(tree.picture(out / "labels/train/000_errors.png"))) == {0, 255}
    colours = tree.picture(out / "labels/train/000_fakeTrainIds_colorimg.png")[..., ::-1]
    swapped = open_discrepancies(out, "train").read(0).labels
    np.testing.assert_array_equal(colours, ClassColours().palette[swapped])


def test_neither_workers_nor_batches_change_a_byte(root: Path, tmp_path: Path) -> None:
    render = ClassColours()
    make_discrepancies(root, tmp_path / "one", REQUEST, render, workers=1, batch=1)
    assert render.batches == [1] * 6
    make_discrepancies(root, tmp_path / "two", REQUEST, render, workers=2, batch=4)
    assert render.batches[6:] == [4, 2]
    assert tree.contents(tmp_path / "one") == tree.contents(tmp_path / "two")


def test_processes_start_after_opencv_has_used_its_threads(root: Path, out: Path) -> None:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(4)
    try:
        cv2.resize(trees.picture(0, (1500, 1500)), (900, 900), interpolation=cv2.INTER_AREA)
        make_discrepancies(root, out, REQUEST, ClassColours(), workers=2)
        assert cv2.getNumThreads() == 4
    finally:
        cv2.setNumThreads(threads)
    assert len(open_discrepancies(out, "train")) == 6


def slow_colours(labels: np.ndarray) -> np.ndarray:
    time.sleep(0.3)
    return ClassColours()(labels)


def test_a_killed_run_goes_on_where_it_was(root: Path, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    make_discrepancies(root, whole, REQUEST, ClassColours())
    process = multiprocessing.get_context("spawn").Process(
        target=make_discrepancies, args=(root, killed, REQUEST, slow_colours), kwargs={"batch": 1}
    )
    process.start()
    while process.is_alive() and not list(killed.rglob("*_gen.jpg")):
        time.sleep(0.01)
    process.kill()
    process.join()
    rendered = list(killed.rglob("*_gen.jpg"))
    assert 0 < len(rendered) < 6
    before = rendered[0].stat().st_mtime_ns
    with pytest.raises(DatasetError, match="frames of train are not finished"):
        open_discrepancies(killed, "train")
    # A stop may as well leave a frame half drawn.
    (killed / "labels/train/004_fakeTrainIds.png").unlink()
    (killed / "image/train/005.webp").unlink()

    render = ClassColours()
    make_discrepancies(root, killed, REQUEST, render)

    assert sum(render.batches) == 6 - len(rendered)
    assert rendered[0].stat().st_mtime_ns == before
    assert tree.contents(killed) == tree.contents(whole)


def test_a_finished_run_draws_nothing_again(root: Path, out: Path) -> None:
    first = make_discrepancies(root, out, REQUEST, ClassColours())
    render = ClassColours()
    assert make_discrepancies(root, out, REQUEST, render) == first
    assert render.batches == []


def test_a_swap_depends_on_seed_and_name_alone(root: Path, tmp_path: Path) -> None:
    def labels(folder: str, request: DiscrepancyRequest = REQUEST) -> dict[str, bytes]:
        make_discrepancies(root, tmp_path / folder, request, ClassColours())
        return tree.contents(tmp_path / folder / "labels" / "train")

    all_frames, other_seed = labels("all"), labels("seed", replace(REQUEST, seed=1))
    (root / "camvid" / "train" / "000.png").unlink()
    fewer = labels("fewer")
    assert fewer == {name: data for name, data in all_frames.items() if not name.startswith("000")}
    assert all_frames.keys() == other_seed.keys()
    assert all_frames != other_seed


def test_a_folder_takes_one_kind_of_settings(root: Path, out: Path) -> None:
    make_discrepancies(root, out, REQUEST, ClassColours())
    with pytest.raises(DatasetError, match=r"other settings:\n  - seed: 0, not 1\nTake the same"):
        make_discrepancies(root, out, replace(REQUEST, seed=1), ClassColours())
    with pytest.raises(DatasetError, match="generator: class colours, not another"):
        make_discrepancies(root, out, replace(REQUEST, generator="another"), ClassColours())
    tree.camvid(root, 2, "val")
    make_discrepancies(root, out, replace(REQUEST, split="val"), ClassColours())
    assert len(open_discrepancies(out, "val")) == 2
    with pytest.raises(DatasetError, match=r"no split 'test'; it has train, val"):
        open_discrepancies(out, "test")


def test_a_folder_that_was_not_made_here_is_left_alone(root: Path, out: Path) -> None:
    trees.write(out / "labels" / "mine.png", trees.picture())
    with pytest.raises(DatasetError, match="not made here"):
        make_discrepancies(root, out, REQUEST, ClassColours())
    with pytest.raises(DatasetError, match=r"holds no discrepancy\.json"):
        open_discrepancies(out, "train")


def test_frames_with_one_object_have_no_errors_unless_asked(tmp_path: Path) -> None:
    root = tree.camvid(tmp_path / "data", 3, objects=1)
    paper = make_discrepancies(root, tmp_path / "paper", REQUEST, ClassColours())
    assert (paper.without_errors, paper.error_share) == (3, 0.0)
    asked = replace(REQUEST, at_least_one=True)
    ours = make_discrepancies(root, tmp_path / "ours", asked, ClassColours())
    assert ours.without_errors == 0 and ours.error_share == pytest.approx(80 / (48 * 64))


def test_frames_without_objects_are_counted(tmp_path: Path) -> None:
    root = tree.camvid(tmp_path / "data", 2, objects=0)
    asked = replace(REQUEST, at_least_one=True)
    report = make_discrepancies(root, tmp_path / "out", asked, ClassColours())
    assert "2 frames, 2 of them without an error; 0.00 %" in str(report)
    assert not open_discrepancies(tmp_path / "out", "train").read(1).errors.any()


def test_background_is_swapped_too(root: Path, out: Path) -> None:
    # Sky is the one background component: a quarter of one is none, all of one is one.
    asked = replace(REQUEST, background=True, fraction=1.0)
    make_discrepancies(root, out, asked, ClassColours())
    frames = open_discrepancies(out, "train")
    assert not frames.read(0).errors[0].any()
    for number in range(6):
        file = root / "camvid" / "trainannot" / f"{number:03d}.png"
        labels = tree.picture(file)
        labels[0:4, 0:8], labels[0:4, 20:28], labels[0:4, 40:48] = 1, 2, 5
        trees.write(file, labels)
    make_discrepancies(root, out.with_name("more"), asked, ClassColours())
    more = open_discrepancies(out.with_name("more"), "train")
    changed = [more.read(index).errors for index in range(6)]
    assert any(errors[:4].any() for errors in changed)
    assert not any(errors[31:40, 62:].any() for errors in changed)  # the road


def test_annotated_instances_and_the_view_of_cityscapes_are_used(tmp_path: Path) -> None:
    root, out = tree.cityscapes(tmp_path / "data"), tmp_path / "out"
    asked = replace(REQUEST, dataset="cityscapes", fraction=1.0)
    make_discrepancies(root, out, asked, tree.CITYSCAPES_COLOURS)
    frames = open_discrepancies(out, "train")
    assert frames.names[0] == "aachen/aachen_000000_000000"
    assert frames.settings.instances == "annotated" and frames.settings.region == "out of view"
    sample = frames.read(0)
    for place, wrong in enumerate((True, True, True, False)):  # the group is no candidate
        car = sample.errors[20:46, 4 + 15 * place : 14 + 15 * place]
        assert car.all() if wrong else not car.any()
    region = np.ones(tree.SIZE, bool)
    region[:3] = region[:, :2] = region[-2:] = region[-6:, 14::15] = False
    assert not sample.region[:3].any() and not sample.region[-2:].any()
    assert sample.region[10, 10] and not sample.errors[~sample.region].any()
    np.testing.assert_array_equal(sample.labels[-2:, 4:14] != 255, True)  # changed, not an error
    assert (out / "labels/train/aachen/aachen_000000_000001_roi.png").is_file()


def test_components_take_the_place_of_missing_instances(tmp_path: Path) -> None:
    root = tree.cityscapes(tmp_path / "data", 1)
    [file] = root.rglob("*_instanceIds.png")
    file.unlink()
    asked = replace(REQUEST, dataset="cityscapes", fraction=1.0)
    make_discrepancies(root, tmp_path / "out", asked, tree.CITYSCAPES_COLOURS)
    frames = open_discrepancies(tmp_path / "out", "train")
    assert frames.settings.instances == "components"
    assert frames.read(0).errors[20:46, 49:59].all()  # the group is one now
    with pytest.raises(DatasetError, match="no annotated instances here: no files"):
        make_discrepancies(
            root,
            tmp_path / "other",
            replace(asked, instances="annotated"),
            tree.CITYSCAPES_COLOURS,
        )


def test_a_squashed_frame_gets_its_true_shape(tmp_path: Path) -> None:
    root = tree.cityscapes256(tmp_path / "data")
    asked = replace(REQUEST, dataset="cityscapes256")
    make_discrepancies(root, tmp_path / "true", asked, tree.CITYSCAPES_COLOURS)
    sample = open_discrepancies(tmp_path / "true", "train").read(0)
    assert sample.image.shape == sample.synthesis.shape == (32, 64, 3)
    assert sample.errors.sum() == 10 * 16
    small = replace(asked, size=(16, 32))
    make_discrepancies(root, tmp_path / "small", small, tree.CITYSCAPES_COLOURS)
    assert open_discrepancies(tmp_path / "small", "train").read(0).errors.sum() == 5 * 8
    with pytest.raises(DatasetError, match=r"size 64x32 for frames of 32x64.*mean 32x64\?"):
        make_discrepancies(
            root, tmp_path / "flipped", replace(asked, size=(64, 32)), tree.CITYSCAPES_COLOURS
        )


def test_swaps_may_start_from_what_a_network_sees(tmp_path: Path) -> None:
    root = tree.camvid(tmp_path / "data", 2)
    picture = np.full((64, 128, 3), CLASS_COLORS[0], np.uint8)
    picture[8:24, 8:40], picture[8:24, 64:96] = CLASS_COLORS[13], CLASS_COLORS[15]
    picture[40:56, 8:40], picture[40:56, 64:96] = CLASS_COLORS[11], CLASS_COLORS[13]
    for number in range(2):
        for folder in ("train", "trainannot"):
            pixels = picture[..., ::-1] if folder == "train" else np.zeros((64, 128), np.uint8)
            trees.write(root / "camvid" / folder / f"{number:03d}.png", pixels)
    predictor = open_predictor(write_tiny_bundle(tmp_path / "bundle"))
    assert predictor.space == CITYSCAPES
    make_discrepancies(
        root, tmp_path / "out", REQUEST, tree.CITYSCAPES_COLOURS, predictor=predictor
    )
    frames = open_discrepancies(tmp_path / "out", "train")
    assert frames.settings.classes == CITYSCAPES.names
    assert frames.settings.predictions == predictor.name
    assert frames.settings.instances == "components"
    seen = tree.picture(tmp_path / "out/labels/train/000_predTrainIds.png")
    assert [seen[16, 20], seen[16, 80], seen[48, 20], seen[0, 0]] == [13, 15, 11, 0]
    sample = frames.read(0)
    np.testing.assert_array_equal(sample.errors, sample.labels != seen)
    assert sample.errors.any() and not sample.errors[8:24, 64:96].any()  # the bus is no object
    with pytest.raises(DatasetError, match="predictions: tiny"):
        make_discrepancies(root, tmp_path / "out", REQUEST, ClassColours())


def test_errors_count_within_a_mask(root: Path, tmp_path: Path) -> None:
    mask = np.zeros((24, 32), np.uint8)
    mask[:, :16] = 255
    asked = replace(REQUEST, mask=trees.write(tmp_path / "mask.png", mask), fraction=1.0)
    make_discrepancies(root, tmp_path / "out", asked, ClassColours())
    sample = open_discrepancies(tmp_path / "out", "train").read(0)
    assert sample.region[:, :32].all() and not sample.region[:, 32:].any()
    assert sample.errors.any() and not sample.errors[:, 32:].any()


def test_a_damaged_frame_stops_the_run_and_is_named(root: Path, out: Path) -> None:
    image = root / "camvid" / "train" / "002.png"
    whole = image.read_bytes()
    image.write_bytes(b"damaged")
    with pytest.raises(DatasetError, match=r"002\.png"):
        make_discrepancies(root, out, REQUEST, ClassColours(), workers=2)
    image.write_bytes(whole)
    make_discrepancies(root, out, REQUEST, ClassColours())
    assert len(open_discrepancies(out, "train")) == 6
    trees.write(root / "camvid" / "trainannot" / "003.png", trees.stripes((0, 1), (24, 32)))
    with pytest.raises(DatasetError, match=r"003\.png: the label is 32x24, its image 64x48"):
        make_discrepancies(root, out.with_name("again"), REQUEST, ClassColours())


def test_a_damaged_result_is_named_by_the_reader(root: Path, out: Path) -> None:
    make_discrepancies(root, out, REQUEST, ClassColours())
    trees.write(out / "gen_image/train/001_gen.jpg", trees.picture())
    (out / "labels/train/002_errors.png").write_bytes(b"")
    frames = open_discrepancies(out, "train")
    with pytest.raises(DatasetError, match=r"001_gen\.jpg.*expected uint8 \[48, 64, 3\].*Remove"):
        frames.read(1)
    with pytest.raises(DatasetError, match=r"002_errors\.png"):
        frames.read(2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "road_anomaly"}, "unknown dataset 'road_anomaly'.*camvid"),
        ({"format": "png"}, r"format 'png'.*jpg, webp"),
        ({"quality": 0}, "quality is 0; expected 1 or more"),
        ({"limit": 0}, "limit is 0"),
        ({"fraction": 2.0}, "fraction is 2.0"),
        ({"instances": "all"}, "instances 'all'; expected one of auto"),
    ],
)
def test_a_wrong_request_is_refused(
    root: Path, out: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(DatasetError, match=message):
        make_discrepancies(root, out, replace(REQUEST, **change), ClassColours())
    assert not out.exists()


def test_a_generator_that_gives_something_else_is_refused(root: Path, out: Path) -> None:
    with pytest.raises(DatasetError, match=r"gave float64 \[4, 48, 64\]; expected uint8"):
        make_discrepancies(root, out, REQUEST, lambda labels: labels / 2)


def test_webp_synthesis_is_smaller_and_read_again(root: Path, out: Path) -> None:
    make_discrepancies(root, out, replace(REQUEST, format="webp"), ClassColours())
    frames = open_discrepancies(out, "train")
    assert frames.settings.quality == 90 and len(list(out.rglob("*_gen.webp"))) == 6
    assert frames.read(3).synthesis.shape == (*tree.SIZE, 3)


def test_the_contact_sheet_shows_some_frames_side_by_side(root: Path, out: Path) -> None:
    make_discrepancies(root, out, replace(REQUEST, limit=2), ClassColours())
    sheet = tree.picture(out / "contact_sheet_train.png")
    cell = (160, round(64 * 160 / 48))
    assert sheet.shape == (26 + 2 * (160 + 26), 5 * cell[1], 3)
    labels, swapped = (sheet[26:186, c * cell[1] : (c + 1) * cell[1]] for c in (1, 2))
    assert (labels != swapped).any()


def test_class_weights_follow_the_rule_of_enet() -> None:
    # The paper's weights, which belong to 3.35 % of wrong pixels.
    weights = DiscrepancyReport(1, 0, 0.033503).class_weights
    assert weights == pytest.approx((1.45693524, 19.18586532), rel=1e-4)


def test_real_frames_of_squashed_cityscapes(tmp_path: Path) -> None:
    shared = os.environ.get("ANOMALY_SEG_SHARED")
    if not shared or not (Path(shared) / "data" / "cityscapes256").is_dir():
        pytest.skip("no real frames: set ANOMALY_SEG_SHARED to the folder that holds data/")
    asked = replace(REQUEST, dataset="cityscapes256", limit=3)
    report = make_discrepancies(
        Path(shared) / "data", tmp_path, asked, tree.CITYSCAPES_COLOURS, workers=2
    )
    frames = open_discrepancies(tmp_path, "train")
    assert report.frames == 3 and 0 < report.error_share < 0.2
    assert frames.read(2).synthesis.shape == (256, 512, 3)
    for index in range(3):
        sample = frames.read(index)
        before = TRAINING_SETS["cityscapes256"](Path(shared) / "data", "train").read(index)[1]
        wide = np.repeat(before, 2, axis=1)
        np.testing.assert_array_equal(sample.errors, sample.labels != wide)
