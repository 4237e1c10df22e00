# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Represent what runs of a graph, a function or a node, and combine several of these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ansible_collections.tfserving.fleet.plugins.module_utils._model import graph_values, statefulness


@dataclass
class Walked:
    """What runs.

    ops: names of operations. uncertain_ops: those that run only if a value that is not known before selects them.
    fed_ops: operations on files or processes that use something from the request. read, filled: names of variables and
    tables. restored: names of tensors that are read from a checkpoint. compiled: whether only XLA can compile a part.
    values: what is known about each return. listens: the positions of the arguments on which the returns depend.
    """

    ops: frozenset[str] = frozenset()
    uncertain_ops: frozenset[str] = frozenset()
    fed_ops: frozenset[str] = frozenset()
    read: frozenset[str] = frozenset()
    filled: frozenset[str] = frozenset()
    restored: frozenset[str] = frozenset()
    compiled: bool = False
    values: tuple[object, ...] = ()
    listens: frozenset[int] = frozenset()

    def then(self, other: Walked, unsure: frozenset[str] = frozenset()) -> Walked:
        """Return this, followed by the other. unsure: the operations of the other that run only if a value selects them."""
        sure = other.ops - unsure
        ops = self.ops | sure
        return replace(
            self,
            ops=ops,
            uncertain_ops=(self.uncertain_ops | other.uncertain_ops | unsure) - ops,
            fed_ops=self.fed_ops | other.fed_ops,
            read=self.read | other.read,
            filled=self.filled | other.filled,
            restored=self.restored | other.restored,
            compiled=self.compiled or other.compiled,
        )


def either(walks: Sequence[Walked], decided_by_request: bool) -> Walked:
    """Combine alternatives of which only one runs.

    If requests decide, some request takes each of them. If random numbers decide, it is unknown.
    """
    common = frozenset.intersection(*(one.ops for one in walks))
    every = frozenset().union(*(one.ops for one in walks))
    ops = common | (every - statefulness.RANDOM if decided_by_request else frozenset())
    uncertain = frozenset().union(every, *(one.uncertain_ops for one in walks)) - ops
    read = (
        frozenset().union(*(one.read for one in walks))
        if decided_by_request
        else frozenset.intersection(*(one.read for one in walks))
    )
    return Walked(
        ops,
        uncertain,
        frozenset().union(*(one.fed_ops for one in walks)),
        read,
        frozenset().union(*(one.filled for one in walks)),
        compiled=any(one.compiled for one in walks),
        values=tuple(graph_values.either(same, decided_by_request) for same in zip(*(one.values for one in walks))),
        listens=frozenset().union(*(one.listens for one in walks)),
    )
