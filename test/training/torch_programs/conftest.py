"""Tiny bundles with their torch programs in a cache of the session's own."""

from __future__ import annotations

import pytest
import torch
from tiny_bundle import write_resynthesis_bundle, write_tiny_bundle

from anomaly_seg_ros.backends.engine_cache import EngineCache
from anomaly_seg_ros.backends.torch_backend import TorchBackend
from anomaly_seg_ros.bundle import Bundle
from training.torch_programs.programs import make_programs

CPU = torch.device("cpu")


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    return EngineCache(tmp_path_factory.mktemp("engines"))


@pytest.fixture(scope="session")
def backend(cache: EngineCache) -> TorchBackend:
    return TorchBackend(lambda: cache)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory, cache: EngineCache) -> Bundle:
    bundle = Bundle.open(write_tiny_bundle(tmp_path_factory.mktemp("bundles") / "tiny"))
    make_programs(bundle, cache, device=CPU, precision="fp32")
    return bundle


@pytest.fixture(scope="session")
def three_stages(tmp_path_factory: pytest.TempPathFactory, cache: EngineCache) -> Bundle:
    folder = tmp_path_factory.mktemp("bundles") / "three"
    bundle = Bundle.open(write_resynthesis_bundle(folder))
    make_programs(bundle, cache, device=CPU, precision="fp32")
    return bundle
