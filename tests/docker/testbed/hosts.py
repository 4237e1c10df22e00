# Copyright: (c) 2026, the tfserving.fleet contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Hosts of a fleet: containers that share nothing, each with sshd, Python and a Docker Engine of its own, in one network with a registry and a balancer.

A fleet belongs to an owner, a text. All there is to know about it stands in the engine, so another process finds it again by its owner.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import datetime
import json
import os
import pathlib
import shlex
import socket
import subprocess
import time

import ansible
from ansible_collections.tfserving.fleet.tests.docker.testbed import images
from ansible_collections.tfserving.fleet.tests.docker.testbed.engine import DIRECTORY, OWNER, PREFIX, key_of, locked
from ansible_collections.tfserving.fleet.tests.docker.testbed.registry import Registry, SecuredRegistry
from ansible_collections.tfserving.fleet.tests.support import modules
from docker.errors import APIError, NotFound

# Enough for an engine in a container where --privileged is refused.
CAPABILITIES = ["SYS_ADMIN", "NET_ADMIN", "NET_RAW", "SYS_PTRACE", "MKNOD", "SYS_CHROOT", "SETPCAP", "AUDIT_WRITE"]
# Where engines have their images.
DOCKER_STORE = "/var/lib/docker"
PODMAN_STORES = {"root": "/var/lib/containers", "deploy": "/home/deploy/.local/share/containers"}
_NAME = f"{PREFIX}.host"
_READY_S = 180
_ROOT = pathlib.Path(__file__).resolve().parents[3]
# Where a host has the collection and Ansible's module_utils, for modules that run without a controller.
_MODULES = "/opt/modules"


