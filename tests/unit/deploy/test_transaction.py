# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do next with a server's containers, from any state that a killed run can leave."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import transaction
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.transaction import (
    CANDIDATE,
    NEXT,
    PREVIOUS,
    PROVEN,
    REPLACED,
    SERVING,
    Seen,
    Step,
    Wanted,
)

WANTED = Wanted("new", "image")
OLD, NEW, OLDER = (
    Seen("1", "running", "old", "image"),
    Seen("2", "running", "new", "image"),
    Seen("3", "exited", "older", "image"),
)


def played(seen, steps, digest="new"):
    """What is there after the steps, by the engine's rules: created containers do not run, two never share a name."""
    seen = dict(seen)
    for step in steps:
        if step.verb == "create":
            assert step.role not in seen, "the name is taken"
            seen[step.role] = Seen("9", "created", digest, "image")
        elif step.verb == "stop":
            seen[step.role] = replace(seen[step.role], state="exited")
        elif step.verb == "recover":
            seen = played(seen, [Step("start", SERVING), *transaction.finish(seen)])
        elif step.verb == "start":
            seen = transaction.expected(seen, [step])
        elif step.verb in ("check", "verify"):
            assert seen[step.role].runs
        elif step.verb in ("mark", "unmark"):
            seen[step.role] = replace(seen[step.role], is_unverified=step.verb == "mark")
        else:
            assert step.verb != "rename" or step.to not in seen, f"{step.to} is taken"
            seen = transaction.expected(seen, [step])
    return seen


def digests(seen):
    return {role: (one.digest, one.runs) for role, one in seen.items()}


def test_nothing_is_done_when_nothing_changed():
    assert transaction.recover({SERVING: NEW, PREVIOUS: OLDER}) == []
    assert transaction.to_started({SERVING: NEW, PREVIOUS: OLDER}, WANTED, True) == []
    assert transaction.to_started({SERVING: NEW}, Wanted("new", None), True) == [], (
        "an image that is not there under its name any more changes nothing"
    )
    assert transaction.to_started({SERVING: NEW}, Wanted("new", "another image"), True), (
        "the name means another image now"
    )


BEFORE = [{}, {SERVING: OLD}, {SERVING: OLD, PREVIOUS: OLDER}, {SERVING: OLD, PROVEN: NEW}]


@pytest.mark.parametrize("side_by_side", [True, False])
@pytest.mark.parametrize("before", BEFORE)
def test_what_serves_passed_all_checks_even_if_runs_are_killed_after_any_step(before, side_by_side):
    """A server whose checks did not end counts as one that was not deployed, also where the run that undoes it is killed."""

    def checked(steps):
        return any(step.verb == "check" for step in steps)

    def ended(left, done):
        """Return what a last run leaves that nothing interrupts. done: the completed steps of those before."""
        recovered = played(left, transaction.recover(left))
        steps = transaction.to_started(recovered, WANTED, side_by_side)
        assert PROVEN in before or checked(done) or checked(steps), f"not checked after {done}"
        return digests(played(recovered, steps))

    steps = transaction.to_started(before, WANTED, side_by_side)
    goal = digests(played(before, steps))
    for first in range(len(steps) + 1):
        left = played(before, steps[:first])
        recovery = transaction.recover(left)
        assert ("remove", SERVING) not in [(step.verb, step.role) for step in recovery] or not checked(
            steps[: first - 1]
        ), "a server that passed its checks is kept"
        for second in range(len(recovery) + 1):
            assert ended(played(left, recovery[:second]), steps[:first]) == goal


@pytest.mark.parametrize("side_by_side", [True, False])
@pytest.mark.parametrize("before", BEFORE)
def test_a_run_that_is_killed_after_any_step_is_finished_or_undone_by_the_next(before, side_by_side):
    goal = {SERVING: ("new", True), **({PREVIOUS: ("old", False)} if SERVING in before else {})}
    steps = transaction.to_started(before, WANTED, side_by_side)
    assert digests(played(before, steps)) == goal
    for done in range(len(steps) + 1):
        left = played(before, steps[:done])
        recovered = played(left, transaction.recover(left))
        assert set(recovered) <= {SERVING, PROVEN, PREVIOUS}
        assert SERVING not in before or recovered[SERVING].runs, f"nothing serves after {steps[:done]}"
        assert recovered == transaction.expected(left, transaction.recover(left)), "what check mode expects"
        assert digests(played(recovered, transaction.to_started(recovered, WANTED, side_by_side))) == goal


def test_a_rollback_that_is_killed_after_any_step():
    before = {SERVING: NEW, PREVIOUS: Seen("1", "exited", "old", "image")}
    steps = transaction.to_previous(before, "its image")
    assert digests(played(before, steps)) == {SERVING: ("old", True), PREVIOUS: ("new", False)}
    for done in range(len(steps) + 1):
        left = played(before, steps[:done])
        recovered = played(left, transaction.recover(left))
        assert set(recovered) == {SERVING, PREVIOUS} and recovered[SERVING].runs, f"after {steps[:done]}"


