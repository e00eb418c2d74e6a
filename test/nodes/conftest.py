"""Real ROS contexts and a real tiny bundle for the tests of the nodes."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from event_rig import EventRig
    from node_rig import Rig

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]


class WithoutRos(pytest.Module):
    """Stands for a test file that cannot be imported here."""

    def collect(self) -> list[pytest.Item]:
        pytest.skip("the nodes need ROS 2: pip install '.[ros]'", allow_module_level=True)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Module | None:
    """Skip every file of this folder, with the reason, where rclpy is not installed."""
    if importlib.util.find_spec("rclpy") is None:
        return WithoutRos.from_parent(parent, path=module_path)
    return None


@pytest.fixture(scope="session", autouse=True)
def ros_environment(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A private domain with the shipped transport profile, for this process and its children."""
    from anomaly_seg_ros.nodes.environment import private_ros_environment

    os.environ.update(private_ros_environment(tmp_path_factory.mktemp("ros")))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny bundle."""
    from tiny_bundle import write_tiny_bundle

    return write_tiny_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="session")
def three_stages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny bundle that resynthesises the image."""
    from tiny_bundle import write_resynthesis_bundle

    return write_resynthesis_bundle(tmp_path_factory.mktemp("bundle") / "three_stages")


@pytest.fixture
def rig(tiny: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Rig]]:
    """Makes detector nodes with a camera and readers around them; takes them down again."""
    from node_rig import Rig

    rigs: list[Rig] = []

    def make(**parameters: object) -> Rig:
        given = {"bundle": str(tiny), **parameters}
        rigs.append(Rig(given, read_stderr=lambda: capfd.readouterr().err))
        return rigs[-1]

    yield make
    for made in rigs:
        made.close()


@pytest.fixture
def event_rig(tmp_path: Path) -> Iterator[Callable[..., EventRig]]:
    """Makes event recorders, with tmp_path/events as their folder; closes them."""
    from event_rig import EventRig

    rigs: list[EventRig] = []

    def make(folder: Path | None = tmp_path / "events", **settings: object) -> EventRig:
        rigs.append(EventRig(folder, **settings))
        return rigs[-1]

    yield make
    for made in rigs:
        made.recorder.close()
