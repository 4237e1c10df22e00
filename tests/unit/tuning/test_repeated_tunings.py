# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A second host of a class repeats the final comparison: the class keeps only what both show."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("hdrh.histogram")

pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.filter.report_hosts import report_hosts
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, page, summary
from ansible_collections.tfserving.fleet.plugins.module_utils._serving import tuning_files
from ansible_collections.tfserving.fleet.tests.support.simulated_host import CHANGES, Host, Truth, run


def measured(directory, name, ratio, seed=1, host=None, **changes):
    """(what the module tuning returned on a host where the first of CHANGES has this true ratio, the host)."""
    host = host or Host(Truth([ratio]), random.Random(f"{name} {seed}"))
    result = run(host, name, seed, keep_in=str(directory), tuning_class="c", **changes)
    return result, host


def kept(directory):
    return tuning_files.of_model(str(directory), "c", "m")


def test_a_second_host_that_shows_a_gain_as_well_is_recorded_and_measures_only_once(tmp_path):
    first, host = measured(tmp_path, "web-1", 1.5)
    assert kept(tmp_path).change == CHANGES[0] and not kept(tmp_path).confirmed_on and first["warnings"] == []
    second, repeating = measured(tmp_path, "web-2", 1.5, repeat=True)
    assert second["changed"] and second["tuning"]["repeats"] == "web-1" and second["tuning"]["steps"] == []
    assert second["tuning"]["configuration"]["form"] == CHANGES[0]["form"] and second["tuning"]["total"]["kept"]
    assert 0 < repeating.now < host.now, "noise and final comparison are less than a tuning"
    record = kept(tmp_path)
    assert record.change == CHANGES[0] and list(record.confirmed_on) == ["web-2"] and record.refuted is None
    assert record.measured["host"] == "web-1" and record.gain["fraction"] == first["tuning"]["total"]["gain"]
    for name in ("web-1", "web-2"):
        again, idle = measured(tmp_path, name, 1.5, repeat=True)
        assert not again["changed"] and again["tuning"] is None and idle.now == 0


@pytest.mark.parametrize("ratio", [0.9, 1.0])
def test_what_a_second_host_does_not_show_is_removed_and_both_figures_are_reported(tmp_path, ratio):
    first, _host = measured(tmp_path, "web-1", 1.5)
    second, _host = measured(tmp_path, "web-2", ratio, repeat=True)
    total = second["tuning"]["total"]
    assert not total["kept"] and second["tuning"]["configuration"] == second["tuning"]["start"]
    record = kept(tmp_path)
    assert record.change == {} and record.gain is None and list(record.confirmed_on) == []
    assert record.refuted["host"] == "web-2" and record.refuted["change"] == CHANGES[0]
    gain = first["tuning"]["total"]["gain"]
    assert record.refuted["gain"]["fraction"] == gain and record.refuted["reason"] == total["reason"]
    (warning,) = second["warnings"]
    assert warning.startswith("m: measured on web-1 at ") and warning.endswith(
        f" with a gain of {gain * 100:+.1f} % that web-2 did not confirm: {total['reason']}"
    )
    again, idle = measured(tmp_path, "web-3", 1.5, repeat=True)
    assert again["tuning"] is None and idle.now == 0 and kept(tmp_path) == record


def test_a_configuration_whose_server_does_not_start_on_the_second_host_is_not_confirmed(tmp_path):
    class Failing(Host):
        def model_server(self, name, state, **given):
            if state == "started" and given["model_base_path"].endswith("tflite_dynamic_range"):
                raise FleetError("the server did not start", where="m")
            return super().model_server(name, state, **given)

    measured(tmp_path, "web-1", 1.5)
    measured(tmp_path, "web-2", 1.5, host=Failing(Truth([1.5]), random.Random(1)), repeat=True)
    assert kept(tmp_path).change == {}
    assert kept(tmp_path).refuted["reason"] == "it could not be measured: m: the server did not start."


def test_a_second_host_without_the_variant_does_not_confirm_it_and_says_why(tmp_path):
    class Without(Host):
        def find(self, **given):
            found = super().find(**given)["files"]
            return {"files": [entry for entry in found if not entry["path"].endswith("tflite_dynamic_range")]}

    measured(tmp_path, "web-1", 1.5)
    second, _host = measured(
        tmp_path, "web-2", 1.5, host=Without(Truth([1.5]), random.Random(1)), tries=[], repeat=True
    )
    assert kept(tmp_path).change == {} and second["changed"]
    assert kept(tmp_path).refuted["reason"] == (
        "it could not be measured: m: there is no variant 'tflite_dynamic_range' of the model on this host. "
        "Publish it there, with the role tfserving.fleet.tfs_model."
    )


