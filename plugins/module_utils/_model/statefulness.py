# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find out whether a model's answer depends only on its request. Otherwise no comparison can verify another variant."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TypedDict

from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._model.tensorflow_ops import STATEFUL

# Operations that call Python code of the process that exported the model.
PYTHON = frozenset("EagerPyFunc PyFunc PyFuncStateless".split())
# Operations whose results differ each time: random numbers, random candidates, the time.
RANDOM = frozenset(
    """
    AllCandidateSampler AnonymousRandomSeedGenerator AnonymousSeedGenerator DummySeedGenerator ExperimentalRandomDataset FixedUnigramCandidateSampler
    GetDeadline LearnedUnigramCandidateSampler LogUniformCandidateSampler Multinomial NonDeterministicInts ParameterizedTruncatedNormal RandomCrop
    RandomDataset RandomDatasetV2 RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform RandomUniformInt
    RngReadAndSkip RngSkip SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 ShuffleAndRepeatDataset ShuffleAndRepeatDatasetV2 ShuffleDataset
    ShuffleDatasetV2 ShuffleDatasetV3 StatefulRandomBinomial StatefulStandardNormal StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform
    StatefulUniformFullInt StatefulUniformInt ThreadUnsafeUnigramCandidateSampler Timestamp TruncatedNormal UniformCandidateSampler
""".split()
)
# Operations that read files of the server, or list them.
READS_FILES = frozenset(
    """
    CSVDataset CSVDatasetV2 DTensorRestoreV2 ExperimentalCSVDataset ExperimentalLMDBDataset ExperimentalMatchingFilesDataset ExperimentalSqlDataset
    FixedLengthRecordDataset FixedLengthRecordDatasetV2 FixedLengthRecordReader FixedLengthRecordReaderV2 GenerateVocabRemapping ImmutableConst
    InitializeTableFromTextFile InitializeTableFromTextFileV2 LMDBDataset LMDBReader ListSnapshotChunksDataset LoadAndRemapMatrix LoadDataset
    MatchingFiles MatchingFilesDataset ReadFile RecordInput Restore RestoreSlice RestoreV2 SqlDataset TFRecordDataset TFRecordDatasetV2 TFRecordReader
    TFRecordReaderV2 TextLineDataset TextLineReader TextLineReaderV2 WholeFileReader WholeFileReaderV2
""".split()
)
# Operations that write files of the server, or delete them.
WRITES_FILES = frozenset(
    """
    CreateSummaryDbWriter CreateSummaryFileWriter DatasetToTFRecord DistributedSave DumpTensor ExperimentalDatasetToTFRecord ImportEvent
    MergeV2Checkpoints Save SaveDataset SaveDatasetV2 SaveSlices SaveV2 SnapshotDataset SnapshotDatasetV2 WriteAudioSummary WriteFile
    WriteGraphSummary WriteHistogramSummary WriteImageSummary WriteRawProtoSummary WriteScalarSummary WriteSummary
""".split()
)
# Operations that end the server's process, or change its global behavior.
PROCESS = frozenset("Abort FileSystemSetConfiguration".split())
# Operations that communicate with other processes.
NETWORK = frozenset(
    """
    CollectiveAllToAllV2 CollectiveAllToAllV3 CollectiveAssignGroupV2 CollectiveBcastRecv CollectiveBcastRecvV2 CollectiveBcastSend
    CollectiveBcastSendV2 CollectiveGather CollectiveGatherV2 CollectiveInitializeCommunicator CollectivePermute CollectiveReduce
    CollectiveReduceScatterV2 CollectiveReduceV2 CollectiveReduceV3 DataServiceDataset DataServiceDatasetV2 DataServiceDatasetV3 DataServiceDatasetV4
    DebugIdentityV2 DebugIdentityV3 Recv RegisterDataset RegisterDatasetV2 RemoteCall RpcCall RpcClient RpcServer RpcServerRegister RpcServerStart
    Send
""".split()
)
OUTSIDE = READS_FILES | WRITES_FILES | PROCESS | NETWORK
# Operations that write their inputs to the addresses in their attributes, including files.
_DEBUG = frozenset(
    "DebugIdentity DebugIdentityV2 DebugIdentityV3 DebugNanCount DebugNumericSummary DebugNumericSummaryV2".split()
)
# Every SavedModel contains some of these, to save and restore itself, and to fill tables from its assets.
TABLES_OF_FILES = frozenset("InitializeTableFromTextFile InitializeTableFromTextFileV2".split())
_OF_EVERY_MODEL = TABLES_OF_FILES | frozenset(
    "MergeV2Checkpoints Restore RestoreSlice RestoreV2 Save SaveSlices SaveV2".split()
)
# TensorFlow considers these stateful, but they do not affect other requests: they use something that exists only as
# long as the request.
_HARMLESS = frozenset(
    """
    AccumulatorNumAccumulated AddManySparseToTensorsMap AddSparseToTensorsMap AnonymousHashTable AnonymousIterator AnonymousIteratorV2
    AnonymousIteratorV3 AnonymousMemoryCache AnonymousMultiDeviceIterator AnonymousMultiDeviceIteratorV3 AnonymousMutableDenseHashTable
    AnonymousMutableHashTable AnonymousMutableHashTableOfTensors Assert Barrier BarrierIncompleteSize BarrierReadySize
    BoostedTreesEnsembleResourceHandleOp BoostedTreesExampleDebugOutputs BoostedTreesGetEnsembleStates BoostedTreesPredict
    BoostedTreesQuantileStreamResourceGetBucketBoundaries BoostedTreesQuantileStreamResourceHandleOp BoostedTreesSerializeEnsemble CacheDatasetV2 Case
    CheckNumerics CheckNumericsV2 ConditionalAccumulator ConsumeMutexLock ConvertToCooTensor CudnnRNN CudnnRNNBackprop CudnnRNNBackpropV2
    CudnnRNNBackpropV3 CudnnRNNV2 CudnnRNNV3 DatasetToSingleElement DebugGradientRefIdentity DeepCopy DeleteIterator DeleteMemoryCache
    DeleteMultiDeviceIterator DeleteRandomSeedGenerator DeleteSeedGenerator DestroyTemporaryVariable DeviceIndex DisableCopyOnRead
    DummyIterationCounter DummyMemoryCache Empty ExperimentalGroupByReducerDataset ExperimentalIteratorGetDevice ExperimentalThreadPoolDataset
    ExperimentalThreadPoolHandle FIFOQueue FIFOQueueV2 FakeQueue GeneratorDataset GlobalIterId GlobalShuffleDataset GroupByReducerDataset
    GuaranteeConst HashTable HashTableV2 IdentityReader IdentityReaderV2 If InitializeTable InitializeTableFromDataset InitializeTableV2
    IsBoostedTreesEnsembleInitialized IsBoostedTreesQuantileStreamResourceInitialized IsVariableInitialized Iterator IteratorFromStringHandle
    IteratorFromStringHandleV2 IteratorGetDevice IteratorGetModelProto IteratorToStringHandle IteratorV2 ListDataset LookupTableExport
    LookupTableExportV2 LookupTableFind LookupTableFindV2 LookupTableSize LookupTableSizeV2 MakeIterator MultiDeviceIterator
    MultiDeviceIteratorFromStringHandle MultiDeviceIteratorToStringHandle MutableDenseHashTable MutableDenseHashTableV2 MutableHashTable
    MutableHashTableOfTensors MutableHashTableOfTensorsV2 MutableHashTableV2 MutexLock MutexV2 OneShotIterator PaddingFIFOQueue PaddingFIFOQueueV2
    Print PrintV2 PriorityQueue PriorityQueueV2 QueueIsClosed QueueIsClosedV2 QueueSize QueueSizeV2 RandomShuffleQueue RandomShuffleQueueV2
    RangeDataset ReadVariableOp ReadVariableXlaSplitND ReduceDataset RefEnter RefExit RefIdentity RefMerge RefNextIteration RefSelect RefSwitch
    ResourceAccumulatorNumAccumulated ResourceConditionalAccumulator ResourceGather ResourceGatherNd SparseConditionalAccumulator
    SparseTensorSliceDataset Stack StackClose StackCloseV2 StackPop StackPopV2 StackPush StackPushV2 StackV2 StatefulPartitionedCall
    StatelessRandomGetAlg SummaryWriter SyncDevice TakeManySparseFromTensorsMap TemporaryVariable TensorArray TensorArrayClose TensorArrayCloseV3
    TensorArrayConcat TensorArrayConcatV3 TensorArrayGather TensorArrayGatherV3 TensorArrayGrad TensorArrayGradV2 TensorArrayGradV3
    TensorArrayGradWithShape TensorArrayPack TensorArrayRead TensorArrayReadV3 TensorArrayScatter TensorArrayScatterV3 TensorArraySize
    TensorArraySizeV3 TensorArraySplit TensorArraySplitV3 TensorArrayUnpack TensorArrayV2 TensorArrayV3 TensorArrayWrite TensorArrayWriteV3
    TensorDataset TensorSliceDataset ThreadPoolDataset ThreadPoolHandle VarHandleOp VarIsInitializedOp Variable VariableShape VariableV2 While
""".split()
)
# Operations that write what a later request reads: variables, tables, queues.
_WRITING = STATEFUL - RANDOM - PYTHON - OUTSIDE - _HARMLESS
# Operations that run in a function even if none of its outputs needs them.
EFFECTS = _WRITING | PYTHON | OUTSIDE | frozenset("Case If StatefulPartitionedCall While".split())


