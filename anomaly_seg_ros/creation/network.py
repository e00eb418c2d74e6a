"""A user's network as its file has it: loaded, its image input found, run on images as it is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
import onnx.inliner
import onnx.version_converter
from onnx import TensorProto, helper

from anomaly_seg_ros.backends.onnxruntime_backend import CPU, OnnxRuntimeBackend
from anomaly_seg_ros.creation.options import Preprocessing
from anomaly_seg_ros.errors import BundleError
from anomaly_seg_ros.onnx_file import GraphEnd, OnnxFormatError, OnnxModel, read_onnx

OPSET = 18  # of what is built; newer networks keep theirs
FILE_LIMIT = 2**31 - 2**27  # bytes of graph and weights that fit one file, some room left
FLOAT32_MEND = (
    "export with float32 inputs and outputs (converters to half precision call it keep_io_types)"
)


@dataclass(frozen=True)
class Network:
    """A network that was read and whose image input is known."""

    model: onnx.ModelProto  # weights inside, local functions inlined, shapes as in the file
    path: Path
    sha256: str  # of the file
    opset: int  # as in the file
    input: str
    size: tuple[int, int]  # (H, W) of the image it gets
    preprocessing: Preprocessing

    @property
    def outputs(self) -> tuple[str, ...]:
        return tuple(output.name for output in self.model.graph.output)

    @property
    def tensors(self) -> tuple[str, ...]:
        """Everything that nodes make, graph outputs among it."""
        return tuple(name for node in self.model.graph.node for name in node.output if name)


def read_network(path: Path, size: tuple[int, int] | None, preprocessing: Preprocessing) -> Network:
    """Load a model of one image input; size: (H, W) for graphs that leave it open.

    Raises BundleError for what is no ONNX model, misses or exceeds its weights, has another opset
    or other inputs than one float32 image, or another size.
    """
    model, ends = _load(path)
    opset = max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= opset <= newest:
        raise BundleError(
            f"{path.name} uses opset {opset}, and onnx {onnx.__version__} reads 1 to {newest}: "
            f"export with opset {OPSET}"
        )
    if model.functions:
        model = onnx.inliner.inline_local_functions(model)
    end = _image_input(path, ends.inputs)
    return Network(
        model,
        path,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        opset,
        end.name,
        _size(path, end, size, preprocessing.layout),
        preprocessing,
    )


def _load(path: Path) -> tuple[onnx.ModelProto, OnnxModel]:
    """The model with the weights of its side files. Raises BundleError."""
    if not path.is_file():
        raise BundleError(f"there is no file {path}: give the network as an ONNX file")
    total = path.stat().st_size
    if total > FILE_LIMIT:
        raise _too_large(path, total)
    try:
        ends = read_onnx(path.read_bytes())
    except OnnxFormatError as error:
        raise BundleError(f"{path} is no ONNX model ({error}): export the network first") from error
    for location in ends.external:
        side = path.parent / location
        if not location or not side.is_file():
            raise BundleError(
                f"{path.name} keeps weights in {location!r}, which is not beside it: copy that "
                "file too, or export a single file"
            )
        total += side.stat().st_size
    if total > FILE_LIMIT:
        raise _too_large(path, total)
    try:
        model = onnx.load(path)
        onnx.checker.check_model(model)
    except (
        google.protobuf.message.DecodeError,
        onnx.checker.ValidationError,
        OSError,
        ValueError,
    ) as error:
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{path.name} is no valid ONNX model: {reason}: export it again"
        ) from error
    return model, ends


def _too_large(path: Path, total: int) -> BundleError:
    return BundleError(
        f"{path.name} and its weights have {total / 1e9:.2f} GB; a bundle made by this command is "
        "one file, and those stay below 2 GB: use a smaller network, or write_bundle of the Python "
        "interface with external data"
    )


def _image_input(path: Path, inputs: Sequence[GraphEnd]) -> GraphEnd:
    if len(inputs) != 1:
        shown = "; ".join(map(str, inputs)) or "none"
        raise BundleError(
            f"{path.name} has {len(inputs)} inputs ({shown}), expected one image: export it so "
            "that everything else is a constant"
        )
    (end,) = inputs
    if end.dtype != "float32":
        raise BundleError(
            f"input {end} of {path.name}: expected float32: "
            + (
                FLOAT32_MEND
                if end.dtype == "float16"
                else "export the network without its own conversion of the image"
            )
        )
    if len(end.shape) != 4:
        raise BundleError(
            f"input {end} of {path.name}: expected four dimensions, a batch of one image"
        )
    return end


def _size(
    path: Path, end: GraphEnd, wanted: tuple[int, int] | None, layout: str
) -> tuple[int, int]:
    """Height and width of the image, from the graph or from what was asked for."""
    batch, channels, height, width = end.shape
    if layout == "nhwc":
        batch, height, width, channels = end.shape
    pattern = "[1, 3, H, W]" if layout == "nchw" else "[1, H, W, 3]"
    if isinstance(channels, int) and channels != 3:
        other = "nhwc" if layout == "nchw" else "nchw"
        place = end.shape[3 if layout == "nchw" else 1]
        mend = (
            f"its three channels stand elsewhere: give --layout {other}"
            if place == 3
            else "only networks of RGB or BGR images can be used"
        )
        raise BundleError(
            f"input {end} of {path.name}: expected {pattern} for --layout {layout}, found "
            f"{channels} channels: {mend}"
        )
    if isinstance(batch, int) and batch != 1:
        raise BundleError(
            f"input {end} of {path.name}: expected {pattern}, found a batch of {batch}: export "
            "with a batch of one, or a dynamic one"
        )
    found = (height, width)
    if wanted is None:
        if isinstance(height, int) and isinstance(width, int):
            return height, width
        raise BundleError(
            f"input {end} of {path.name} leaves the image size open, and bundles fix it: give "
            "--input HEIGHTxWIDTH"
        )
    if any(isinstance(f, int) and f != w for f, w in zip(found, wanted, strict=True)):
        raise BundleError(
            f"input {end} of {path.name} fixes the size {height}x{width}, and --input asks for "
            f"{wanted[0]}x{wanted[1]}: leave it out, or export with a dynamic size"
        )
    return wanted


def run_network(
    network: Network, names: Sequence[str], images: Sequence[np.ndarray]
) -> list[dict[str, np.ndarray]]:
    """The tensors of those names for each image, by the file's own graph in ONNX Runtime (CPU).

    images: uint8 [1, H, W, 3] RGB at the network's size. Raises BundleError when it does not run.
    """
    reason = OnnxRuntimeBackend().unavailable_reason()
    if reason is not None:
        raise BundleError(f"the network has to run once: {reason}")
    import onnxruntime as ort

    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    model.graph.output.extend(
        helper.make_empty_tensor_value_info(name) for name in names if name not in network.outputs
    )
    options = ort.SessionOptions()
    options.log_severity_level = 3
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=[CPU])
        results = []
        for image in images:
            feeds = {network.input: network.preprocessing.apply(image)}
            results.append(dict(zip(names, session.run(list(names), feeds), strict=True)))
    except Exception as error:  # the runtime raises many classes of its own; none is public
        height, width = network.size
        raise BundleError(
            f"{network.path.name} does not run at {height}x{width} in ONNX Runtime "
            f"{ort.__version__}: {error}"
        ) from error
    return results


def upgraded(network: Network) -> onnx.ModelProto:
    """The network at its fixed size, at opset 18 or its own if newer. Raises BundleError."""
    model = onnx.ModelProto()
    model.CopyFrom(network.model)
    graph = model.graph
    del graph.value_info[:]  # written for another size, perhaps
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    image = next(value for value in graph.input if value.name == network.input)
    height, width = network.size
    shape = [1, 3, height, width]
    if network.preprocessing.layout == "nhwc":
        shape = [1, height, width, 3]
    image.CopyFrom(helper.make_tensor_value_info(network.input, TensorProto.FLOAT, shape))
    if network.opset >= OPSET:
        return model
    try:
        return onnx.version_converter.convert_version(model, OPSET)
    except (onnx.version_converter.ConvertError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise BundleError(
            f"{network.path.name} uses opset {network.opset} and cannot be brought to {OPSET} "
            f"({reason}): export with opset {OPSET}"
        ) from error


def described(arrays: Mapping[str, np.ndarray]) -> str:
    """Names, dtypes and shapes for a message."""
    return "; ".join(f"{name} {a.dtype} {list(a.shape)}" for name, a in arrays.items())