@pytest.mark.parametrize("of_noise", [True, False])
def test_a_second_host_that_is_busy_decides_nothing(tmp_path, of_noise):
    class Busy(Host):
        def _window(self, target, server, window_s, rows):
            window = super()._window(target, server, window_s, rows)
            is_void = of_noise or any(one["configuration"]["form"] != "saved_model" for one in self._servers.values())
            return dict(window, void="the generator woke late") if is_void else window

    measured(tmp_path, "web-1", 1.5)
    before = (tmp_path / "c" / "m.yml").read_bytes()
    with pytest.raises(
        FleetError, match="nothing could be measured.*: .* windows were void. Measure when the machine is idle"
    ):
        measured(tmp_path, "web-2", 1.5, host=Busy(Truth([1.5]), random.Random(1)), repeat=True)
    assert (tmp_path / "c" / "m.yml").read_bytes() == before


def test_a_loss_of_accuracy_refutes_a_change_also_on_a_busy_host(tmp_path):
    class Busy(Host):
        def _window(self, target, server, window_s, rows):
            window = super()._window(target, server, window_s, rows)
            changed = any(one["configuration"]["form"] != "saved_model" for one in self._servers.values())
            return dict(window, void="the generator woke late") if changed else window

    measured(tmp_path, "web-1", 1.5)
    measured(tmp_path, "web-2", 1.5, host=Busy(Truth([1.5], ("inaccurate",)), random.Random(1)), repeat=True)
    assert kept(tmp_path).change == {} and "a loss of 0.05" in kept(tmp_path).refuted["reason"]


def test_what_a_malformed_request_ends_on_a_second_host_is_not_confirmed_unless_that_is_accepted(tmp_path):
    for accepted in (False, True):
        measured(tmp_path, "web-1", 1.5)
        host = Host(Truth([1.5], ("fragile",)), random.Random("web-2"))
        measured(tmp_path, "web-2", 1.5, host=host, repeat=True, accept_fragile=accepted)
        assert list(kept(tmp_path).confirmed_on) == ["web-2"] * accepted
    measured(tmp_path, "web-1", 1.5)
    measured(tmp_path, "web-2", 1.5, host=Host(Truth([1.5], ("fragile",)), random.Random("web-2")), repeat=True)
    assert "kept only with accept_fragile: true" in kept(tmp_path).refuted["reason"]


class Rejecting(Host):
    """Its TensorFlow Lite rejects a tenth of the requests."""

    def _window(self, target, server, window_s, rows):
        rejected = {"INVALID_ARGUMENT": 30} if server["configuration"]["form"] != "saved_model" else {}
        return dict(super()._window(target, server, window_s, rows), errors=rejected)  # of 300


@pytest.mark.parametrize(
    "kind, faults, reason",
    [
        (Host, ("inaccurate",), "accuracy 0.98 before, 0.93 after: a loss of 0.05 is above the allowed 0.01"),
        (Rejecting, (), "10.0 % of its requests fail (INVALID_ARGUMENT), 0.0 % of those that it was compared with"),
    ],
)
def test_a_gain_that_costs_a_second_host_accuracy_or_answers_is_not_confirmed(tmp_path, kind, faults, reason):
    measured(tmp_path, "web-1", 1.5)
    host = kind(Truth([1.5], faults), random.Random("web-2"))
    second, _host = measured(tmp_path, "web-2", 1.5, host=host, repeat=True)
    assert second["tuning"]["total"]["gain"] > 0.2 and not second["tuning"]["total"]["kept"]
    assert kept(tmp_path).change == {} and kept(tmp_path).refuted["reason"].endswith(reason)


def test_a_second_host_whose_connection_breaks_decides_nothing(tmp_path):
    class Gone(Host):
        def load_test(self, **_given):
            raise ConnectionError

    measured(tmp_path, "web-1", 1.5)
    before = kept(tmp_path)
    with pytest.raises(ConnectionError):
        measured(tmp_path, "web-2", 1.5, host=Gone(Truth([1.5]), random.Random(1)), repeat=True)
    assert kept(tmp_path) == before