class Likelihood(TypedDict, total=False):
    """Whether a conversion is likely to succeed, or to make the model faster.

    blocking_ops: operations that TensorFlow Lite lacks. ops_outside: operations that stay in TensorFlow.
    """

    likely: bool
    blocking_ops: list[str]
    ops_outside: list[str]
    reasons: list[str]


def state_ops(ops: Iterable[str]) -> list[str]:
    """Return the operations that keep state between requests, sorted."""
    return sorted(_WRITING & set(ops))


def random_ops(ops: Iterable[str]) -> list[str]:
    """Return the operations that draw new random numbers for each request, sorted."""
    return sorted(RANDOM & set(ops))


def python_ops(ops: Iterable[str]) -> list[str]:
    """Return the operations that no server can run because they call Python, sorted."""
    return sorted(PYTHON & set(ops))


def file_ops(ops: Iterable[str]) -> list[str]:
    """Return the operations that read or write files of the server, sorted."""
    return sorted((READS_FILES | WRITES_FILES) & set(ops))


def outside_ops(ops: Iterable[str]) -> list[str]:
    """Return the operations that affect the server's process or other processes, sorted."""
    return sorted((PROCESS | NETWORK) & set(ops))


def untrusted_ops(functions: Iterable[str], running: Iterable[str], requested: Iterable[str]) -> list[str]:
    """Return the operations that require trust in the model, sorted: they use files, processes or the network, or call Python.

    functions: all functions that TensorFlow's loader in Python may run as initializers, even if no signature uses them;
    those that call Python fail there. running: those that run for a signature or when a server loads the model. These
    never need operations that save a model. requested: those that run for a signature, which never needs to read files.
    """
    found = (OUTSIDE | _DEBUG) & set(functions) | (OUTSIDE | PYTHON | _DEBUG) & set(running)
    return sorted(found - _OF_EVERY_MODEL | WRITES_FILES & set(running) | READS_FILES & set(requested))


