"""Every loader on a tiny tree in its published layout: splits, label meanings, exclusions."""

from __future__ import annotations

import json
from pathlib import Path

import dataset_trees as trees
import numpy as np
import pytest

from training.data import lost_and_found as laf
from training.data.anomaly_frames import AnomalyFrames, AnomalySample
from training.data.catalogue import ANOMALY_SETS, TRAINING_SETS, open_dataset
from training.data.label_spaces import BDD_ANOMALY, CITYSCAPES, STREET_HAZARDS
from training.data.labelled_frames import DatasetError


def first(spec: str, root: Path) -> tuple[AnomalyFrames, AnomalySample]:
    frames = open_dataset(spec, root)
    return frames, frames.read(0)


def test_cityscapes_label_ids_become_train_ids_and_void(tmp_path: Path) -> None:
    trees.cityscapes(tmp_path, "val", ["frankfurt_000000_000294"], (7, 33, 1, 29))
    trees.cityscapes(tmp_path, "train", ["aachen_000000_000019", "zurich_000000_000019"], (26,))
    frames, sample = first("cityscapes", tmp_path)
    assert (frames.name, frames.names) == ("cityscapes/val", ("frankfurt/frankfurt_000000_000294",))
    assert frames.protocols[:3] == ("segmentation", "error_detection", "calibration")
    assert sample.truth is not None and frames.space == CITYSCAPES
    assert trees.stripes_of(sample.truth, 4) == [0, 18, 255, 255]
    assert trees.stripes_of(sample.anomaly, 4) == [0, 0, 255, 255]
    np.testing.assert_array_equal(sample.image[..., ::-1], trees.picture())
    assert len(open_dataset("cityscapes/train", tmp_path).names) == 2
    assert TRAINING_SETS["cityscapes"](tmp_path, "train").read(1)[1].max() == 13


def test_squashed_cityscapes_states_its_true_shape(tmp_path: Path) -> None:
    trees.annotated(tmp_path / "cityscapes256", "val", ["0001"], (0, 18, 255, 255))
    frames, sample = first("cityscapes256", tmp_path)
    assert frames.stretch == 2.0 and sample.truth is not None
    assert trees.stripes_of(sample.truth, 4) == [0, 18, 255, 255]


def test_camvid_has_its_two_test_drives_apart(tmp_path: Path) -> None:
    names = ["0001TP_008550", "Seq05VD_f00000", "Seq05VD_f00030"]
    trees.annotated(tmp_path / "CamVid", "test", names, (0, 10, 11, 11))
    assert open_dataset("camvid", tmp_path).names == tuple(names)
    assert open_dataset("camvid/test_0001tp", tmp_path).names == ("0001TP_008550",)
    frames, sample = first("camvid/test_seq05vd", tmp_path)
    assert len(frames.names) == 2 and sample.truth is not None
    assert trees.stripes_of(sample.truth, 4) == [0, 10, 255, 255]
    assert trees.stripes_of(sample.anomaly, 4) == [0, 0, 255, 255]


@pytest.mark.parametrize("listed", [False, True])
def test_camvid_ood_tells_void_from_anomaly(tmp_path: Path, listed: bool) -> None:
    folder = trees.annotated(tmp_path / "camvid_ood", "test_ood", ["a", "b"], (0, 10, 11, 12))
    if listed:
        line = "/SegNet/CamVid/test_ood/{0}.png /SegNet/CamVid/test_oodannot/{0}.png\n"
        (folder / "test_ood.txt").write_text(line.format("a"))
    frames, sample = first("camvid_ood", tmp_path)
    assert frames.names == (("a",) if listed else ("a", "b"))
    assert sample.truth is not None
    assert trees.stripes_of(sample.anomaly, 4) == [0, 0, 255, 1]
    assert trees.stripes_of(sample.truth, 4) == [0, 10, 255, 255]


