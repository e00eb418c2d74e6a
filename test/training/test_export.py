import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from anomaly_seg_ros.errors import BundleError
from training.export import SAME_MATHS, compare, export_stages
from training.stage import Stage


class Colours(Stage):
    name, inputs = "segmentation", ("image",)
    outputs = ("logits", "labels")

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 19, 5, padding=2, stride=4)

    def forward(self, image):
        logits = self.mix(image.permute(0, 3, 1, 2).float() / 255)
        return logits, logits.argmax(dim=1).to(torch.uint8)


class Doubt(Stage):
    name, inputs, outputs = "observer", ("logits",), ("score",)

    def forward(self, logits):
        return 1 - logits.softmax(dim=1).amax(dim=1)


def frames(count: int = 2) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (1, 32, 64, 3), np.uint8) for _ in range(count)]


def test_exported_stages_answer_as_torch_does(tmp_path):
    torch.manual_seed(0)
    exported = export_stages([Colours(), Doubt()], frames(), tmp_path)
    parity = exported[0].description["files"][0]["parity"]
    assert parity["label_agreement"] > 0.998 and parity["score_max_error"] < 2e-2
    assert exported[0].description["outputs"][1] == {
        "name": "labels",
        "dtype": "uint8",
        "shape": [1, 8, 16],
    }


def test_large_weights_are_stored_in_half_precision_and_run_in_single(tmp_path):
    exported = export_stages([Colours(), Doubt()], frames(), tmp_path)
    model = onnx.load(exported[0].file)
    stored = {tensor.data_type for tensor in model.graph.initializer if tensor.dims[:1] == [19]}
    assert onnx.TensorProto.FLOAT16 in stored
    session = onnxruntime.InferenceSession(exported[0].file)
    assert session.get_outputs()[0].type == "tensor(float)"


def test_graphs_carry_no_path_of_the_exporting_machine(tmp_path):
    exported = export_stages([Colours(), Doubt()], frames(), tmp_path)
    for stage in exported:
        assert b"site-packages" not in stage.file.read_bytes()
        assert b".py" not in stage.file.read_bytes()


def test_another_network_fails_the_parity_check(tmp_path):
    exported = export_stages([Colours(), Doubt()], frames(), tmp_path)
    with pytest.raises(BundleError, match="label_agreement"):
        compare([Colours(), Doubt()], [stage.file for stage in exported], frames(), SAME_MATHS)
