"""Which ONNX operators TensorRT reads, and on which kinds of tensors.

Source: operators.md of onnx-tensorrt, releases 10.1 and 10.15. An operator that stands in no group
is not supported. Kinds: floats only, numbers (floats, int32, int64), or everything with bool.
"""

from __future__ import annotations


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Numbers mean floats, int32 and int64.
NUMBERS = _names("""
    Abs Add ArgMax ArgMin DepthToSpace Div Equal Gelu Greater GreaterOrEqual IsNaN Less LessOrEqual
    Max Mean Min Mod Mul Neg Pad Pow Range ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax
    ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Scatter ScatterElements ScatterND
    Shrink Sign SpaceToDepth Sub Sum TopK
""")
FLOATS = _names("""
    Acos Acosh Asin Asinh Atan Atanh AveragePool BatchNormalization Ceil Celu Clip Conv
    ConvTranspose Cos Cosh CumSum DeformConv Dropout Einsum Elu Erf Exp Floor Gemm GlobalAveragePool
    GlobalLpPool GlobalMaxPool GridSample GroupNormalization GRU HardSigmoid HardSwish Hardmax
    ImageScaler InstanceNormalization IsInf LayerNormalization LeakyRelu Log LogSoftmax LRN LSTM
    LpNormalization LpPool MatMul MaxPool MeanVarianceNormalization Mish ParametricSoftplus PRelu
    QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Reciprocal Resize
    RNN RoiAlign Round ScaledTanh Selu Sigmoid Sin Sinh Softmax Softplus Softsign Sqrt Tan Tanh
    ThresholdedRelu Upsample
""")
EVERYTHING = _names("""
    And Cast CastLike Concat Constant ConstantOfShape DequantizeLinear Expand EyeLike Flatten Gather
    GatherElements GatherND Identity Not OneHot Or Reshape ReverseSequence Shape Size Slice Split
    Squeeze Tile Transpose Trilu Unsqueeze Where Xor
""")
# Listed for 10.15, not for 10.1.
NEWER = _names("""
    Attention BlackmanWindow HammingWindow HannWindow RMSNormalization RotaryEmbedding STFT
    TensorScatter
""")
# TensorRT reads some of these, but sizes or work that depend on pixels keep a frame from being
# recorded as one CUDA graph in memory that is laid out beforehand.
DEPENDS_ON_DATA = _names("If Loop Scan NonZero NonMaxSuppression Compress Unique")

MENDS = {
    "MaxUnpool": "unpool by comparisons: GreaterOrEqual, Max and Where choose the winner of every "
    "2x2 window, DepthToSpace places it",
    "Col2Im": "write it as a depthwise Conv with fixed one-hot weights, or as shifted slices",
    "If": "export with fixed shapes and options, so that one branch is left",
    "Loop": "unroll it at export",
    "Scan": "unroll it at export",
    "NonZero": "use a mask with Where and Mul in place of indices",
    "Compress": "use a mask with Where and Mul in place of indices",
    "DynamicQuantizeLinear": "quantise ahead, with QuantizeLinear and DequantizeLinear",
    "QLinearConv": "quantise with QuantizeLinear and DequantizeLinear round a float Conv",
    "QLinearMatMul": "quantise with QuantizeLinear and DequantizeLinear round a float MatMul",
    "ConvInteger": "quantise with QuantizeLinear and DequantizeLinear round a float Conv",
    "MatMulInteger": "quantise with QuantizeLinear and DequantizeLinear round a float MatMul",
    "CenterCropPad": "use Slice and Pad",
    "AffineGrid": "compute the grid at export and keep it as a constant",
}
# Inputs that must be known when the engine is built: operator -> {position: name}.
CONSTANT_INPUTS = {
    **{name: {1: "axes"} for name in NUMBERS if name.startswith("Reduce")},
    "Squeeze": {1: "axes"},
    "Unsqueeze": {1: "axes"},
    "CumSum": {1: "axis"},
    "OneHot": {1: "depth"},
    "TopK": {1: "k"},
    "Dropout": {2: "training_mode"},
}
