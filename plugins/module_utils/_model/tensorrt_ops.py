# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List the operations that TF-TRT gives to TensorRT. The others stay in TensorFlow: they do not prevent a conversion, but reduce its gain."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.tfserving.fleet.plugins.module_utils._model.statefulness import Likelihood
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import Signature, sides

# After NVIDIA's "Accelerating Inference in TensorFlow with TensorRT", supported operators.
SUPPORTED = frozenset(
    """
    Abs Acos Acosh Add AddN AddV2 ArgMax ArgMin Asin Asinh Atan Atanh AvgPool AvgPool3D BatchMatMul BatchMatMulV2 BiasAdd BroadcastTo Cast Ceil ClipByValue
    CombinedNonMaxSuppression ConcatV2 Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos Cosh Cumsum DepthToSpace DepthwiseConv2dNative Div Einsum
    Elu Equal Erf Exp ExpandDims FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars Fill Floor FloorDiv FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 GatherNd
    GatherV2 Greater GreaterEqual LeakyRelu Less LessEqual Log LogSoftmax LogicalAnd LogicalNot LogicalOr MatMul Max MaxPool MaxPool3D Maximum Mean Min Minimum
    MirrorPad Mul Neg NotEqual OneHot Pack Pad PadV2 Pow Prod QuantizeAndDequantizeV2 QuantizeAndDequantizeV3 RealDiv Reciprocal Relu Relu6 Reshape
    ResizeBilinear ResizeNearestNeighbor Round Rsqrt Select SelectV2 Selu Shape Sigmoid Sign Sin Sinh Slice Softmax Softplus Softsign SpaceToDepth Split Sqrt
    Square SquaredDifference Squeeze StridedSlice Sub Sum Tan Tanh Tile TopKV2 Transpose Unpack ZerosLike
""".split()
)
# Operations that disappear when variables become constants and functions are inlined.
_PLUMBING = frozenset(
    "Const Identity IdentityN NoOp PartitionedCall Placeholder PlaceholderWithDefault ReadVariableOp Snapshot StatefulPartitionedCall "
    "StopGradient VarHandleOp Variable VariableV2 _Arg _Retval".split()
)
# Operations that take most of a network's time. Without one of these, TensorRT cannot help.
_WORK = frozenset(
    "BatchMatMul BatchMatMulV2 Conv2D Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 DepthwiseConv2dNative Einsum MatMul".split()
)
_COMPUTED = ("float16", "float32")


def likelihood(signature: Signature, ops: Iterable[str]) -> Likelihood:
    """Return whether TF-TRT is likely to help."""
    outside = sorted(set(ops) - SUPPORTED - _PLUMBING)
    reasons = []
    if not _WORK & set(ops):
        reasons.append("It has neither convolutions nor matrix products, so TensorRT has nothing to accelerate.")
    floats = {
        tensor["dtype"]
        for _side, tensors in sides(signature)
        for tensor in tensors.values()
        if "float" in tensor["dtype"]
    }
    if floats and not floats & set(_COMPUTED):
        reasons.append(f"It computes in {', '.join(sorted(floats))}; TensorRT supports {' and '.join(_COMPUTED)}.")
    if any(op in outside for op in ("If", "StatelessIf", "StatelessWhile", "While")):
        reasons.append("TF-TRT does not convert operations inside loops and conditions.")
    return {"likely": not reasons, "ops_outside": outside, "reasons": reasons}
