"""`python -m training prepare discrepancy`: from a checkpoint to a folder."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import discrepancy_tree as tree
import numpy as np
import pytest

from training import prepare
from training.data.discrepancy_frames import open_discrepancies
from training.data.labelled_frames import DatasetError


@pytest.fixture(autouse=True)
def generators(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Checkpoints that were opened; the generator of each paints class colours."""
    given: list[Path] = []

    def open_generator(path: Path) -> Callable[[np.ndarray], np.ndarray]:
        given.append(path)
        return tree.ClassColours()

    module = ModuleType("generators")
    module.open_generator = open_generator  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "training.methods.image_resynthesis.generators", module)
    return given


def run(*words: str | Path) -> int:
    parser = argparse.ArgumentParser()
    prepare.add_parser(parser.add_subparsers())
    args = parser.parse_args(["prepare", "discrepancy", *map(str, words), "--workers", "1"])
    return int(args.handler(args))


def test_a_split_is_made_and_reported(
    tmp_path: Path, generators: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    root = tree.camvid(tmp_path / "data", 3)
    checkpoint = tmp_path / "generator.ckpt"
    checkpoint.write_bytes(b"weights")
    out = tmp_path / "out"
    options = ("--out", out, "--generator", checkpoint, "--size", "24x32", "--seed", "5")
    assert run("camvid", root, *options, "--at-least-one", "--limit", "2") == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"{out}: 2 frames, 0 of them without an error; ")
    frames = open_discrepancies(out, "train")
    assert frames.read(1).labels.shape == (24, 32)
    assert frames.settings.generator.startswith("generator.ckpt ")
    assert frames.settings.seed == 5 and frames.settings.rule.at_least_one
    assert generators == [checkpoint]
    checkpoint.write_bytes(b"other weights")
    with pytest.raises(DatasetError, match=r"generator: generator\.ckpt .*, not generator\.ckpt"):
        run("camvid/train", root, *options, "--at-least-one")


def test_a_missing_checkpoint_is_told_at_once(tmp_path: Path) -> None:
    root = tree.camvid(tmp_path / "data", 1)
    with pytest.raises(DatasetError, match=r"no\.ckpt: no such file"):
        run("camvid", root, "--out", tmp_path / "out", "--generator", tmp_path / "no.ckpt")
    assert not (tmp_path / "out").exists()


def test_a_size_that_is_none_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        run("camvid", tmp_path, "--out", tmp_path, "--generator", "g", "--size", "512")
    assert "not HEIGHTxWIDTH, such as 512x1024" in capsys.readouterr().err
