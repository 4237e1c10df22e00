# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module report, run as Ansible runs it, and its action and the role tfs_report, run by ansible-playbook."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from ansible_collections.tfserving.fleet.plugins.module_utils._report import document, page
from ansible_collections.tfserving.fleet.tests.support import modules

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "report"
TASK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Report
      tfserving.fleet.report:
        destination: "{{ destination }}"
        hosts: "{{ lookup('ansible.builtin.file', given) | from_json }}"
"""
PLAYBOOK = """
- hosts: all
  gather_facts: false
  tasks:
    - name: Leave what the other roles leave
      ansible.builtin.set_fact:
        tfs_tuning_result: "{{ {'results': [{'item': {'name': 'digits'}, 'tuning': found[0].tunings[0]}]} if inventory_hostname == 'tuned' else omit }}"
        tfs_capabilities_plan_result: {plan: "{{ found[0].plan }}"}
        tfserving_capabilities: "{{ found[0].capabilities }}"
        cacheable: true
      vars:
        found: "{{ lookup('ansible.builtin.file', fixture) | from_json }}"
      when: inventory_hostname != 'silent'
    - name: Report
      ansible.builtin.include_role:
        name: tfserving.fleet.tfs_report
"""


def load(name):
    return json.loads((FIXTURES / f"{name}.json").read_text())


def call(hosts, measured_at=None, **options):
    """The module's result, its warnings as texts. The report is made here, as the action makes it on the controller."""
    made = document.build(hosts, "TensorFlow Serving on this fleet", measured_at)
    result = modules.call("report", hosts=[], data=json.dumps(made), page=page.render(made), **options)
    return dict(result, warnings=[warning["event"]["msg"] for warning in result.get("warnings", [])])


def test_writes_once_shows_it_before_and_does_not_touch_it_again(tmp_path):
    wish = {"destination": str(tmp_path / "new" / "report"), "hosts": load("gains"), "measured_at": "2026-05-12"}
    shown = call(check=True, **wish)
    assert shown["changed"] and not (tmp_path / "new").exists()
    written = call(**wish)
    assert written["changed"] and written["diff"] == shown["diff"] and written["summary"] == shown["summary"]
    assert json.loads(Path(written["data"]).read_text())["measured_at"] == "2026-05-12"
    assert Path(written["page"]).read_text().startswith("<!DOCTYPE html>")
    assert sorted(path.name for path in Path(wish["destination"]).iterdir()) == ["report.html", "report.json"]
    before = [Path(written[key]).stat().st_ino for key in ("page", "data")]
    again = call(**wish)
    assert not again["changed"] and again["actions"] == []
    assert before == [Path(written[key]).stat().st_ino for key in ("page", "data")]


def test_diff_is_short_and_tells_what_changed(tmp_path):
    call(destination=str(tmp_path), hosts=load("gains"))
    other = call(check=True, destination=str(tmp_path), hosts=load("baseline_kept"))
    assert "Goodput rose by 112 %" in other["diff"]["before"] and "The baseline was kept" in other["diff"]["after"]
    assert len(other["diff"]["after"]) < 3000 and "<html" not in other["diff"]["after"]
    assert other["diff"]["before_header"] == str(tmp_path / "report.json")


def test_only_the_file_that_differs_is_written(tmp_path):
    written = call(destination=str(tmp_path), hosts=load("gains"))
    Path(written["page"]).write_text("spoilt")
    data = Path(written["data"]).stat().st_ino
    mended = call(destination=str(tmp_path), hosts=load("gains"))
    assert mended["actions"] == [f"write {written['page']}"]
    assert Path(written["data"]).stat().st_ino == data


def test_measurements_are_never_replaced_by_nothing(tmp_path):
    call(destination=str(tmp_path), hosts=load("gains"))
    before = (tmp_path / "report.json").read_bytes()
    kept = call(destination=str(tmp_path), hosts=load("untuned"))
    assert not kept["changed"] and (tmp_path / "report.json").read_bytes() == before
    assert kept["headline"].startswith("Goodput rose by 112") and "was not changed" in kept["warnings"][0]