def test_check_mode_says_what_would_be_repeated_and_changes_nothing(tmp_path):
    foreseen, host = measured(tmp_path, "web-2", 1.5, repeat=True, check_mode=True)
    assert foreseen["actions"] == ["Repeat the final comparison of another host of the class, if it keeps a change"]
    measured(tmp_path, "web-1", 1.5)
    before = kept(tmp_path)
    foreseen, host = measured(tmp_path, "web-2", 1.5, repeat=True, check_mode=True)
    assert foreseen["actions"] == ["Measure total: to confirm for the class what web-1 keeps"] and host.now == 0
    assert kept(tmp_path) == before


def test_without_a_folder_for_tunings_nothing_can_be_repeated():
    with pytest.raises(FleetError, match="the folder for tunings is unknown"):
        run(Host(Truth([1.5]), random.Random(1)), "web-2", repeat=True)


def test_a_second_host_that_gains_nothing_seldom_confirms(tmp_path):
    """An interval at 95 % leaves a true gain of 0 below itself in 2.5 % of comparisons, so in 30 hardly ever more than 3 (probability 0.6 %)."""
    measured(tmp_path, "web-1", 1.5)
    file = tmp_path / "c" / "m.yml"
    text, confirmed = file.read_text(encoding="utf-8"), 0
    for seed in range(30):
        file.write_text(text, encoding="utf-8")
        measured(tmp_path, "web-2", 1.0, seed, repeat=True)
        confirmed += bool(kept(tmp_path).confirmed_on)
    assert confirmed <= 3


@pytest.mark.parametrize(("ratio", "headline"), [(1.5, "Goodput rose by"), (0.9, "The baseline was kept")])
def test_the_report_shows_both_hosts_and_counts_no_gain_that_one_of_them_refuted(tmp_path, ratio, headline):
    results = {
        "web-1": measured(tmp_path, "web-1", 1.5)[0],
        "web-2": measured(tmp_path, "web-2", ratio, repeat=True)[0],
    }
    facts = {"tfserving_capabilities": {"classes": {"image": "i", "tuning": "c"}}}
    known = {
        name: {
            "ansible_facts": facts,
            "tfs_tuning_result": {"results": [{"item": {"name": "m"}, "tuning": result["tuning"]}]},
        }
        for name, result in results.items()
    }
    made = document.build(report_hosts(list(known), known), "title")
    assert summary.headline(made).startswith(headline)
    one, other = (host["total"] for host in made["hosts"])
    assert one["kept"] == other["kept"] == (ratio > 1) and one["gain"] == results["web-1"]["tuning"]["total"]["gain"]
    if ratio < 1:
        assert one["reason"].endswith(f"; another host of the class did not confirm it: {other['reason']}")
        steps = made["hosts"][0]["tunings"][0]["steps"]
        assert steps and not any(step["kept"] for step in steps) and any(step.get("unconfirmed") for step in steps)
    assert "web-2" in page.render(made)


def test_a_tuning_of_single_pairs_has_intervals_by_the_scatter_of_an_earlier_one(tmp_path):
    """One pair of servers each: an interval needs the scatter of other pairs, and that of one pair of equal sides has one degree of freedom."""
    measured(tmp_path, "web-1", 1.0)
    assert kept(tmp_path).scatter["degrees"] >= 3
    file = tmp_path / "c" / "m.yml"
    text = file.read_text(encoding="utf-8")

    def step(**changes):
        file.write_text(text, encoding="utf-8")
        return measured(tmp_path, "web-1", 3.0, instances=1, **changes)[0]["tuning"]["steps"][0]

    known, unknown = step(), step(traffic={"concurrency": 4})
    assert "with the scatter of other pairs, 3 degrees of freedom, 2 of them from an earlier tuning" in known["reason"]
    assert known["kept"] and known["instances"] == 1
    assert "1 degrees of freedom)" in unknown["reason"], "measured in another way"
    for changes in ({"rounds": 4}, {"window_s": 3.0}):
        assert "earlier tuning" not in step(**changes)["reason"]


@pytest.mark.parametrize("damage", ["{", "model: m", "scatter: [1]"])
def test_a_damaged_file_is_replaced_by_a_tuning_and_cannot_be_repeated(tmp_path, damage):
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "m.yml").write_text(damage, encoding="utf-8")
    with pytest.raises(FleetError, match="m.yml"):
        measured(tmp_path, "web-2", 1.5, repeat=True)
    measured(tmp_path, "web-1", 1.5)
    assert kept(tmp_path).change == CHANGES[0]
