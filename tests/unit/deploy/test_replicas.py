# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Several servers of one description: what each is, and what becomes of them where all go back."""

from __future__ import annotations

from dataclasses import replace

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy import replicas, transaction
from ansible_collections.tfserving.fleet.plugins.module_utils._deploy.serves_on import ServesOn

OPTIONS = {
    "name": "digits",
    "grpc_port": 8500,
    "rest_port": None,
    "cpu_set": "0-7",
    "devices": [],
    "grpc_socket_directory": "/run/s",
    "copies": [],
}


def copy(suffix="", offset=0, **more):
    return dict({"suffix": suffix, "port_offset": offset, "devices": [], "cpu_set": None}, **more)


def seen(serving=None, previous=False):
    found = {transaction.SERVING: transaction.Seen("1", serving, "d", "i")} if serving else {}
    return dict(found, **({transaction.PREVIOUS: transaction.Seen("2", "exited", "d", "i")} if previous else {}))


def test_each_copy_has_what_it_says_and_the_rest_from_all():
    assert replicas.each(OPTIONS) == [OPTIONS]
    first, second = replicas.each(
        dict(OPTIONS, rest_port=0, copies=[copy(), copy("-gpu1", 2, cpu_set="4-7", devices=[{"id": "GPU-1"}])])
    )
    assert (first["name"], first["grpc_port"], first["cpu_set"], first["grpc_socket_directory"]) == (
        "digits",
        8500,
        "0-7",
        "/run/s",
    )
    assert (second["name"], second["grpc_port"], second["rest_port"], second["cpu_set"]) == (
        "digits-gpu1",
        8502,
        0,
        "4-7",
    )
    assert (
        second["devices"] == [{"id": "GPU-1"}]
        and second["grpc_socket_directory"] == "/run/s-gpu1"
        and second["copy_of"] == first["copy_of"] == "digits"
    )


@pytest.mark.parametrize(
    "given, where", [([copy(), copy("", 2)], "copies: suffix"), ([copy(), copy("-gpu1")], "copies: port_offset")]
)
def test_two_that_would_be_one_are_refused(given, where):
    with pytest.raises(FleetError) as caught:
        replicas.each(dict(OPTIONS, copies=given))
    assert caught.value.where == where


def test_going_back():
    """From one server of two GPUs to one for each, and back, twice."""
    replaced = seen("running", previous=True)
    assert replicas.back({"digits": replaced, "digits-gpu1": seen("running")}) == [
        ("digits", replicas.PREVIOUS),
        ("digits-gpu1", replicas.STOP),
    ]
    assert replicas.back({"digits-gpu1": seen("exited"), "digits": replaced}) == [
        ("digits", replicas.PREVIOUS),
        ("digits-gpu1", replicas.RESUME),
    ]
    assert dict(replicas.back({name: seen("running", previous=True) for name in "ab"})) == {
        "a": replicas.PREVIOUS,
        "b": replicas.PREVIOUS,
    }
    with pytest.raises(FleetError, match="no earlier server was kept"):
        replicas.back({"digits": seen("running"), "digits-gpu1": seen("running")})


def test_one_result_for_all():
    def result(name, changed):
        server = {
            "name": name,
            "state": "started",
            "backend": "docker",
            "address": "127.0.0.1",
            "grpc_port": 8500,
            "rest_port": None,
            "gap_s": None,
        }
        return {
            "server": server,
            "changed": changed,
            "diff": {"before": "", "after": name},
            "actions": ["start it"] if changed else [],
            "warnings": [name],
            "pending": changed,
        }

    both = replicas.whole([result("digits", False), result("digits-gpu1", True)])
    assert (
        both["changed"]
        and both["pending"]
        and both["server"]["name"] == "digits"
        and both["actions"] == ["digits-gpu1: start it"]
    )
    assert (
        [one["name"] for one in both["servers"]]
        == both["warnings"]
        == [one["after"] for one in both["diff"]]
        == ["digits", "digits-gpu1"]
    )
    assert not replicas.whole([result("digits", False), result("digits-gpu1", False)])["changed"]
    said = replicas.summary(dict(both["server"], rest_port=8501, gap_s=2.5))
    assert said == "digits: started, gRPC 127.0.0.1:8500, REST 127.0.0.1:8501 (docker), no server answered for 2.5 s"


