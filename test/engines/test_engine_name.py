"""Engines are named BACKEND[:PRECISION][@DEVICE]."""

from __future__ import annotations

import pytest

from anomaly_seg_ros.engine_name import EngineName, parse_engine
from anomaly_seg_ros.errors import BackendError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("onnxruntime", EngineName("onnxruntime")),
        ("onnxruntime:int8", EngineName("onnxruntime", "int8")),
        ("tensorrt:fp32_strict@cuda:1", EngineName("tensorrt", "fp32_strict", "cuda:1")),
        (" auto@cpu ", EngineName("auto", "fp32", "cpu")),
    ],
)
def test_a_name_is_read_and_written_the_same(text: str, name: EngineName) -> None:
    assert parse_engine(text) == name
    assert parse_engine(str(name)) == name


@pytest.mark.parametrize("text", ["", ":int8", "onnxruntime:", "onnxruntime@", "a b", "a:b:c"])
def test_what_is_no_name_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(BackendError, match=r"expected BACKEND\[:PRECISION\]\[@DEVICE\]"):
        parse_engine(text)