@pytest.mark.parametrize("published", [True, False])
def test_idd_lite_reads_as_published_and_as_the_flat_copy(tmp_path: Path, published: bool) -> None:
    if published:
        folder = tmp_path / "idd20k_lite"
        image = folder / "leftImg8bit" / "val" / "7" / "024541_image.jpg"
        label = folder / "gtFine" / "val" / "7" / "024541_label.png"
        trees.pair(image, label, (0, 6, 255, 255))
        trees.write(label.with_name("024541_inst_label.png"), trees.stripes((0,)))
    else:
        trees.annotated(tmp_path / "idd_lite", "val", ["7_024541"], (0, 6, 255, 255))
    frames, sample = first("idd_lite", tmp_path)
    assert frames.names == (("7/024541",) if published else ("7_024541",))
    assert sample.truth is not None and trees.stripes_of(sample.truth, 4) == [0, 6, 255, 255]


@pytest.mark.parametrize("variant", ["no list", "from the archive", "from above", "one per split"])
def test_street_hazards_reads_all_variants_of_its_lists(tmp_path: Path, variant: str) -> None:
    folder = tmp_path / "StreetHazards"
    test = trees.street_hazards(folder, "test", "test", (1, 13, 14, 0))
    validation = trees.street_hazards(folder, "train", "validation", (1, 13), count=3)
    if variant == "from the archive":
        trees.write_list(folder / "test" / "test.odgt", test[:1])
        trees.write_list(folder / "train" / "validation.odgt", validation)
    elif variant == "from above":
        trees.write_list(folder / "test.odgt", test[:1], before="test/")
        trees.write_list(folder / "validation.odgt", validation, before="train/")
    elif variant == "one per split":
        trees.write_list(folder / "test" / "test.odgt", test[:1])
        listed = folder / "validation" / "validation.odgt"
        trees.write_list(listed, validation)
    frames, sample = first("street_hazards", tmp_path)
    assert frames.names == (("t1/0", "t1/1") if variant == "no list" else ("t1/0",))
    assert frames.protocols[0] == "caos" and frames.space == STREET_HAZARDS
    assert sample.truth is not None
    assert trees.stripes_of(sample.anomaly, 4) == [0, 0, 1, 255]
    assert trees.stripes_of(sample.truth, 4) == [0, 12, 255, 255]
    assert len(open_dataset("street_hazards/validation", tmp_path).names) == 3
    with pytest.raises(DatasetError, match=r"train/images/training"):
        open_dataset("street_hazards/train", tmp_path)


def test_road_anomaly_follows_its_list_and_has_no_void(tmp_path: Path) -> None:
    folder = trees.road_anomaly(tmp_path, (0, 1, 2, 3), count=3)
    (folder / "frame_list.json").write_text(json.dumps(["animals02.jpg", "animals00.jpg"]))
    frames, sample = first("road_anomaly", tmp_path)
    assert frames.names == ("animals02", "animals00")
    assert frames.protocols[0] == "resynthesis_roc" and sample.truth is None
    assert trees.stripes_of(sample.anomaly, 4) == [0, 0, 1, 1]


def test_road_anomaly_21_takes_the_labelled_validation_frames(tmp_path: Path) -> None:
    stems = [f"validation{number:04d}" for number in range(10)]
    folder = trees.smiyc_track(tmp_path / "dataset_AnomalyTrack", stems, "jpg")
    trees.write(folder / "images" / "airplane0000.jpg", trees.picture())
    frames, sample = first("road_anomaly21", tmp_path)
    assert frames.names == tuple(stems) and frames.excluded == ()
    assert frames.protocols[0] == "smiyc_anomaly"
    assert set(np.unique(sample.anomaly)) == {0, 1, 255}


def test_test_frames_without_labels_are_void_everywhere(tmp_path: Path) -> None:
    stems = [f"validation{number:04d}" for number in range(10)]
    folder = trees.smiyc_track(tmp_path / "dataset_AnomalyTrack", stems, "jpg")
    for name in ("airplane0000", "cow0001"):
        trees.write(folder / "images" / f"{name}.jpg", trees.picture())
    frames, sample = first("road_anomaly21/test", tmp_path)
    assert frames.names == ("airplane0000", "cow0001")
    assert set(np.unique(sample.anomaly)) == {255}


