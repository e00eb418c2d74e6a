"""Every name that the backend uses exists in TensorRT 10.13 and 11.4, and in cuda-python.

test/data/tensorrt_names.json holds, of either version, the names that are used. Write it anew from
the full tables of names with

    ANOMALY_SEG_PARITY=... python test/backends/test_tensorrt_names.py
"""

from __future__ import annotations

import ast
import importlib
import json
import os
from pathlib import Path

import pytest
from fake_tensorrt import CLASSES, NEW, OLD, FakeCuda, FakeTensorRT

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "anomaly_seg_ros" / "backends").glob("tensorrt_*.py"))
TABLE = ROOT / "test" / "data" / "tensorrt_names.json"
FULL = Path("tensorrt") / "api_names.json"  # below ANOMALY_SEG_PARITY
DUNDERS = {"__version__"}  # of every module; the tables hold classes and their members

Names = dict[str, set[str]]  # class -> members; "" -> names of the module


def chains(root: str, source: Path) -> set[tuple[str, ...]]:
    """Dotted names that begin with `root`, without it: trt.ILogger.Severity -> (ILogger, ...)."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.insert(0, node.attr)
            node = node.value
        name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")
        if parts and name == root:
            found.add(tuple(parts))
    return found


def used() -> set[tuple[str, ...]]:
    """What the backend writes as trt.X and trt.X.Y."""
    return {chain for source in SOURCES for chain in chains("trt", source)} - {("__version__",)}


def members(kind: type) -> set[str]:
    """Public names of a class of the fake, those of bytearray and object aside."""
    bases = {name for base in kind.__mro__[1:] for name in dir(base)}
    slots = set(getattr(kind, "__slots__", ()))
    return {name for name in {*dir(kind), *slots} - bases if not name.startswith("_")}


def fake_names() -> Names:
    """All names of the fake: what the backend may call on objects that TensorRT makes."""
    module = {name for name in vars(FakeTensorRT(FakeCuda(set()), OLD, set())) if name[0] != "_"}
    return {"": module, **{kind.__name__: members(kind) for kind in CLASSES}}


def load_table(path: Path) -> dict[str, Names]:
    content = json.loads(path.read_text())
    return {
        version: {name: set(entries) for name, entries in table.items()}
        for version, table in content.items()
    }


def needed_table(full: dict[str, Names]) -> dict[str, dict[str, list[str]]]:
    """The part of the full tables that is used, sorted."""
    wanted: Names = {name: set(kept) for name, kept in fake_names().items() if name}
    for chain in used():
        wanted.setdefault(chain[0], set()).update(chain[1:2])
    return {
        version: {name: sorted(wanted[name] & table[name]) for name in sorted(wanted)}
        for version, table in full.items()
    }


def test_the_sources_use_the_names_in_the_way_that_is_looked_for() -> None:
    found = used()
    assert ("BuilderFlag", "TF32") in found and ("ILogger", "Severity", "ERROR") in found
    assert len(SOURCES) >= 7 and len(found) >= 20


@pytest.mark.parametrize("version", [OLD, NEW])
def test_every_name_of_the_module_exists_in_both_versions(version: str) -> None:
    table = load_table(TABLE)[version]
    for chain in used():
        assert chain[0] in table, f"trt.{chain[0]}"
        if len(chain) > 1:
            assert chain[1] in table[chain[0]], f"trt.{'.'.join(chain)}"


@pytest.mark.parametrize("version", [OLD, NEW])
def test_the_fake_offers_only_what_the_real_one_has(version: str) -> None:
    """So that a test with the fake fails where the backend calls anything else."""
    table = load_table(TABLE)[version]
    for name, offered in fake_names().items():
        missing = offered - (set(table) if name == "" else table[name])
        assert not missing, f"{name}: {missing}"


@pytest.mark.parametrize("name", ["FP16", "INT8", "OBEY_PRECISION_CONSTRAINTS"])
def test_names_that_11_has_lost_would_be_found(name: str) -> None:
    assert name not in load_table(TABLE)[NEW]["BuilderFlag"]


def test_the_table_is_that_of_the_full_ones() -> None:
    root = os.environ.get("ANOMALY_SEG_PARITY")
    if not root or not (Path(root) / FULL).is_file():
        pytest.skip("ANOMALY_SEG_PARITY names no folder with tensorrt/api_names.json")
    expected = needed_table(load_table(Path(root) / FULL))
    assert json.loads(TABLE.read_text()) == expected


def test_every_name_of_cuda_python_exists() -> None:
    try:
        cudart = importlib.import_module("cuda.bindings.runtime")
    except ImportError:
        pytest.skip("cuda-python is not installed")
    source = ROOT / "anomaly_seg_ros" / "backends" / "tensorrt_memory.py"
    found = chains("cudart", source) | chains("_cudart", source)
    found |= {chain[1:] for chain in chains("self", source) if chain[0] == "_cudart"}
    found |= {("cudaDeviceAttr", *chain) for chain in chains("kinds", source)}
    assert len(found) > 20
    for chain in found - {()}:
        value = cudart
        for part in chain[:2]:
            value = getattr(value, part)
    assert {name for name in dir(FakeCuda) if name.startswith("cuda")} <= set(dir(cudart))


if __name__ == "__main__":
    tables = needed_table(load_table(Path(os.environ["ANOMALY_SEG_PARITY"]) / FULL))
    TABLE.write_text(json.dumps(tables, indent=1) + "\n")