@pytest.mark.parametrize("foreign", [b"", b"{", b"[]", b'{"steps": 3}', b"\xff\xfe", b"3"])
def test_a_foreign_file_is_replaced(tmp_path, foreign):
    (tmp_path / "report.json").write_bytes(foreign)
    assert call(destination=str(tmp_path), hosts=load("untuned"))["changed"]
    assert json.loads((tmp_path / "report.json").read_text())["schema"] == 1


def test_hostile_text_survives_as_data(tmp_path):
    call(destination=str(tmp_path), hosts=load("hostile"))
    assert "<img src=" in json.loads((tmp_path / "report.json").read_text())["hosts"][0]["host"]


def test_a_thousand_hosts(tmp_path):
    hosts = [dict(load("untuned")[0], host=f"node-{number}") for number in range(1000)]
    assert call(destination=str(tmp_path), hosts=hosts)["headline"].startswith(
        "Nothing has been measured yet. This report shows what 1,000 hosts can do"
    )
    assert (tmp_path / "report.html").stat().st_size < 100_000


def test_without_a_report_the_module_writes_nothing(tmp_path):
    failed = modules.call("report", destination=str(tmp_path / "report"), hosts=load("gains"))
    assert failed["msg"] == "data: this is not a report. Run tfserving.fleet.report as a task, which sets data itself."
    assert not (tmp_path / "report").exists()


def test_a_destination_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    failed = call(destination=str(tmp_path / "file" / "report"), hosts=load("untuned"))
    assert (
        "cannot write the report" in failed["msg"] and "Set a directory" in failed["msg"] and "\n" not in failed["msg"]
    )


def play(tmp_path, *arguments, playbook=PLAYBOOK, hosts="tuned\nsame\nsilent\n"):
    (tmp_path / "play.yml").write_text(playbook)
    (tmp_path / "hosts").write_text(f"[all]\n{hosts}[all:vars]\nansible_connection=local\n")
    program = Path(sys.executable).parent / "ansible-playbook"
    command = [
        program,
        "-i",
        tmp_path / "hosts",
        tmp_path / "play.yml",
        "-e",
        f"fixture={FIXTURES / 'gains.json'}",
        *arguments,
    ]
    # A program that starts Ansible in another directory, such as a CI runner, leaves PWD as it was.
    settings = dict(
        os.environ,
        ANSIBLE_FORCE_COLOR="0",
        ANSIBLE_NOCOLOR="1",
        ANSIBLE_LOCAL_TEMP=str(tmp_path / "tmp"),
        PWD=str(tmp_path / "elsewhere"),
    )
    return subprocess.run(command, text=True, capture_output=True, check=False, timeout=300, cwd=tmp_path, env=settings)


def test_role_reports_once_for_all_hosts_and_again_changes_nothing(tmp_path):
    hosts = "tuned tfserving_price_per_hour=0.72\nsame tfserving_price_per_hour=0.72\nsilent\n"
    first = play(tmp_path, hosts=hosts)
    assert first.returncode == 0, first.stdout + first.stderr
    made = json.loads((tmp_path / "tfserving-report" / "report.json").read_text())
    assert [entry["host"] for entry in made["hosts"]] == ["same", "silent", "tuned"]
    assert (made["tuned_host"], made["total"]["gain"], made["hosts"][2]["tunings"][0]["model"]) == (
        "tuned",
        1.1207,
        "digits",
    )
    assert f"The report: {tmp_path}/tfserving-report/report.html" in first.stdout
    assert "clients from REST to gRPC           yes          268" in first.stdout
    assert first.stdout.count("changed=1") == 1
    # 0.72 an hour for 3,600 s: 0.0002 a second, or 200 for a million seconds.
    (cost,) = made["costs"]
    assert (cost["hosts"], cost["before"]) == (
        2,
        pytest.approx(200 / made["hosts"][2]["tunings"][0]["total"]["before"]["goodput_rps"]),
    )
    assert cost["after"] == pytest.approx(200 / made["total"]["goodput_rps"])
    second = play(tmp_path, hosts=hosts)
    assert "changed=1" not in second.stdout, second.stdout