def test_road_obstacle_21_leaves_out_what_the_benchmark_does(tmp_path: Path) -> None:
    kept = [f"validation_{number}" for number in (*range(1, 19), 20, *range(30, 41))]
    left_out = [f"validation_{number}" for number in (19, *range(21, 30))]
    stems = [*kept, *left_out, "gravel_bag_3"]
    trees.smiyc_track(tmp_path / "dataset_ObstacleTrack", stems, "webp")
    frames, _ = first("road_obstacle21", tmp_path)
    assert len(frames.names) == 30 and set(frames.names) == set(kept)
    assert {exclusion.name for exclusion in frames.excluded} == set(left_out)
    assert all("leaves it out" in exclusion.reason for exclusion in frames.excluded)
    assert frames.protocols[0] == "smiyc_obstacle"


def laf_names(split: str) -> list[str]:
    """As many names as the split has; of test's, 143 lie in sequences with known obstacles."""
    known = [f"01_Hanns_Klemm_Str_45_{6 + k % 2:06d}_{k:06d}" for k in range(10)]
    later = [f"15_Rechbergstr_Deckenpfronn_{k // 20:06d}_{k:06d}" for k in range(123)]
    later += [f"10_Schlossberg_9_000004_{k:06d}" for k in range(10)]
    fixed = known + later if split == "test" else []
    rest = laf.FRAMES[split] - len(fixed)
    return fixed + [f"04_Maurener_Weg_8_{k // 30:06d}_{k:06d}" for k in range(rest)]


@pytest.fixture(scope="module")
def laf_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("laf")
    for split in ("test", "train"):
        trees.lost_and_found(root, split, laf_names(split), laf.EMPTY[split])
    return root


def test_lost_and_found_scores_road_and_obstacles(laf_root: Path) -> None:
    frames, sample = first("lost_and_found", laf_root)
    assert len(frames.names) == 1186 and len(frames.excluded) == 17
    assert trees.stripes_of(sample.anomaly, 4) == [255, 0, 1, 1]
    assert len(open_dataset("lost_and_found/train", laf_root).names) == 1030


def test_no_known_split_of_lost_and_found_says_why_frames_are_left_out(laf_root: Path) -> None:
    frames, _ = first("lost_and_found_no_known", laf_root)
    assert len(frames.names) == 1043
    reasons = {e.name[:5]: e.reason for e in frames.excluded if "empty" not in e.reason}
    assert "children" in reasons["15_Re"] and "bicycle" in reasons["01_Ha"]
    assert len(frames.excluded) == 160
    assert not {exclusion.name for exclusion in frames.excluded} & set(frames.names)


def test_interesting_frames_are_the_last_of_each_sequence_in_the_camera_view(
    laf_root: Path,
) -> None:
    with pytest.raises(DatasetError, match=r"roi\.png"):
        open_dataset("lost_and_found/test_interesting", laf_root)
    labels = trees.cityscapes(laf_root, "train", ["aachen_000000_000019"], (7, 7, 3, 1))
    frames, sample = first("lost_and_found/test_interesting", laf_root)
    sequences = [name.rpartition("_")[0] for name in frames.names]
    assert len(sequences) == len(set(sequences)) == 46
    assert "10_Schlossberg_9_000004_000009" in frames.names
    assert "04_Maurener_Weg_8_000003_000118" in frames.names  # the label of its last frame is empty
    assert trees.stripes_of(sample.anomaly, 4) == [0, 0, 255, 255]
    trees.write(laf_root / "lost_and_found" / "roi.png", trees.stripes((0, 0, 0, 255), (4, 8)))
    _, sample = first("lost_and_found/test_interesting", laf_root)
    assert trees.stripes_of(sample.anomaly, 4) == [255, 255, 255, 1]
    assert labels.is_dir()


def test_an_incomplete_lost_and_found_is_refused(tmp_path: Path) -> None:
    trees.lost_and_found(tmp_path, "test", laf_names("test")[:5], ())
    with pytest.raises(DatasetError, match=r"5 images.*expected 1203"):
        open_dataset("lost_and_found", tmp_path)