class Host:
    """One host. name: its host name; address: where it is reached."""

    def __init__(self, container):
        self.container = container
        self.name = container.labels[_NAME]
        (attached,) = container.attrs["NetworkSettings"]["Networks"].values()
        self.address, self._gateway = attached["IPAddress"], attached["Gateway"]

    def run(self, *command, check=True, **options):
        """Run a command as root, not over SSH; its output, both streams. Raises RuntimeError when it fails, unless check is false."""
        status, output = self.container.exec_run(list(command), **options)
        text = (output or b"").decode("utf-8", "replace")
        if check and status:
            raise RuntimeError(f"{self.name}: {shlex.join(command)} ended with {status}: {text[-2000:]}")
        return text

    def docker(self, *command, check=True):
        """Run a command of the host's own engine."""
        return self.run("docker", *command, check=check)

    def start_module(self, module, /, account="root", check=False, **options):
        """Start a module of the collection on the host, without a controller; returns the process. Its output is the module's result as JSON.
        account: the user who runs it."""
        as_account = [] if account == "root" else ["runuser", "-u", account, "--", "env", f"HOME=/home/{account}"]
        process = subprocess.Popen(
            [
                "docker",
                "exec",
                "--interactive",
                "--workdir=/",
                f"--env=PYTHONPATH={_MODULES}",
                self.container.id,
                *as_account,
                "/usr/bin/python3",
                "-m",
                f"{modules.PACKAGE}.{module}",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        process.stdin.write(modules.request(check, **options))
        process.stdin.close()
        process.stdin = None
        return process

    def module(self, module, /, **options):
        """The result of a module that start_module starts."""
        return module_result(self.start_module(module, **options))

    def put(self, source, path):
        """Copy a folder or file of this machine into the host, so that it is there as path. The engine writes beside what the host mounted, hence two steps."""
        source, path = pathlib.Path(source), pathlib.PurePosixPath(path)
        packing = subprocess.Popen(
            ["tar", "-C", str(source.parent), "-c", "--owner=0", "--group=0", source.name], stdout=subprocess.PIPE
        )
        self.run("mkdir", "-p", "/var/tmp/put", str(path.parent))
        self.container.put_archive("/var/tmp/put", packing.stdout)
        if packing.wait():
            raise RuntimeError(f"tar could not pack {source}")
        self.run("cp", "-aT", f"/var/tmp/put/{source.name}", str(path))
        self.run("rm", "-rf", "/var/tmp/put")

    def start_engine(self, **configuration):
        """Start the host's engine; configuration: keys of daemon.json to change before, such as live_restore=True."""
        if configuration:
            self.configure_engine(**configuration)
        self.run("host-engine", "start")

    def stop_engine(self, kill=False):
        """End the host's engine as a service manager does, or with SIGKILL; what becomes of its containers is the engine's to say (live-restore)."""
        self.run("host-engine", "kill" if kill else "stop")

    def reload_engine(self, **configuration):
        """Change daemon.json and have the running engine read it, which it does for some keys, live_restore among them."""
        self.configure_engine(**configuration)
        self.run("sh", "-c", "kill -HUP $(cat /var/run/docker.pid)")

    def configure_engine(self, **configuration):
        """Change daemon.json; holds from the engine's next start on."""
        known = json.loads(self.run("cat", "/etc/docker/daemon.json"))
        known.update({key.replace("_", "-"): value for key, value in configuration.items()})
        self.run("sh", "-c", f"printf %s {shlex.quote(json.dumps(known))} >/etc/docker/daemon.json")

    def cut_off(self):
        """Make the host unreachable, as when its cable is pulled."""
        self.run("ip", "link", "set", "eth0", "down")

    def reconnect(self):
        """Undo cut_off."""
        self.run("ip", "link", "set", "eth0", "up")
        self.run("ip", "route", "replace", "default", "via", self._gateway)

    def small_disk(self, path, mebibytes):
        """A disk of that size, mounted at path; until forget_disk."""
        self.run("mkdir", "-p", path)
        self.run("mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "tmpfs", path)

    def forget_disk(self, path):
        """Undo small_disk."""
        self.run("umount", "-l", path)

    def podman(self, *command, user="root", check=True):
        """Run a command of Podman, root's or that of an ordinary user."""
        rootless = [
            "runuser",
            "-u",
            user,
            "--",
            "env",
            f"XDG_RUNTIME_DIR=/run/user/{self.run('id', '-u', user).strip()}",
            f"HOME=/home/{user}",
        ]
        return self.run(*([] if user == "root" else rootless), "podman", *command, check=check, workdir="/")

    def start_podman(self, user="root"):
        """Start the service of Podman's Docker-compatible socket, root's or that of an ordinary user."""
        self.run("host-podman", "start", user)

    def pull_by_podman(self, reference):
        """Start the services of root and deploy, and pull an image for both."""

        def pull(user):
            self.start_podman(user)
            self.podman("pull", "--quiet", reference, user=user)

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            list(pool.map(pull, PODMAN_STORES))

    def reset(self, *paths):
        """Remove all containers and these paths, so that the next test finds a host where nothing ever served; images stay."""
        self.run("sh", "-c", 'ids=$(docker ps -aq); [ -z "$ids" ] || docker rm --force --volumes $ids')
        if paths:
            self.run("rm", "-rf", *paths)


def module_result(process, timeout_s=600):
    """What a module returns that start_module started."""
    output, errors = process.communicate(timeout=timeout_s)
    assert output.strip(), errors[-3000:]
    return json.loads(output)


class Fleet:
    """Hosts, their registry and what reaches them. directory: where the key and the inventory lie on this machine."""

    def __init__(self, engine, owner, directory):
        self._engine, self.owner, self.directory = engine, owner, pathlib.Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._labels = {OWNER: owner, DIRECTORY: str(self.directory)}
        self.network = self._network()
        self.key = self._key()
        self._registry = self._secured_registry = None

    @property
    def registry(self):
        """The network's registry, started when it is asked for first."""
        if self._registry is None:
            self._registry = Registry(self._engine, self.network, self._labels)
        return self._registry

    @property
    def secured_registry(self):
        """A registry.SecuredRegistry with the same images, started when it is asked for first."""
        if self._secured_registry is None:
            self._secured_registry = SecuredRegistry(self._engine, self.network, self._labels, self.directory)
        return self._secured_registry

    def reference(self, image):
        """An image of this machine's engine as the hosts can pull it, by digest."""
        return self.registry.publish(image)

    def hosts(self, wanted, stock=None):
        """Start the hosts that are not there yet and return them. wanted: {name: options of _start}.
        stock: an image that their engines have from the start; for what changes seldom, since a store that holds it is kept."""
        seeds = (
            {
                has_podman: self._seeds(stock, has_podman)
                for has_podman in {bool(one.get("has_podman")) for one in wanted.values()}
            }
            if stock
            else {}
        )
        found = {host.name: host for host in self.found()}
        missing = [name for name in wanted if name not in found]
        with concurrent.futures.ThreadPoolExecutor(max(1, len(missing))) as pool:
            started = pool.map(
                lambda name: self._start(name, seeds.get(bool(wanted[name].get("has_podman"))), **wanted[name]), missing
            )
        found.update(zip(missing, started))
        return [found[name] for name in wanted]

    def found(self):
        """The hosts that are there already, by name."""
        containers = self._engine.containers.list(filters={"label": [f"{OWNER}={self.owner}", _NAME]})
        return sorted((Host(container) for container in containers), key=lambda host: host.name)

    def inventory(self, hosts, balancers=()):
        """An inventory of Ansible as data: groups serving and balancers, reached over SSH with pipelining, root by sudo."""
        return {
            "all": {
                "vars": {
                    "ansible_user": "deploy",
                    "ansible_become": True,
                    "ansible_ssh_private_key_file": str(self.key),
                    "ansible_pipelining": True,
                    # Folders of the hosts' own; the controller's, which `make` names, may be where this user must not write.
                    "ansible_remote_tmp": "~/.ansible/tmp",
                    "ansible_async_dir": "~/.ansible_async",
                    "ansible_python_interpreter": "/usr/bin/python3",
                    "ansible_ssh_args": "-o ControlMaster=auto -o ControlPersist=60s",
                    # A host that is gone is noticed within seconds.
                    "ansible_ssh_common_args": "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR -o ConnectTimeout=5 "
                    "-o ServerAliveInterval=3 -o ServerAliveCountMax=3",
                },
                "children": {
                    group: {"hosts": {host.name: {"ansible_host": host.address} for host in members}}
                    for group, members in (("serving", hosts), ("balancers", balancers))
                },
            }
        }

    def _start(self, name, seeds=None, stores=None, cpuinfo=None, runs_engine=True, hooks=(), has_podman=False):
        """seeds: {folder of an engine's store: volume that it begins as}; stores: volumes that they are. cpuinfo: another machine's, shown as /proc/cpuinfo.
        hooks: names of programs that do nothing and that the engine finds, such as nvidia-container-runtime-hook. has_podman: instead of Docker Engine."""
        api = self._engine.api
        binds = {
            "/sys/fs/cgroup": {"bind": "/sys/fs/cgroup", "mode": "rw"},
            os.path.dirname(ansible.__file__): {"bind": f"{_MODULES}/ansible", "mode": "ro"},
            str(_ROOT): {"bind": f"{_MODULES}/ansible_collections/tfserving/fleet", "mode": "ro"},
        }
        binds.update({volume: {"bind": f"/seed{folder}", "mode": "ro"} for folder, volume in (seeds or {}).items()})
        binds.update({volume: {"bind": folder, "mode": "rw"} for folder, volume in (stores or {}).items()})
        if cpuinfo:
            binds[os.path.abspath(cpuinfo)] = {"bind": "/proc/cpuinfo", "mode": "ro"}
        configuration = {"insecure-registries": [Registry.address], "storage-driver": "overlay2", "log-level": "warn"}
        host_config = api.create_host_config(
            binds=binds,
            init=True,
            cap_add=CAPABILITIES,
            security_opt=["seccomp=unconfined", "apparmor=unconfined"],
            device_cgroup_rules=["a *:* rwm"],
        )
        # What `docker run` makes of --security-opt systempaths=unconfined and --cgroupns=host.
        host_config.update(MaskedPaths=[], ReadonlyPaths=[], CgroupnsMode="host")
        image = (images.podman_host if has_podman else images.host)(self._engine)
        made = api.create_container(
            image.id,
            hostname=name,
            host_config=host_config,
            labels={**self._labels, _NAME: name},
            environment={
                "AUTHORIZED_KEY": self.key.with_suffix(".pub").read_text(),
                "HOOKS": " ".join(hooks),
                "ENGINE_CONFIGURATION": json.dumps(configuration) if runs_engine and not has_podman else "",
            },
            networking_config=api.create_networking_config(
                {self.network.name: api.create_endpoint_config(aliases=[name])}
            ),
        )
        api.start(made["Id"])
        host = Host(self._engine.containers.get(made["Id"]))
        _wait_for_ssh(host)
        return host

    def _seeds(self, image, has_podman):
        """Volumes with the stores of an engine that pulled the image, {folder of a store: volume}. The hosts share their files; the volumes stay."""
        reference = self.reference(image)
        files = [images.HERE / name / "Dockerfile" for name in (["host", "podman"] if has_podman else ["host"])]
        key = key_of(images.base(self._engine).id, *files, reference)
        stores = {
            folder: f"{PREFIX}-store-{key}-{number}"
            for number, folder in enumerate(PODMAN_STORES.values() if has_podman else [DOCKER_STORE])
        }
        finished = f"{PREFIX}/stored:{key}"
        with locked(f"store-{key}"):
            if not self._exists(self._engine.images, finished) or not all(
                self._exists(self._engine.volumes, volume) for volume in stores.values()
            ):
                host = self._start(f"store-{key}", stores=stores, has_podman=has_podman)
                try:
                    if has_podman:
                        host.pull_by_podman(reference)
                    else:
                        host.docker("pull", "--quiet", reference)
                        host.stop_engine()
                finally:
                    host.container.remove(force=True, v=True)
                image.tag(finished)
                self._forget_stores()
        return stores

    def _forget_stores(self):
        """Remove the stores of former images, gigabytes each; those that a host uses stay, and those of a week for other checkouts."""
        oldest = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=7)
        for volume in self._engine.volumes.list(filters={"name": f"{PREFIX}-store-"}):
            if datetime.datetime.fromisoformat(volume.attrs["CreatedAt"].replace("Z", "+00:00")) < oldest:
                with contextlib.suppress(APIError):
                    volume.remove()

    def _exists(self, things, name):
        try:
            things.get(name)
        except NotFound:
            return False
        return True

    def _network(self):
        for network in self._engine.networks.list(filters={"label": f"{OWNER}={self.owner}"}):
            return network
        return self._engine.networks.create(f"{PREFIX}-{self.owner}", driver="bridge", labels=self._labels)

    def _key(self):
        key = self.directory / "id_ed25519"
        if not key.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", PREFIX, "-f", str(key)], check=True)
        return key


def _wait_for_ssh(host):
    """sshd is the last that a host starts."""
    end = time.monotonic() + _READY_S
    while True:
        try:
            with socket.create_connection((host.address, 22), timeout=2) as connection:
                if connection.recv(4) == b"SSH-":
                    return
        except OSError:
            pass
        host.container.reload()
        if host.container.status != "running" or time.monotonic() > end:
            raise RuntimeError(
                f"the host {host.name} did not start: {host.container.logs(tail=30).decode(errors='replace')}"
            )
        time.sleep(0.1)
