"""Types read out of the engine inspector's JSON, in the forms of TensorRT 10 and 11."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anomaly_seg_ros.backends.tensorrt_precision import (
    LayerTypes,
    is_unsure,
    precision_fault,
    read_layers,
)


def layer(*tensors: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"Name": "conv", "LayerType": "CaskConvolution", "Outputs": list(tensors), **more}


def read(*layers: object) -> LayerTypes:
    return read_layers(json.dumps({"Layers": layers, "Bindings": []}))


@pytest.mark.parametrize(
    "tensor, kind",
    [
        ({"Format/Datatype": "Half"}, "fp16"),
        ({"Format/Datatype": "Row major linear FP16 format"}, "fp16"),
        ({"Format/Datatype": "Channel major FP16 format where channel % 8 == 0"}, "fp16"),
        ({"Format/Datatype": "Thirty-two wide channel vectorized row major Int8 format."}, "int8"),
        ({"Format/Datatype": "Row major linear FP32"}, "fp32"),
        ({"Format/Datatype": "Float"}, "fp32"),
        ({"Format/Datatype": "BFloat16"}, "bf16"),
        ({"Format": "Row major linear FP32 format (kLINEAR)", "DataType": "Half"}, "fp16"),
        ({"Format": "LINEAR", "Datatype": "FP16"}, "fp16"),
        ({"Format": "Row major linear FP32 format (kLINEAR)"}, "fp32"),
        ({"Format/Datatype": "UInt8"}, "other"),
        ({"Format/Datatype": "Int64"}, "other"),
    ],
)
def test_each_way_to_name_a_type_is_understood(tensor: dict[str, Any], kind: str) -> None:
    assert read(layer(tensor)) == LayerTypes(1, 0, {kind: 1})


def test_inputs_outputs_and_weights_count() -> None:
    half = {"Format/Datatype": "Half"}
    found = read(layer(half, Inputs=[half, half], Weights={"Type": "Half", "Count": 9}))
    assert found.tensors == {"fp16": 4}


@pytest.mark.parametrize(
    "text", ["", "no JSON", "[]", '{"Layers": []}', '{"Layers": 3}', '{"Layers": ["conv", "relu"]}']
)
def test_what_tells_no_types_is_opaque_and_no_proof(text: str) -> None:
    found = read_layers(text)
    assert found.opaque > 0 and found.tensors == {}
    assert is_unsure(found, "fp16") and precision_fault(found, "fp16") is None
    assert not is_unsure(found, "fp32")


@pytest.mark.parametrize("asked", ["fp16", "int8"])
def test_one_tensor_of_the_type_is_enough_and_none_is_a_fault(asked: str) -> None:
    assert precision_fault(LayerTypes(9, 0, {"fp32": 20, asked: 1}), asked) is None
    fault = precision_fault(LayerTypes(9, 0, {"fp32": 20}), asked)
    assert fault == f"asked for {asked}, the engine has 9 layers with 20 fp32 tensors: none of " + (
        asked
    )


def test_an_engine_for_fp32_with_mostly_less_is_a_fault() -> None:
    for asked in ("fp32", "fp32_strict"):
        assert precision_fault(LayerTypes(9, 0, {"fp32": 8, "fp16": 3}), asked) is None
        fault = precision_fault(LayerTypes(9, 0, {"fp32": 3, "fp16": 8}), asked) or ""
        assert "most of them lower than fp32" in fault
