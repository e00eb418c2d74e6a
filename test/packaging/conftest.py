"""The source tree as a builder gets it, and the wheel that pip makes of it."""

from __future__ import annotations

import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from builds import ROOT, SOURCES, run


@pytest.fixture(scope="session")
def source_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the sources: builds find no old results in it and leave none in the checkout."""
    tree = tmp_path_factory.mktemp("source") / "anomaly_seg_ros"
    tree.mkdir()
    ignored = shutil.ignore_patterns("__pycache__")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=ignored)
        else:
            shutil.copy2(ROOT / name, tree / name)
    return tree


@pytest.fixture(scope="session")
def wheel_file(source_tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel as pip builds it."""
    pytest.importorskip("wheel", reason="building without isolation needs the wheel package")
    folder = tmp_path_factory.mktemp("wheel")
    build = ["-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    run([sys.executable, *build, "--wheel-dir", str(folder), "."], cwd=source_tree)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture
def wheel(wheel_file: Path) -> Iterator[zipfile.ZipFile]:
    """The wheel, open for reading."""
    with zipfile.ZipFile(wheel_file) as archive:
        yield archive