def refuse_untrusted(ops: Iterable[str], where: str, instead: str) -> None:
    """Raise FleetError for a model that requires trust. ops: its untrusted_ops(). instead: the alternative to trusting it."""
    if ops:
        raise FleetError(
            f"it has operations that use files, processes, or the network, or call Python ({', '.join(ops)}), and loading it can run them",
            where=where,
            remedy=f"Set trusted: true if you trust the author of the model, {instead}.",
        )


def refusal(ops: Iterable[str], optional_inputs: Collection[str]) -> str | None:
    """Return why no converted variant can replace a signature, or None. ops: names of the operations behind it. optional_inputs: inputs with a default."""
    if python_ops(ops):
        return f"it calls Python code of the process that exported it ({', '.join(python_ops(ops))}), which servers do not have; export it without this code"
    if state_ops(ops):
        return (
            f"it keeps state between requests ({', '.join(state_ops(ops))}), which a converted variant loses or keeps several times; "
            "serve the SavedModel, or export it without state"
        )
    if file_ops(ops) or outside_ops(ops):
        return (
            f"it uses files or processes outside the model ({', '.join([*file_ops(ops), *outside_ops(ops)])}), which a comparison does not cover; "
            "serve the SavedModel, or export it without them"
        )
    if random_ops(ops):
        return f"its answers are random ({', '.join(random_ops(ops))}), so no other variant can be verified; serve the SavedModel, or export it without them"
    if optional_inputs:
        return (
            f"the signature has defaults for {', '.join(optional_inputs)}, which a converted variant does not support, so requests without these inputs would "
            "fail; serve the SavedModel, or export it without defaults"
        )
    return None
