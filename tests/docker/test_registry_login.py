# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A registry that asks for a login and whose certificate nobody knows: what is wrong is said in one line and costs nothing, what is right pulls, and the
password is seen nowhere."""

from __future__ import annotations

import dataclasses
import json

import pytest
from ansible_collections.tfserving.fleet.tests.docker.testbed import images

NAME, CERTIFICATES = "doubles", "/etc/ca-of-the-registry.pem"
SECRET = "k3y-0f-th3-st0r3"
# Docker's words, and Podman's.
UNKNOWN_CERTIFICATE = "x509: certificate signed by unknown authority"
NO_LOGIN = ("no basic auth credentials", "unauthorized: authentication required")
WRONG_LOGIN = ("unauthorized", "unable to retrieve auth token", "authentication required")


@dataclasses.dataclass
class Place:
    """An engine of a host: its command, its user, and where that user keeps what the collection keeps."""

    host: object
    command: str
    user: str

    @property
    def options(self):
        return {
            "name": NAME,
            "backend": "docker",
            "model_name": "m",
            "model_base_path": "/srv/m",
            "ready_timeout_s": 600,
            "state_directory": "/var/lib/tfserving" if self.user == "root" else "/home/deploy/tfserving",
        }

    def ask(self, *arguments):
        return (
            self.host.podman(*arguments, user=self.user) if self.command == "podman" else self.host.docker(*arguments)
        )

    def inspected(self):
        return self.ask("inspect", NAME)


@pytest.fixture(params=["docker", "podman", "rootless"])
def place(request, fleet, models):
    if request.param == "docker":
        (host,) = fleet(1)
    else:
        host = request.getfixturevalue("podman_host")
    host.put(models / "right", "/srv/m")
    # A rootless engine believes what root's was told, too.
    host.run("rm", "-rf", "/etc/docker/certs.d", "/home/deploy/.config/containers/certs.d")
    return Place(
        host, "docker" if request.param == "docker" else "podman", "deploy" if request.param == "rootless" else "root"
    )


def test_a_login_and_certificates_of_the_registry_s_own(
    place, testbed, engine, registry, serving_image, serving_reference, module_on, play, tmp_path
):
    def run(check=False, **options):
        result = module_on(
            place.host, "model_server", dict(place.options, **options), become=place.user == "root", check=check
        )
        assert password not in result["_output"] and SECRET not in result["_output"]
        return result

    secured, password = testbed.secured_registry, testbed.secured_registry.login["password"]
    following = secured.reference(
        registry.publish(images.derived(engine, serving_image, f"LABEL of={place.command}-{place.user}"))
    )
    place.host.put(secured.certificates, CERTIFICATES)
    try:
        assert run(image=serving_reference)["changed"]
        began = json.loads(place.inspected())[0]["State"]["StartedAt"]
        wrong = dict(secured.login, password="wr0ng-" + password[::-1])
        for options, words in (
            ({"registry_login": secured.login}, (UNKNOWN_CERTIFICATE,)),
            ({"registry_ca": CERTIFICATES}, NO_LOGIN),
            ({"registry_ca": CERTIFICATES, "registry_login": wrong}, WRONG_LOGIN),
            (
                {"registry_ca": "/etc/nowhere.pem", "registry_login": secured.login},
                ("registry_ca: cannot read /etc/nowhere.pem",),
            ),
        ):
            result = run(image=following, **options)
            print(result["msg"])
            assert result["failed"] and any(word in result["msg"] for word in words) and "\n" not in result["msg"]
            assert wrong["password"] not in result["_output"]
            assert json.loads(place.inspected())[0]["State"]["StartedAt"] == began, "what serves was not touched"

        right = {
            "image": following,
            "registry_ca": CERTIFICATES,
            "registry_login": secured.login,
            "secret_environment": {"KEY": SECRET},
        }
        planned = run(check=True, **right)
        assert f"pull the image {following}" in planned["actions"]
        # By the role, with all that three v show.
        playbook = tmp_path / "serve.yml"
        variables = {
            **{f"tfs_server_{option}": value for option, value in {**place.options, **right}.items()},
            "ansible_become": place.user == "root",
            "tfs_server_grpc_port": 0,
            "tfs_server_rest_port": None,
        }
        playbook.write_text(
            json.dumps(
                [
                    {
                        "hosts": place.host.name,
                        "gather_facts": False,
                        "vars": variables,
                        "roles": ["tfserving.fleet.tfs_server"],
                    }
                ]
            )
        )
        ran = play(playbook, [place.host], "-vvv", "--diff").succeed()
        assert password not in ran.output and SECRET not in ran.output
        assert not run(**right)["changed"]
        inspected = place.inspected()
        assert following in inspected and password not in inspected
        assert SECRET not in json.dumps(json.loads(inspected)[0]["Config"]["Labels"])
        assert not place.host.run("grep", "-rlE", f"{password}|{SECRET}", place.options["state_directory"], check=False)
    finally:
        run(state="absent")
