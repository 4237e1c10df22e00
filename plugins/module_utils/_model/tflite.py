# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""List what TensorFlow Serving accepts from TensorFlow Lite, and what the converter probably cannot convert."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ansible_collections.tfserving.fleet.plugins.module_utils._model import statefulness
from ansible_collections.tfserving.fleet.plugins.module_utils._model.statefulness import Likelihood
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol import dtypes
from ansible_collections.tfserving.fleet.plugins.module_utils._protocol.signature import (
    Signature,
    composite,
    describe,
    sides,
)

# Operations that the converter of TensorFlow 2.21 translates to TensorFlow Lite's own ones, or removes.
CONVERTIBLE = frozenset(
    """
    Abs Add AddN AddV2 All Any ArgMax ArgMin Assert Atan2 AvgPool BatchMatMul BatchMatMulV2 BatchMatMulV3 BatchToSpaceND BiasAdd Bitcast
    BitwiseXor BroadcastArgs BroadcastTo Bucketize Case Cast Ceil CheckNumerics ClipByValue ComplexAbs Concat ConcatV2 Const Conv2D
    Conv2DBackpropInput Conv3D Conv3DBackpropInputV2 Cos Cumsum DepthToSpace DepthwiseConv2dNative Div DivNoNan Einsum Elu EnsureShape Equal
    Erfc Exp ExpandDims Expm1 FFT FakeQuantWithMinMaxArgs FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Floor FloorDiv
    FloorMod FusedBatchNorm FusedBatchNormV2 FusedBatchNormV3 Gather GatherNd GatherV2 Greater GreaterEqual HardSwish Identity IdentityN If
    Imag InvertPermutation IsFinite IsInf IsNan L2Loss LRN LeakyRelu Less LessEqual Lgamma Log Log1p LogSoftmax LogicalAnd LogicalNot
    LogicalOr MatMul MatrixBandPart MatrixDiag MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 Max MaxPool Maximum
    Mean Merge Min Minimum MirrorPad Mul MulNoNan Multinomial Neg NoOp NonMaxSuppressionV3 NonMaxSuppressionV4 NonMaxSuppressionV5 NotEqual
    OneHot OnesLike Pack Pad PadV2 PartitionedCall Placeholder PlaceholderWithDefault Pow PreventGradient Prod RFFT RFFT2D
    RandomStandardNormal RandomUniform Range Rank ReadVariableOp Real RealDiv Reciprocal Relu Relu1 Relu6 Reshape ResizeBilinear
    ResizeNearestNeighbor ResourceGather ReverseSequence ReverseV2 RightShift Rint Round Rsqrt ScatterNd SegmentSum Select SelectV2 Selu
    Shape Sigmoid Sign Sin Size Slice Snapshot Softmax SoftmaxCrossEntropyWithLogits Softplus Softsign SpaceToBatchND SpaceToDepth
    SparseToDense Split SplitV Sqrt Square SquaredDifference Squeeze StatefulPartitionedCall StatelessIf StatelessWhile StopGradient
    StridedSlice Sub Sum Switch Tanh TensorListFromTensor TensorListGetItem TensorListLength TensorListReserve TensorListSetItem
    TensorListStack TensorScatterAdd TensorScatterSub TensorScatterUpdate Tile TopKV2 Transpose TruncateDiv TruncateMod Unique Unpack
    UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd UnsortedSegmentSum VarHandleOp Variable VariableV2 Where While Xdivy
    XlaDynamicUpdateSlice Xlogy ZerosLike
""".split()
)


def refusal(signature: Signature) -> str | None:
    """Return why TensorFlow Serving cannot load this signature from TensorFlow Lite, or None."""
    if composite(signature):
        return composite(signature)
    for side, tensors in sides(signature):
        for name, tensor in tensors.items():
            if tensor["dtype"] not in dtypes.LITE:
                return (
                    f"{side} {name} is {tensor['dtype']}, which TensorFlow Serving does not accept from TensorFlow Lite; "
                    f"allowed: {', '.join(dtypes.LITE)}. Cast it inside the model, or serve the SavedModel."
                )
            if 0 in (tensor["shape"] or ()):
                return (
                    f"{side} {name} has shape {describe(tensor['shape'])}, which has no elements. Serve the SavedModel."
                )
    return None


def likelihood(
    signature: Signature, ops: Iterable[str], optional_inputs: Collection[str] = (), uncertain_ops: Iterable[str] = ()
) -> Likelihood:
    """Return whether a conversion to TensorFlow Lite is likely to succeed. Only a conversion verifies it.

    ops: names of the operations that run for the signature. optional_inputs: its inputs with a default. uncertain_ops:
    operations that run only if a value that is not known before selects them; they are also converted. Lists are
    sorted; reasons are sentences.
    """
    stateful, blocking = statefulness.refusal(ops, optional_inputs), sorted({*ops, *uncertain_ops} - CONVERTIBLE)
    missing = sorted(
        set(blocking)
        - {
            *statefulness.python_ops(ops),
            *statefulness.state_ops(ops),
            *statefulness.file_ops(ops),
            *statefulness.outside_ops(ops),
        }
    )
    reasons = [
        f"{reason.rstrip('.')}."
        for reason in (refusal(signature), stateful and stateful[0].upper() + stateful[1:])
        if reason
    ]
    if missing:
        reasons.append(f"TensorFlow Lite has no built-in operation for {', '.join(missing)}.")
    return {"likely": not reasons, "blocking_ops": blocking, "reasons": reasons}