def test_a_fleet_of_both_backends_gets_a_report_of_each(tmp_path):
    """The plan's backend of `same` is that of the fixture, embedded; `silent` has no results, so it is in both."""
    docker = """
    - name: Measure a server in a container, too
      ansible.builtin.set_fact:
        tfs_tuning_result: {results: [{item: {name: digits}, tuning: "{{ served }}"}]}
      vars:
        found: "{{ lookup('ansible.builtin.file', fixture) | from_json }}"
        served: "{{ found[0].tunings[0] | combine({'backend': 'docker', 'image': 'tensorflow/serving:2.20.0'}) }}"
      when: inventory_hostname == 'web'
    - name: Report
"""
    playbook = PLAYBOOK.replace("    - name: Report\n", docker.lstrip("\n"))
    directory = tmp_path / "tfserving-report"
    shown = play(tmp_path, "--check", playbook=playbook, hosts="tuned\nsame\nsilent\nweb\n")
    assert shown.returncode == 0 and not directory.exists(), shown.stdout + shown.stderr
    first = play(tmp_path, playbook=playbook, hosts="tuned\nsame\nsilent\nweb\n")
    assert first.returncode == 0, first.stdout + first.stderr
    made = {path.parent.name: json.loads(path.read_text()) for path in directory.glob("*/report.json")}
    assert {name: (one["backend"], [host["host"] for host in one["hosts"]]) for name, one in made.items()} == {
        "docker": ("docker", ["silent", "web"]),
        "embedded": ("embedded", ["same", "silent", "tuned"]),
    }
    assert made["docker"]["statement"].endswith("in the container image tensorflow/serving:2.20.0.")
    assert "It is not TensorFlow Serving" in made["embedded"]["statement"]
    for name in made:
        assert (
            f"The report: {directory}/{name}/report.html" in first.stdout
            and (directory / name / "report.html").exists()
        )
    assert not (directory / "report.json").exists() and first.stdout.count("changed=1") == 1
    assert "changed=1" not in play(tmp_path, playbook=playbook, hosts="tuned\nsame\nsilent\nweb\n").stdout


def test_role_in_check_mode_writes_nothing(tmp_path):
    shown = play(tmp_path, "--check", "--diff")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    assert "+Goodput rose by 112 %" in shown.stdout
    assert not (tmp_path / "tfserving-report").exists()


def test_role_refuses_a_misspelt_variable(tmp_path):
    failed = play(tmp_path, "-e", "tfs_report_directry=x")
    assert failed.returncode != 0
    assert "tfs_report_directry (did you mean tfs_report_directory?)" in failed.stdout + failed.stderr


def test_a_host_needs_no_jinja2(tmp_path):
    python = tmp_path / "python-without-packages"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    python.chmod(0o755)
    lacking = subprocess.run([python, "-c", "import jinja2"], capture_output=True, text=True, check=False)
    assert "No module named 'jinja2'" in lacking.stderr
    hosts = load("gains")
    hosts[0]["tunings"][0]["model"] = "<script>alert(1)</script>"
    (tmp_path / "given.json").write_text(json.dumps(hosts))
    given = ("-e", f"given={tmp_path}/given.json", "-e", f"destination={tmp_path}/report")
    done = play(tmp_path, *given, playbook=TASK, hosts=f"one ansible_python_interpreter={python}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    text = (tmp_path / "report" / "report.html").read_text()
    assert "model &lt;script&gt;alert(1)&lt;/script&gt;" in text and "<script" not in text


def test_bad_input_is_one_line_and_leaves_nothing(tmp_path):
    hosts = load("gains")
    hosts[0]["tunings"][0]["steps"][0]["p99_ms"] = "fast"
    (tmp_path / "given.json").write_text(json.dumps(hosts))
    given = ("-e", f"given={tmp_path}/given.json", "-e", f"destination={tmp_path}/report")
    failed = play(tmp_path, *given, playbook=TASK, hosts="one\n")
    assert "hosts[localhost].tunings[0].steps[0].p99_ms: 'fast' is not a finite number." in failed.stdout
    assert failed.returncode == 2 and not (tmp_path / "report").exists()