def test_a_rollback_that_fails_keeps_the_earlier_server_for_another_one():
    """Also where the run that undoes it is killed after any step."""
    before = {SERVING: NEW, PREVIOUS: Seen("1", "exited", "old", "image")}
    steps = transaction.to_previous(before, "its image")
    failed = played(before, steps[: [step.verb for step in steps].index("check")])
    back = transaction.bring_back(failed, keeps=True)
    assert played(failed, back) == before
    for done in range(len(back) + 1):
        left = played(failed, back[:done])
        recovered = played(left, transaction.recover(left))
        assert {one.id for one in recovered.values()} == {"1", "2"}, f"after {back[:done]}"


@pytest.mark.parametrize("side_by_side", [True, False])
def test_what_served_before_a_deployment_is_kept_when_the_deployment_makes_its_server_again(side_by_side):
    """Also where a run is killed after any step."""
    before = {SERVING: replace(OLD, deployment="monday", predecessor=OLDER.id), PREVIOUS: OLDER}
    steps = transaction.to_started(before, replace(WANTED, deployment="monday"), side_by_side)
    assert transaction.predecessor(before, "monday") == OLDER.id
    for done in range(len(steps) + 1):
        left = played(before, steps[:done])
        for role in {NEXT, SERVING} & {role for role, one in left.items() if one.id == "9"}:
            left[role] = replace(left[role], deployment="monday", predecessor=OLDER.id)
        ended = played(left, transaction.recover(left))
        ended = played(ended, transaction.to_started(ended, replace(WANTED, deployment="monday"), side_by_side))
        assert digests(ended) == {SERVING: ("new", True), PREVIOUS: ("older", False)}, f"after {steps[:done]}"

    for other in (None, "tuesday"):
        assert transaction.predecessor(before, other) == OLD.id
        ended = played(before, transaction.to_started(before, replace(WANTED, deployment=other), side_by_side))
        assert digests(ended) == {SERVING: ("new", True), PREVIOUS: ("old", False)}
    # What is kept is of another deployment, which was undone: the server that served last is worth more.
    undone = {**before, PREVIOUS: replace(OLDER, id="4")}
    ended = played(undone, transaction.to_started(undone, replace(WANTED, deployment="monday"), side_by_side))
    assert digests(ended) == {SERVING: ("new", True), PREVIOUS: ("old", False)}


def test_what_serves_runs_until_its_successor_is_proven():
    steps = transaction.to_started({SERVING: OLD}, WANTED, side_by_side=True)
    verbs = [(step.verb, step.role) for step in steps]
    assert verbs.index(("check", CANDIDATE)) < verbs.index(("stop", REPLACED)) < verbs.index(("verify", SERVING))
    assert verbs[-1] == ("rename", REPLACED), "and what it replaced is kept"
    assert [step.verb for step in transaction.to_started({SERVING: OLD}, WANTED, False)] == [
        "create",
        "mark",
        "rename",
        "stop",
        "rename",
        "start",
        "check",
        "unmark",
        "rename",
    ]


def test_a_proven_candidate_is_swapped_without_being_proven_again():
    steps = transaction.to_started({SERVING: OLD}, WANTED, True, candidate_only=True)
    proven = played({SERVING: OLD}, steps)
    assert digests(proven) == {SERVING: ("old", True), PROVEN: ("new", True)}
    assert transaction.to_started(proven, WANTED, True, candidate_only=True) == []
    assert "check" not in [step.verb for step in transaction.to_started(proven, WANTED, True)]
    other = transaction.to_started(proven, Wanted("newer", "image"), True)
    assert other[0] == Step("remove", PROVEN)


def test_stopped_absent_and_stopped_by_nobody():
    everything = dict.fromkeys((SERVING, PROVEN, PREVIOUS), OLD)
    assert [(step.verb, step.role) for step in transaction.to_stopped(everything)] == [
        ("remove", PROVEN),
        ("stop", SERVING),
    ]
    assert played(everything, transaction.to_absent(everything)) == {}
    stopped = {SERVING: Seen("2", "exited", "new", "image")}
    assert transaction.to_stopped(stopped) == []
    assert [step.verb for step in transaction.to_started(stopped, WANTED, True)] == ["start", "verify"]


def test_names():
    names = [
        transaction.container_name("digits", role) for role in (SERVING, CANDIDATE, PROVEN, NEXT, REPLACED, PREVIOUS)
    ]
    assert names == ["digits", "digits.candidate", "digits.proven", "digits.next", "digits.replaced", "digits.previous"]
    for one, other in itertools.product(("digits", "digits.candidate"), names):
        assert (
            transaction.role_of(one, other) is None
            or transaction.container_name(one, transaction.role_of(one, other)) == other
        )
