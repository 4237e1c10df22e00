# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a model's answer depends on its request alone. Where it does not, no comparison proves that another form answers alike."""

from __future__ import annotations

# They write what a later request reads: variables, tables, queues.
_WRITING = frozenset("""
    Assign AssignAdd AssignAddVariableOp AssignSub AssignSubVariableOp AssignVariableOp CountUpTo LookupTableInsert LookupTableInsertV2 LookupTableRemoveV2
    QueueDequeueManyV2 QueueDequeueV2 QueueEnqueueManyV2 QueueEnqueueV2 ResourceCountUpTo ResourceScatterAdd ResourceScatterDiv ResourceScatterMax
    ResourceScatterMin ResourceScatterMul ResourceScatterNdAdd ResourceScatterNdMax ResourceScatterNdMin ResourceScatterNdSub ResourceScatterNdUpdate
    ResourceScatterSub ResourceScatterUpdate ResourceStridedSliceAssign ScatterAdd ScatterDiv ScatterMax ScatterMin ScatterMul ScatterNdAdd ScatterNdSub
    ScatterNdUpdate ScatterSub ScatterUpdate StridedSliceAssign
""".split())
_RANDOM = frozenset("""
    Multinomial ParameterizedTruncatedNormal RandomCrop RandomGamma RandomPoisson RandomPoissonV2 RandomShuffle RandomStandardNormal RandomUniform
    RandomUniformInt RngReadAndSkip RngSkip SampleDistortedBoundingBox SampleDistortedBoundingBoxV2 StatefulRandomBinomial StatefulStandardNormal
    StatefulStandardNormalV2 StatefulTruncatedNormal StatefulUniform StatefulUniformFullInt StatefulUniformInt TruncatedNormal
""".split())
# They call Python code of the process that exported the model.
_PYTHON = frozenset("EagerPyFunc PyFunc PyFuncStateless".split())


def state_ops(ops):
    """The operations that keep something from one request for the next, sorted."""
    return sorted(_WRITING & set(ops))


def random_ops(ops):
    """The operations that draw random numbers anew for each request, sorted."""
    return sorted(_RANDOM & set(ops))


def python_ops(ops):
    """The operations that no server can run, as they call Python, sorted."""
    return sorted(_PYTHON & set(ops))


def refusal(ops, optional_inputs):
    """Why no converted form can stand for a signature, or None. ops: names of the operations behind it. optional_inputs: inputs with a default."""
    if python_ops(ops):
        return f"it calls Python code of the process that exported it ({', '.join(python_ops(ops))}), which no server has; export it without that"
    if state_ops(ops):
        return (f"it keeps something from one request for the next ({', '.join(state_ops(ops))}), which a converted form forgets or keeps several times; "
                "serve the SavedModel, or export it without state")
    if random_ops(ops):
        return f"its answers are random ({', '.join(random_ops(ops))}), so that nothing proves another form's; serve the SavedModel, or export it without them"
    if optional_inputs:
        return (f"the signature has defaults for {', '.join(optional_inputs)}, which a converted form does not know, so that requests without them would fail; "
                "serve the SavedModel, or export it without defaults")
    return None
