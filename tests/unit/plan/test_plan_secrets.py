# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets of users in environments and logins are shown nowhere, and programs that read the output get no table for people."""

from __future__ import annotations

import pytest

pytest.importorskip("ansible")

from ansible_collections.tfserving.fleet.plugins.filter.serving_plan import secret_variables, serving_plan
from ansible_collections.tfserving.fleet.plugins.module_utils._core.errors import FleetError
from ansible_collections.tfserving.fleet.plugins.module_utils._core.options import looks_secret, secrets_in, wrong_type
from ansible_collections.tfserving.fleet.plugins.module_utils._plan import plan_text
from ansible_collections.tfserving.fleet.plugins.plugin_utils._output import for_programs
from ansible_collections.tfserving.fleet.tests.unit.plan.test_traps import host, plan, request

LOGIN = {
    "registry_login": {
        "type": "dict",
        "options": {"username": {"type": "str", "required": True}, "password": {"type": "str", "no_log": True}},
    },
    "environment": {"type": "dict"},
    "secret_environment": {"type": "dict", "no_log": True},
}


@pytest.mark.parametrize(
    "name",
    [
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "DB_PASSWORD",
        "password",
        "API_KEY",
        "SENTRY_DSN",
        "MY_CREDENTIALS",
        "PRIVATE_KEY_PEM",
    ],
)
def test_a_variable_that_looks_like_a_secret_is_handed_on_and_shown_nowhere(name):
    environment = {name: "hunter2", "TF_X": "1"}
    made = serving_plan(host(), request(environment=environment))
    assert "hunter2" not in str(made) and made["server"]["environment"] == {"TF_X": "1"} and made["refusals"] == []
    assert "environment " + name in [decision["subject"] for decision in made["decisions"]]
    assert secret_variables(environment) == {name: "hunter2"}
    shown = plan_text.text({"h": plan(host(), request(environment=environment))})
    assert "hunter2" not in shown and "TF_X=1" in shown


@pytest.mark.parametrize(
    ("name", "value"),
    [
        # RFC 3986, userinfo; RFC 9110, Authorization; the key-value pairs of connection strings.
        ("HTTPS_PROXY", "http://me:hunter2@proxy:3128"),
        ("DATABASE_URL", "postgres://me:hunter2@db/models"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer hunter2"),
        ("CONNECTION_STRING", "AccountName=me;AccountKey=hunter2;EndpointSuffix=x"),
        ("GITHUB_PAT", "hunter2"),
        # Signed addresses of Azure, S3 and GCS; RFC 7519, RFC 7468; "Supported secret scanning patterns" of docs.github.com.
        ("MODEL_ADDRESS", "https://a.blob.core.windows.net/m?sv=2020&sig=hunter2%3D"),
        ("MODEL_ADDRESS", "https://b.s3.amazonaws.com/m?X-Amz-Expires=60&X-Amz-Signature=hunter2"),
        ("SESSION", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.hunter2"),
        ("CERTIFICATE", "-----BEGIN RSA PRIVATE KEY----- hunter2"),
        ("HUB", "ghp_16C7e42F292c6912hunter2"),
        ("CHAT", "xoxb-123456789012-hunter2"),
        ("LAB", "glpat-abcdefghijhunter2"),
        ("CLOUD", "AIzaSyA1234567890hunter2"),
        ("ALERTS", "https://hooks.slack.com/services/T0/B0/hunter2"),
        ("ALERTS_WEBHOOK_URL", "https://example.com/hunter2"),
        ("npm_config__authToken", "hunter2"),
    ],
)
def test_a_value_that_holds_a_secret_is_shown_nowhere_whatever_its_name(name, value):
    made = serving_plan(host(), request(environment={name: value, "TF_X": "1"}, options=[f"-e {name}={value!r}"]))
    assert "hunter2" not in str(made) and made["server"]["environment"] == {"TF_X": "1"}
    assert "hunter2" not in plan_text.text({"h": plan(host(), request(environment={name: value}))})


@pytest.mark.parametrize(
    "value",
    [
        "http://proxy:3128",
        "localhost,127.0.0.1",
        "http_server=1,grpc=2",
        "/var/lib/tokens",
        "basic",
        "a@b:c",
        "https://x/m?version=3&size=2",
        "task-of-a-long-name",
        "eyJ",
    ],
)
def test_ordinary_values_are_shown(value):
    assert not looks_secret("NO_PROXY", value)


@pytest.mark.parametrize(
    "name",
    ["TOKENIZERS_PARALLELISM", "TF_CPP_MIN_LOG_LEVEL", "OMP_NUM_THREADS", "KEYSPACE", "AUTHOR", "CUDA_CACHE_PATH"],
)
def test_ordinary_variables_are_shown(name):
    assert not looks_secret(name)


def test_the_embedded_server_cannot_keep_a_secret():
    (refusal,) = serving_plan(host(), request(environment={"DB_PASSWORD": "hunter2"}, backend="embedded"))["refusals"]
    assert "hunter2" not in str(refusal) and refusal["change"] == {"environment": {"DB_PASSWORD": None}}


def test_a_policy_may_not_choose_a_secret():
    with pytest.raises(FleetError, match="looks like a secret") as caught:
        plan(
            host(),
            request(policies=[{"when": "x", "choose": {"environment": {"DB_PASSWORD": "hunter2"}}, "holds": True}]),
        )
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "given",
    [
        {"registry_login": {"username": "someone", "pasword": "hunter2"}},
        {"registry_login": {"username": "someone", "auth": {"token": ["hunter2"]}}},
        {"registry_login": "hunter2"},
        {"environment": {"DB_PASSWORD": "hunter2", "TF_X": "abcd"}},
        {"secret_environment": {"X": "hunter2"}},
    ],
)
def test_a_misspelt_key_of_a_login_shows_nothing(given):
    assert secrets_in(LOGIN, given) == {"hunter2"}
    assert "hunter2" not in str(wrong_type(LOGIN, given))


@pytest.mark.parametrize(
    ("callback", "expected"),
    [
        ("ansible.posix.json", True),
        ("json", True),
        ("ansible.posix.jsonl", True),
        ("community.general.null", True),
        ("junit", True),
        ("default", False),
        ("ansible.builtin.default", False),
        ("tfserving.fleet.progress", False),
        ("community.general.yaml", False),
        ("minimal", False),
    ],
)
def test_programs_that_read_the_output_get_no_table(callback, expected):
    assert for_programs(callback) is expected