@pytest.mark.parametrize("published", ["zip", "obstacle benchmark", "copy"])
def test_fishyscapes_lost_and_found_pairs_labels_with_the_base_images(
    tmp_path: Path, published: str
) -> None:
    names = [f"04_Maurener_Weg_8_000000_{number:06d}" for number in range(100)]
    if published == "copy":
        trees.plain(tmp_path / "fishyscapes_lost_and_found", 100)
    else:
        trees.lost_and_found(tmp_path, "train", names[:60], ())
        trees.lost_and_found(tmp_path / "more", "test", names[60:], ())
        (tmp_path / "more/lost_and_found/leftImg8bit/test").rename(
            tmp_path / "lost_and_found/leftImg8bit/test"
        )
    for number, name in enumerate(names):
        file = f"{number:04d}_{name}_labels.png"
        folder = tmp_path / "fishyscapes_lostandfound"
        if published == "obstacle benchmark":
            file, folder = f"{name}_fishy-labels.png", tmp_path / "dataset_FishyLAF/labels/val"
        if published != "copy":
            trees.write(folder / file, trees.stripes((0, 1, 255, 0)))
    frames, sample = first("fishyscapes_lost_and_found", tmp_path)
    assert len(frames.names) == 100 and frames.protocols[0] == "fishyscapes"
    assert set(np.unique(sample.anomaly)) == {0, 1, 255}
    if published != "copy":
        assert frames.names == tuple(names)


def test_fishyscapes_static_adds_the_published_differences_to_cityscapes(tmp_path: Path) -> None:
    names = [f"frankfurt_000001_{number:06d}" for number in range(30)]
    trees.cityscapes(tmp_path, "val", names, (7,))
    for number, name in enumerate(names):
        stem = tmp_path / "fs_val_v3" / f"{number:04d}_{name}"
        trees.write(stem.with_name(f"{stem.name}_labels.png"), trees.stripes((0, 1, 255, 0)))
        difference = np.full((*trees.SIZE, 3), 100, np.int16)
        np.savez(stem.with_name(f"{stem.name}_rgb.npz"), rgb=difference)
    frames, sample = first("fishyscapes_static", tmp_path)
    assert frames.names[0] == "0000_frankfurt_000001_000000" and "fs_val_v3" in frames.title
    expected = np.minimum(trees.picture()[..., ::-1].astype(int) + 100, 255)
    np.testing.assert_array_equal(sample.image, expected)
    assert trees.stripes_of(sample.anomaly, 4) == [0, 1, 255, 0]
    broken = tmp_path / "fs_val_v3" / f"0000_{names[0]}_rgb.npz"
    broken.write_bytes(b"PK no archive")
    with pytest.raises(DatasetError, match=broken.name):
        frames.read(0)


def test_a_folder_of_images_and_labels_opens_by_its_path(tmp_path: Path) -> None:
    trees.plain(tmp_path / "mine", 2)
    trees.pair(
        tmp_path / "mine/images/day/road.v2.jpg", tmp_path / "mine/labels/day/road.v2.png", (1,)
    )
    frames = open_dataset(f"folder:{tmp_path / 'mine'}", tmp_path / "nowhere")
    assert frames.names == ("000", "001", "day/road.v2")
    assert frames.title == "mine" and frames.space is None
    assert (frames.read(2).anomaly == 1).all()


def test_recordings_hold_every_frame_and_its_time(tmp_path: Path) -> None:
    frames = open_dataset("procedural_recordings", tmp_path / "nowhere")
    assert frames.times is not None and len(frames.times) == len(frames.names) == 180
    assert frames.times[:2] == (("200100", 0.0), ("200100", 1 / 15))
    assert frames.times[45] == ("200101", 0.0)


def test_drives_need_no_files(tmp_path: Path) -> None:
    frames = open_dataset("procedural_anomalies", tmp_path / "nowhere")
    assert frames.times is None and len(frames.names) == 120
    samples = [frames.read(index) for index in (4, 15)]
    for sample in samples:
        assert sample.image.shape == (480, 640, 3) and sample.truth is not None
        assert (sample.truth[sample.anomaly == 1] == 255).all()
    assert any((sample.anomaly == 1).any() for sample in samples)
    np.testing.assert_array_equal(frames.read(4).image, samples[0].image)


def test_every_catalogue_entry_carries_its_own_name_and_says_how_to_get_it() -> None:
    for name, dataset in ANOMALY_SETS.items():
        assert dataset.name == name and dataset.splits and dataset.how_to_get


def test_bdd_anomaly_space_folds_no_anomalous_class() -> None:
    assert BDD_ANOMALY.matrix.shape == (19, 16)
    assert (BDD_ANOMALY.matrix[16:] == 0).all()
