"""Programs are made once, compared before they are kept, and refused where they differ."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_bundle import write_tiny_bundle
from torch import nn

from anomaly_seg_ros.backends.engine_cache import FOLDER_VARIABLE, EngineCache
from anomaly_seg_ros.backends.torch_backend import SUFFIX, TorchBackend, program_key
from anomaly_seg_ros.bundle import Bundle, StageSpec
from anomaly_seg_ros.errors import BundleError
from training.export import Gate
from training.precision.command import write_with
from training.precision.graphs import prepared
from training.precision.half import mixed_precision
from training.precision.making import Made
from training.torch_programs import command, gpu_report, programs
from training.torch_programs.graph_module import GraphModule
from training.torch_programs.programs import Compared, make_programs

CPU = torch.device("cpu")


def test_the_side_car_tells_what_was_compared(tiny: Bundle, cache: EngineCache) -> None:
    found = cache.find(program_key(tiny.stages[1].files[0], "cpu"), suffix=SUFFIX)
    assert found is not None
    notes = found.side_car["notes"]
    assert (notes["bundle"], notes["stage"], notes["device"]) == ("tiny", "observer", "cpu")
    assert notes["label_agreement"] > 0.998 and notes["score_max_error"] < 1e-4


def test_programs_that_are_there_are_not_made_again(
    tiny: Bundle, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "_export", None)
    files = make_programs(tiny, cache, device=CPU, precision="fp32")
    assert list(files) == ["segmentation", "observer"] and all(f.is_file() for f in files.values())


def test_programs_that_answer_otherwise_are_not_kept(tiny: Bundle, tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    impossible = Gate(label_agreement=1.1, score_mean_error=0, score_max_error=0)
    with pytest.raises(BundleError, match=r"programs of tiny \(fp32, cpu\) differ"):
        make_programs(tiny, cache, device=CPU, precision="fp32", gate=impossible)
    assert cache.entries() == []


@pytest.mark.parametrize(
    ("compared", "within"),
    [
        (Compared(1.0, 0.0, 0.0), True),
        (Compared(0.98, 0.0, 0.0), False),
        (Compared(1.0, 0.1, 0.1), False),
        (Compared(1.0, 0.0, 0.5), False),
    ],
)
def test_the_gate_looks_at_labels_mean_and_largest_error(compared: Compared, within: bool) -> None:
    assert (compared.fault(Gate(0.99, 0.01, 0.1)) == "") == within


def test_fp16_programs_come_from_fp16_graphs(tiny: Bundle, tmp_path: Path) -> None:
    files = {}
    for stage in tiny.stages:
        mixed = mixed_precision(prepared(stage.files[0].path), {})
        files[stage.name] = tmp_path / f"{stage.name}.onnx"
        files[stage.name].write_bytes(mixed.model.SerializeToString())
    both = write_with(tiny, {"fp16": Made(files, {n: {} for n in files})}, tmp_path / "both")
    cache = EngineCache(tmp_path / "engines")
    make_programs(both, cache, device=CPU, precision="fp16")
    runner = TorchBackend(lambda: cache).load(both, "cpu", "fp16", 1)
    image = np.random.default_rng(0).integers(0, 256, (1, 64, 128, 3), np.uint8)
    single = TorchBackend(lambda: cache)
    make_programs(both, cache, device=CPU, precision="fp32")
    expected = single.load(both, "cpu", "fp32", 1).run(image, ("logits",)).arrays["logits"]
    found = runner.run(image, ("logits",)).arrays["logits"]
    assert runner.describe().precision == "fp16"
    assert 0 < np.abs(found - expected).max() < 5e-3


def test_the_command_fills_the_cache_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(tmp_path / "engines"))
    folder = write_tiny_bundle(tmp_path / "tiny")
    parser = argparse.ArgumentParser()
    command.add_parser(parser.add_subparsers())
    args = parser.parse_args(["torch-program", str(folder), "--device", "cpu"])
    assert args.handler(args) == 0
    assert str(tmp_path / "engines") in capsys.readouterr().out
    TorchBackend().load(Bundle.open(folder), "cpu").close()


class Opened(nn.Module):
    """A stage as a checkpoint gives it."""

    def __init__(self, spec: StageSpec, name: str | None = None) -> None:
        super().__init__()
        self.network = GraphModule(spec, spec.files[0].path)
        self.name, self.inputs = name or spec.name, spec.inputs
        self.outputs = tuple(output.name for output in spec.outputs)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.network(*tensors)


def test_networks_of_a_checkpoint_take_the_place_of_the_graphs(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "open_stages", lambda path: [Opened(s) for s in tiny.stages])
    monkeypatch.setattr(programs, "_from_graphs", None)
    cache = EngineCache(tmp_path)
    make_programs(tiny, cache, device=CPU, precision="fp32", checkpoint=tmp_path / "last.ckpt")
    TorchBackend(lambda: cache).load(tiny, "cpu", threads=1).close()


def test_a_checkpoint_of_another_chain_is_refused_with_both(
    tiny: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = tiny.stages
    other = [Opened(first), Opened(second, "critic")]
    monkeypatch.setattr(programs, "open_stages", lambda path: other)
    with pytest.raises(BundleError, match=r"another chain than bundle tiny: found .*critic"):
        make_programs(
            tiny, EngineCache(tmp_path), device=CPU, precision="fp32", checkpoint=tmp_path
        )


def test_a_checkpoint_gives_no_fp16_programs(tiny: Bundle, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="fp16 programs come from the bundle's own graphs"):
        programs._from_checkpoint(tiny, tmp_path / "last.ckpt", "fp16")


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_without_a_gpu_the_report_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    gpu_report.add_parser(parser.add_subparsers())
    args = parser.parse_args(["gpu-report"])
    assert args.handler(args) == 0
    told = capsys.readouterr().out
    assert told.startswith("no GPU, nothing was measured: ") and told.count("\n") == 1
