"""A tiny bundle, open and loaded; a fake TensorRT with a GPU, and an empty engine cache."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_tensorrt import FakeTensorRT, install
from tiny_bundle import write_resynthesis_bundle, write_tiny_bundle

from anomaly_seg_ros.backends import Runner, load_runner
from anomaly_seg_ros.backends.engine_cache import FOLDER_VARIABLE, READ_ONLY_VARIABLE
from anomaly_seg_ros.bundle import Bundle


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny")


@pytest.fixture(scope="session")
def bundle(tiny_folder: Path) -> Bundle:
    return Bundle.open(tiny_folder)


@pytest.fixture
def runner(bundle: Bundle) -> Iterator[Runner]:
    runner = load_runner(bundle, "onnxruntime", threads=1)
    yield runner
    runner.close()


@pytest.fixture(scope="session")
def three_stages(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return Bundle.open(write_resynthesis_bundle(tmp_path_factory.mktemp("bundles") / "three"))


@pytest.fixture(autouse=True)
def engines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the engine cache of this test, not made yet."""
    folder = tmp_path / "engines"
    monkeypatch.setenv(FOLDER_VARIABLE, str(folder))
    monkeypatch.delenv(READ_ONLY_VARIABLE, raising=False)
    return folder


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> FakeTensorRT:
    """TensorRT 10.13 and two GPUs, both fakes; `trt._faults` says what shall fail."""
    return install(monkeypatch)