def test_a_fault_tells_what_serves_already():
    """And says so as data, by which the role knows that the host may go back into its balancer."""
    before = [{"changed": True, "server": {"name": "digits"}}]
    fault = replicas.in_part(FleetError("it is full", where="digits-gpu1"), before)
    assert (
        str(fault) == "digits-gpu1: it is full. The new server digits is already serving." and fault.as_dict()["serves"]
    )
    told = ServesOn("it is full", remedy="Empty it. The earlier server was started again.")
    assert replicas.in_part(told, before) is told and replicas.in_part(FleetError("x"), []).remedy is None


# When the containers of seen() were made and ended: the one that serves was made after the one before it ended.
MOMENTS = {"1": (3, 4), "2": (1, 2)}


def of(deployment, state="running", previous=True, identifier="1"):
    roles = seen(state, previous)
    roles[transaction.SERVING] = replace(
        roles[transaction.SERVING], id=identifier, deployment=deployment, predecessor="2"
    )
    return roles


def test_a_deployment_is_undone_where_it_made_what_serves_and_nowhere_else():
    reached, stopped = (
        {"a": of("new"), "b": of("old"), "c": of("new", previous=False)},
        {"d": of("old", "exited", previous=False)},
    )
    assert replicas.back({**reached, **stopped}, "new", MOMENTS) == [
        ("a", replicas.PREVIOUS),
        ("d", replicas.RESUME),
        ("c", replicas.STOP),
    ]
    undone = {"a": of("old"), "b": of("old"), "c": of("new", "exited", previous=False)}
    assert replicas.back(undone, "new", MOMENTS) == [], "a second time nothing"
    assert transaction.can_go_back(of("new"), "new") and not transaction.can_go_back(
        {**of("new"), transaction.PREVIOUS: transaction.Seen("3", "exited", "d", "i")}, "new"
    ), "what is kept is not what it replaced"


def test_what_an_earlier_deployment_stopped_stays_stopped():
    """One made the other copy superfluous, the next changed the image of the one that is left."""
    servers = {"g0": of("second"), "g1": of("none", "exited", previous=False, identifier="3")}
    for ended, how in ((2, []), (4, [("g1", replicas.RESUME)])):
        assert replicas.back(servers, "second", {**MOMENTS, "3": (0, ended)}) == [("g0", replicas.PREVIOUS), *how]
    assert ("g1", replicas.RESUME) in replicas.back(servers), "with no deployment named, both go back"


def test_nothing_goes_back_where_one_cannot():
    other = {**of("new"), transaction.PREVIOUS: transaction.Seen("4", "exited", "d", "i")}
    with pytest.raises(FleetError, match="the server from before deployment new was not kept") as caught:
        replicas.back({"g0": of("new"), "g1": other}, "new", MOMENTS)
    assert caught.value.where == "g1" and "stopped" in caught.value.remedy
    with pytest.raises(FleetError, match="the server from before deployment new was not kept"):
        replicas.back({"g0": of("new", previous=False)}, "new", MOMENTS)
    assert replicas.back({"g0": of("new", "exited", previous=False)}, "new", MOMENTS) == [], "it was stopped instead"
    other[transaction.SERVING] = replace(other[transaction.SERVING], state="exited")
    assert replicas.back({"g0": of("new"), "g1": other}, "new", MOMENTS) == [("g0", replicas.PREVIOUS)]


def test_a_new_server_that_dies_again_and_again_is_stopped():
    servers = {"g0": of("new"), "g1": of("new", "restarting", previous=False)}
    assert dict(replicas.back(servers, "new", MOMENTS))["g1"] == dict(replicas.back(servers))["g1"] == replicas.STOP
