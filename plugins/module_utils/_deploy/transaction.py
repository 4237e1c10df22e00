# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide the next steps for the containers of a server only from their current state.

Therefore the next run can finish or undo a run that was killed at any point. A server NAME has at most these containers, which are distinguished only by their
names. In addition, a file in the server's folder names a container that started without having been a verified candidate, until its checks end.

NAME             serves, or is stopped on purpose
NAME.candidate   is being checked, on free loopback ports
NAME.proven      passed all checks and waits for the swap
NAME.next        is made from the verified specification and not started yet, because a published port cannot move between containers
NAME.replaced    served until the swap began; it comes back unless its successor is verified
NAME.previous    served before, stopped, kept for a rollback
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

SERVING, CANDIDATE, PROVEN, NEXT, REPLACED, PREVIOUS = "serving", "candidate", "proven", "next", "replaced", "previous"
_SUFFIXES = {CANDIDATE: ".candidate", PROVEN: ".proven", NEXT: ".next", REPLACED: ".replaced", PREVIOUS: ".previous"}


@dataclass(frozen=True)
class Seen:
    """A container of the server.

    state: in the engine's words (running, exited, created, restarting, …). digest: of the specification that it was
    made from. deployment: id of the one that made it. deployed_at: when that began. predecessor: id of the container
    that served before that deployment. is_unverified: whether its checks have not ended.
    """

    id: str
    state: str
    digest: str
    image_id: str
    deployment: str | None = None
    deployed_at: str | None = None
    predecessor: str | None = None
    is_unverified: bool = False

    @property
    def runs(self) -> bool:
        """Return whether it is up."""
        return self.state == "running"

    @property
    def is_down(self) -> bool:
        """Return whether it was stopped or never started. A container that crashes and restarts is not down."""
        return self.state in ("exited", "created")


@dataclass(frozen=True)
class Wanted:
    """The goal.

    digest: of the specification. image_id: the image that its name currently means on this host, or None if it is
    missing. deployment: id of the current one.
    """

    digest: str
    image_id: str | None
    deployment: str | None = None

    def is_met_by(self, seen: Seen | None) -> bool:
        """Return whether the container is made from this specification and image."""
        return seen is not None and seen.digest == self.digest and self.image_id in (None, seen.image_id)


@dataclass(frozen=True)
class Step:
    """One step. verb: remove, rename, create, start, stop, check, verify, recover, mark (as unverified), unmark. role and to: roles of containers.

    says: an imperative sentence for users, if any.
    """

    verb: str
    role: str
    to: str = ""
    says: str | None = None


Roles = Mapping[str, Seen]  # the containers of a server


def container_name(server: str, role: str) -> str:
    """Return the name of a server's container in a role."""
    return server + _SUFFIXES.get(role, "")


def role_of(server: str, name: str) -> str | None:
    """Return the role in a container's name, or None if it belongs to another server."""
    return next((role for role in (SERVING, *_SUFFIXES) if container_name(server, role) == name), None)


def recover(seen: Roles) -> list[Step]:
    """Return steps that finish or undo what a killed run left. Afterwards only serving, verified and previous remain.

    seen: {role: Seen}.
    """
    steps = []
    if CANDIDATE in seen:
        steps.append(Step("remove", CANDIDATE, says="remove the candidate of an interrupted run"))
    if NEXT in seen:
        says = "remove the container that an interrupted run created"
        steps.append(Step("remove", NEXT, says=None if REPLACED in seen else says))
    if SERVING in seen and seen[SERVING].is_unverified:
        # It is made and checked again with the server that it replaced in place, because the checks also compare the two.
        steps += (
            bring_back(seen, "bring back the server that an interrupted run replaced with an unverified one")
            if REPLACED in seen
            else [Step("remove", SERVING, says="remove the server that an interrupted run did not verify")]
        )
    elif REPLACED in seen and SERVING in seen:
        steps.append(
            Step(
                "recover",
                SERVING,
                says="verify the server that an interrupted run started, or bring back the one that it replaced",
            )
        )
    elif REPLACED in seen:
        # A rollback uses the container kept as previous, and a deployment the one made as next: both still exist.
        steps += bring_back(seen, "bring back the server that an interrupted run stopped")
    return steps


def to_started(seen: Roles, wanted: Wanted, side_by_side: bool, candidate_only: bool = False) -> list[Step]:
    """Return steps from a recovered state to a server of the wanted specification. candidate_only: stop before the swap."""
    serving, verified = seen.get(SERVING), seen.get(PROVEN)
    if serving and wanted.is_met_by(serving):
        steps = (
            [Step("remove", PROVEN, says="remove a verified candidate that is no longer needed")] if verified else []
        )
        if not serving.runs and not candidate_only:
            steps += [Step("start", SERVING, says="start the server"), Step("verify", SERVING)]
        return steps
    steps = []
    if side_by_side and not (verified and wanted.is_met_by(verified) and verified.runs):
        steps += [Step("remove", PROVEN)] if verified else []
        steps += [
            Step(
                "create",
                CANDIDATE,
                says="start a candidate alongside the current server" if serving else "start a candidate",
            ),
            Step("start", CANDIDATE),
            Step("check", CANDIDATE, says="check it"),
            Step("rename", CANDIDATE, PROVEN),
        ]
        verified = Seen("", "running", wanted.digest, wanted.image_id or "")
    if candidate_only:
        return steps
    is_verified = wanted.is_met_by(verified)
    steps.append(
        Step(
            "create",
            NEXT,
            says="create the server from the verified configuration" if is_verified else "create the server",
        )
    )
    steps += [Step("remove", PROVEN)] if verified else []
    judged = "verify" if is_verified else "check"
    before = predecessor(seen, wanted.deployment)
    kept = "the one from before this deployment" if PREVIOUS in seen and seen[PREVIOUS].id == before else "the old one"
    says = (
        f"stop the current server, start the new one, {judged} it, keep {kept}"
        if serving
        else f"start it and {judged} it"
    )
    return steps + swap(seen, NEXT, says, judged, before)


