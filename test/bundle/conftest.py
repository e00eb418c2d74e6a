"""A tiny bundle to break: every test gets its own copy."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tiny_bundle import write_tiny_bundle

from anomaly_seg_ros.bundle import BUNDLE_FILE


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture
def tiny(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "tiny"))


@pytest.fixture
def edit(tiny: Path) -> Callable[[Callable[[dict[str, Any]], object]], None]:
    """Change the content of bundle.yaml by a function of its mapping."""

    def change(function: Callable[[dict[str, Any]], object]) -> None:
        file = tiny / BUNDLE_FILE
        document = yaml.safe_load(file.read_text())
        function(document)
        file.write_text(yaml.safe_dump(document, sort_keys=False))

    return change
