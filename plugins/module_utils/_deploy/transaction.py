# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What to do next with the containers of a server, decided from what is seen of them and from nothing else, so that a run that was killed anywhere is
finished or undone by the next.

A server NAME is at most these containers, distinguished by their names alone:

NAME             serves, or is stopped on purpose
NAME.candidate   is being checked, on free loopback ports
NAME.proven      passed all checks and waits for the swap
NAME.next        is made from the verified specification and not started yet, since a published port cannot move between containers
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
    """A container of the server. state: the engine's word (running, exited, created, restarting …). digest: of the specification it was made from.
    deployment: id of the one that made it. deployed_at: when that began. predecessor: id of the container that served before that deployment."""

    id: str
    state: str
    digest: str
    image_id: str
    deployment: str | None = None
    deployed_at: str | None = None
    predecessor: str | None = None

    @property
    def runs(self) -> bool:
        """Whether it is up."""
        return self.state == "running"

    @property
    def is_down(self) -> bool:
        """Whether it was stopped, or never started; one that dies and is started again is not."""
        return self.state in ("exited", "created")


@dataclass(frozen=True)
class Wanted:
    """digest: of the specification. image_id: what its image's name means on this host now, None where it is not there yet. deployment: id of the one that
    asks for it."""

    digest: str
    image_id: str | None
    deployment: str | None = None

    def is_met_by(self, seen: Seen | None) -> bool:
        """Return whether the container is made from this specification and image."""
        return seen is not None and seen.digest == self.digest and self.image_id in (None, seen.image_id)


@dataclass(frozen=True)
class Step:
    """One thing to do. verb: remove, rename, create, start, stop, check, verify, recover. role and to: roles of containers. says: an imperative sentence, if
    users see it."""

    verb: str
    role: str
    to: str = ""
    says: str | None = None


Roles = Mapping[str, Seen]  # the containers of a server


def container_name(server: str, role: str) -> str:
    """Return the name of a server's container in a role."""
    return server + _SUFFIXES.get(role, "")


def role_of(server: str, name: str) -> str | None:
    """Return the role that a container's name tells, or None for another's."""
    return next((role for role in (SERVING, *_SUFFIXES) if container_name(server, role) == name), None)


def recover(seen: Roles) -> list[Step]:
    """Return steps that finish or undo what a killed run left. seen: {role: Seen}. Afterwards there are no others than serving, verified and previous."""
    steps = []
    if CANDIDATE in seen:
        steps.append(Step("remove", CANDIDATE, says="remove the candidate of an interrupted run"))
    if REPLACED in seen and SERVING in seen:
        steps += [Step("remove", NEXT)] if NEXT in seen else []
        steps.append(
            Step(
                "recover",
                SERVING,
                says="verify the server that an interrupted run started, or bring back the one that it replaced",
            )
        )
    elif REPLACED in seen:
        # A rollback takes what was kept as previous, a deployment what was made as next: both are still there.
        steps += [Step("remove", NEXT)] if NEXT in seen else []
        steps += bring_back(seen, "bring back the server that an interrupted run stopped")
    elif NEXT in seen:
        steps.append(Step("remove", NEXT, says="remove the container that an interrupted run created"))
    return steps


def to_started(seen: Roles, wanted: Wanted, side_by_side: bool, candidate_only: bool = False) -> list[Step]:
    """Return steps from a recovered state to a server of the wanted specification. candidate_only: up to the swap, without it."""
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
    """Return the id of the container that a rollback of the deployment brings back, if it makes a server now: the one that serves or, where the deployment made
    that one before, the one that this replaced. None where nothing serves."""
    serving = seen.get(SERVING)
    if serving is None:
        return None
    return serving.predecessor if deployment and serving.deployment == deployment else serving.id


def is_of(seen: Roles, deployment: str | None) -> bool:
    """Return whether the server is of a deployment that can be undone; None is any. One that is stopped and cannot go back is undone already."""
    serving = seen.get(SERVING)
    return deployment is None or bool(
        serving and serving.deployment == deployment and (not serving.is_down or can_go_back(seen, deployment))
    )


def can_go_back(seen: Roles, deployment: str | None) -> bool:
    """Return whether the earlier server is kept; of a deployment that is named, the one that it replaced."""
    return PREVIOUS in seen and (deployment is None or seen[SERVING].predecessor == seen[PREVIOUS].id)


def to_previous(seen: Roles, what: str) -> list[Step]:
    """Return steps that replace the current server with the earlier one, and keep the current one in turn. what: that server, for people."""
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
    """Return steps that leave nothing of the server."""
    steps = [Step("stop", SERVING, says="stop the server")] if SERVING in seen and seen[SERVING].runs else []
    return steps + [Step("remove", role, says=f"remove the container {role}") for role in sorted(seen)]


def swap(seen: Roles, successor: str, says: str, verb: str, before: str | None = None) -> list[Step]:
    """Return steps from the container that serves, if there is one, to its successor. verb: verify or check, how the successor is judged. before: id of the
    successor's predecessor."""
    steps = []
    if SERVING in seen:
        steps += [Step("rename", SERVING, REPLACED, says=says), Step("stop", REPLACED)]
    steps += [
        Step("rename", successor, SERVING, says=None if SERVING in seen else says),
        Step("start", SERVING),
        Step(verb, SERVING),
    ]
    if SERVING not in seen:
        return steps
    rest = {role: one for role, one in seen.items() if role != successor}
    return steps + finish({**rest, SERVING: replace(seen[SERVING], predecessor=before)})


def finish(seen: Roles) -> list[Step]:
    """Return steps after the successor is verified: its predecessor is kept, the others go."""
    if PREVIOUS in seen and seen[PREVIOUS].id == seen[SERVING].predecessor:
        return [Step("remove", REPLACED)]
    steps = [Step("remove", PREVIOUS)] if PREVIOUS in seen else []
    return [*steps, Step("rename", REPLACED, PREVIOUS)]


def bring_back(seen: Roles, says: str | None = None) -> list[Step]:
    """Return steps back to what was replaced, after its successor failed or never came."""
    steps = [Step("remove", SERVING)] if SERVING in seen else []
    return [*steps, Step("rename", REPLACED, SERVING), Step("start", SERVING, says=says)]


def expected(seen: Roles, steps: Iterable[Step]) -> dict[str, Seen]:
    """Return {role: Seen} as it will be after steps that go well; for check mode, which does none of them."""
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
    """Return what the steps say, for people."""
    return tuple(step.says for step in steps if step.says)