def predecessor(seen: Roles, deployment: str | None) -> str | None:
    """Return the id of the container that a rollback of the deployment restores if it makes a server now, or None without a server.

    That is the current container, or, if the deployment already made the current one, the container that it replaced.
    """
    serving = seen.get(SERVING)
    if serving is None:
        return None
    return serving.predecessor if deployment and serving.deployment == deployment else serving.id


def is_of(seen: Roles, deployment: str | None) -> bool:
    """Return whether the server belongs to a deployment that can be undone; None means any. A stopped server that cannot be rolled back is already undone."""
    serving = seen.get(SERVING)
    return deployment is None or bool(
        serving and serving.deployment == deployment and (not serving.is_down or can_go_back(seen, deployment))
    )


def can_go_back(seen: Roles, deployment: str | None) -> bool:
    """Return whether the previous server is kept. deployment: it must be the one that this deployment replaced."""
    return PREVIOUS in seen and (deployment is None or seen[SERVING].predecessor == seen[PREVIOUS].id)


def to_previous(seen: Roles, what: str) -> list[Step]:
    """Return steps that replace the current server with the previous one and keep the current one. what: that server, for people."""
    steps = [Step("remove", PROVEN)] if PROVEN in seen else []
    return steps + swap(seen, PREVIOUS, says=f"stop the server, start the earlier one ({what}), check it", verb="check")


def to_stopped(seen: Roles) -> list[Step]:
    """Return steps that stop the server and keep it."""
    steps = (
        [Step("remove", PROVEN, says="remove a verified candidate that is no longer needed")] if PROVEN in seen else []
    )
    if SERVING in seen and not seen[SERVING].is_down:
        steps.append(Step("stop", SERVING, says="stop the server"))
    return steps


def to_absent(seen: Roles) -> list[Step]:
    """Return steps that remove everything of the server."""
    steps = [Step("stop", SERVING, says="stop the server")] if SERVING in seen and seen[SERVING].runs else []
    return steps + [Step("remove", role, says=f"remove the container {role}") for role in sorted(seen)]


def swap(seen: Roles, successor: str, says: str, verb: str, before: str | None = None) -> list[Step]:
    """Return steps from the current container, if there is one, to its successor.

    verb: verify or check, how the successor is checked. before: id of the successor's predecessor.
    """
    is_new = verb == "check" and successor == NEXT
    steps = [Step("mark", successor)] if is_new else []
    if SERVING in seen:
        steps += [Step("rename", SERVING, REPLACED, says=says), Step("stop", REPLACED)]
    steps += [
        Step("rename", successor, SERVING, says=None if SERVING in seen else says),
        Step("start", SERVING),
        Step(verb, SERVING),
        *([Step("unmark", SERVING)] if is_new else []),
    ]
    if SERVING not in seen:
        return steps
    rest = {role: one for role, one in seen.items() if role != successor}
    return steps + finish({**rest, SERVING: replace(seen[SERVING], predecessor=before)})


def finish(seen: Roles) -> list[Step]:
    """Return steps after the successor is verified: keep its predecessor, and remove the others."""
    if PREVIOUS in seen and seen[PREVIOUS].id == seen[SERVING].predecessor:
        return [Step("remove", REPLACED)]
    steps = [Step("remove", PREVIOUS)] if PREVIOUS in seen else []
    return [*steps, Step("rename", REPLACED, PREVIOUS)]


def bring_back(seen: Roles, says: str | None = None, keeps: bool = False) -> list[Step]:
    """Return steps back to the replaced container after its successor failed or was not made. keeps: the successor is the previous server, so it is kept."""
    steps = [Step("remove", SERVING)] if SERVING in seen else []
    if steps and keeps and PREVIOUS not in seen:
        steps = [Step("stop", SERVING), Step("rename", SERVING, PREVIOUS)]
    return [*steps, Step("rename", REPLACED, SERVING), Step("start", SERVING, says=says)]


def expected(seen: Roles, steps: Iterable[Step]) -> dict[str, Seen]:
    """Return {role: Seen} after successful steps, for check mode, which does not apply them."""
    found = dict(seen)
    for step in steps:
        if step.verb == "remove":
            found.pop(step.role, None)
        elif step.verb == "rename":
            found[step.to] = found.pop(step.role)
        elif step.verb == "start" and step.role in found:
            found[step.role] = replace(found[step.role], state="running")
        elif step.verb == "recover":
            found[step.role] = replace(found[step.role], state="running")
            found = expected(found, finish(found))
    return found


def sentences(steps: Iterable[Step]) -> tuple[str, ...]:
    """Return the sentences of the steps for people."""
    return tuple(step.says for step in steps if step.says)
