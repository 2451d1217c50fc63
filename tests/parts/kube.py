"""A real Kubernetes API server with KServe's CRDs: etcd and kube-apiserver, on free ports.

Where its programs lie is said by ``KUBEBUILDER_ASSETS``, as for every project that tests against an
API server (``setup-envtest use -p path``); where KServe's CRDs lie by ``KSERVE_CRDS``, a directory
of YAML files. There is no kubelet and no KServe: pods stay pending, and nobody writes a status.
"""

from __future__ import annotations

import base64
import itertools
import os
import secrets
import ssl
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
import pytest
import tenacity
import yaml
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.ports import free_ports

KINDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SECONDS = 240
"""How long a busy machine may take to start a server."""


@pytest.fixture(scope="session")
def kube(requires: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kube]:
    """An API server that is there as long as the tests, and stopped by its process id."""
    assets = requires.variable(
        "KUBEBUILDER_ASSETS", "setup-envtest use -p path prints the directory"
    )
    crds = requires.variable("KSERVE_CRDS", "name a directory with the YAML of KServe's CRDs")
    made = Kube(Path(assets), tmp_path_factory.mktemp("kube"))
    try:
        made.start()
        made.install(Path(crds))
        yield made
    finally:
        made.close()


class KubectlError(Exception):
    """What kubectl complained of."""


@dataclass
class Kube:
    """An API server, and what a test does with it.

    Parameters
    ----------
    assets
        The directory with ``etcd``, ``kube-apiserver`` and ``kubectl``.
    directory
        A directory for keys, kubeconfigs, data and logs.
    """

    assets: Path
    directory: Path
    _token: str = field(init=False, default_factory=secrets.token_hex)
    _ports: dict[str, int] = field(init=False, default_factory=dict)
    _running: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)
    _watching: dict[str, subprocess.Popen[bytes]] = field(init=False, default_factory=dict)
    _is_over: bool = field(init=False, default=False)
    _numbers: Iterator[int] = field(init=False, default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        self._key.write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
        )
        (self.directory / "tokens.csv").write_text(f"{self._token},admin,0,system:masters\n")

    @property
    def url(self) -> str:
        """The address of the API server."""
        return f"https://127.0.0.1:{self._ports['kube-apiserver']}"

    @property
    def ca(self) -> Path:
        """The certificate of the API server, which it makes and signs itself."""
        return self.directory / "apiserver.crt"

    @property
    def _key(self) -> Path:
        """The key that signs the tokens of service accounts."""
        return self.directory / "accounts.key"

    @property
    def kubeconfig(self) -> Path:
        """The kubeconfig of one who may do everything."""
        return self.directory / "admin.kubeconfig"

    def kubectl(self, *arguments: str | Path, stdin: str | None = None, as_: str = "") -> str:
        """Run kubectl as the admin, and return what it printed.

        Parameters
        ----------
        arguments
            What follows ``kubectl``.
        stdin
            What it reads with ``-f -``.
        as_
            Whom the admin speaks for, such as ``system:serviceaccount:NAMESPACE:NAME``.

        Raises
        ------
        KubectlError
            It failed; says why.
        """
        command = [self.assets / "kubectl", *(["--as", as_] if as_ else []), *arguments]
        done = subprocess.run(
            [str(part) for part in command],
            check=False,
            input=stdin,
            capture_output=True,
            text=True,
            env=self._environment(KUBECONFIG=str(self.kubeconfig)),
        )
        if done.returncode:
            raise KubectlError(done.stderr.strip() or f"kubectl ended with {done.returncode}.")
        return done.stdout

    def apply(self, *documents: Mapping[str, Any]) -> str:
        """Apply manifests on the server's side, and return what kubectl printed."""
        return self.kubectl(
            "apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(documents)
        )

    def namespace(self) -> str:
        """Make a namespace that nobody used, and return its name."""
        name = f"tests-{next(self._numbers)}"
        self._ask("/api/v1/namespaces", {"metadata": {"name": name}}).raise_for_status()
        return name

    def kubeconfig_for(self, service_account: str, namespace: str) -> Path:
        """Return a kubeconfig of a service account that is there, with a token as a pod's."""
        account = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}"
        answer = self._ask(f"{account}/token", {"spec": {"expirationSeconds": 3600}})
        token = answer.raise_for_status().json()["status"]["token"]
        file = self.directory / f"{namespace}.{service_account}.kubeconfig"
        _write_kubeconfig(file, self.url, self.ca, namespace, {"token": token})
        return file

    def stop_api(self) -> None:
        """Take the API server away, at once; what it knows stays in etcd."""
        self._end("kube-apiserver")

    def start_api(self) -> None:
        """Bring it back at the same address, and wait until it is ready."""
        self._launch("kube-apiserver", self._api_flags())
        self._wait("kube-apiserver", self._is_ready)

    def start(self) -> None:
        """Start etcd and the API server; again at other ports where one was taken meanwhile."""
        for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(3), reraise=True):
            with attempt:
                self.stop()
                names = ("etcd", "peer", "kube-apiserver")
                self._ports = dict(zip(names, free_ports(len(names)), strict=True))
                self._launch("etcd", self._etcd_flags())
                self._wait("etcd", self._etcd_answers)
                self.start_api()
                user = {"token": self._token}
                _write_kubeconfig(self.kubeconfig, self.url, self.ca, "default", user)

    def install(self, crds: Path) -> None:
        """Add the kinds of a file or a directory of CRDs, and wait until they can be used."""
        paths: list[str] = []
        for file in sorted(crds.glob("*.yaml")) if crds.is_dir() else [crds]:
            # Not by kubectl, which takes seconds to read them; and a CRD is large for plain Python.
            for kind in yaml.load_all(file.read_text(), yaml.CSafeLoader):
                answer = self._ask(KINDS, kind)
                if answer.status_code != HTTPStatus.CONFLICT:  # it is there already
                    answer.raise_for_status()
                paths += _lists(kind["spec"])
        self._wait("kube-apiserver", lambda: all(self._ask(path).is_success for path in paths))

    def close(self) -> None:
        """Stop everything, for good: a thread that a test left starts nothing again."""
        self._is_over = True
        self.stop()

    def stop(self) -> None:
        """Stop everything."""
        for name in ("kube-apiserver", "etcd"):
            self._end(name)

    def _ask(self, path: str, posted: Mapping[str, Any] | None = None) -> httpx.Response:
        return httpx.request(
            "GET" if posted is None else "POST",
            f"{self.url}{path}",
            json=posted,
            headers={"authorization": f"Bearer {self._token}"},
            verify=ssl.create_default_context(cafile=str(self.ca)),
            trust_env=False,
            timeout=30,
        )

    def _launch(self, name: str, flags: list[str]) -> None:
        if self._is_over:
            raise RuntimeError(f"{name} is not started any more: the tests are over.")
        with (self.directory / f"{name}.log").open("ab") as log:
            process = self._running[name] = subprocess.Popen(
                [self.assets / name, *flags], stdout=log, stderr=log, env=self._environment()
            )
        # Tests that are killed stop nothing: then this one's input ends, and it does that for them.
        self._watching[name] = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill -9 "$0"', str(process.pid)], stdin=subprocess.PIPE
        )

    def _end(self, name: str) -> None:
        if name in self._running:
            # The watch first: the number of a process that ended is another's some day. And not
            # asked first: an API server waits for who reads from it, and nothing here is kept.
            for process in (self._watching.pop(name), self._running.pop(name)):
                process.kill()
                process.communicate()

    def _wait(self, name: str, is_there: Callable[[], bool]) -> None:
        process = self._running[name]
        for attempt in tenacity.Retrying(
            wait=tenacity.wait_fixed(0.1),
            stop=tenacity.stop_after_delay(SECONDS),
            retry=tenacity.retry_if_exception_type(_NotYetError),
            reraise=True,
        ):
            with attempt:
                log = self.directory / f"{name}.log"
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended: {log.read_text()[-2000:]}")
                if not is_there():
                    raise _NotYetError(f"{name} is not ready: {log.read_text()[-2000:]}")

    def _etcd_answers(self) -> bool:
        try:
            return httpx.get(f"{self._etcd}/health", trust_env=False).is_success
        except httpx.TransportError:
            return False

    def _is_ready(self) -> bool:
        try:
            return self._ask("/readyz").is_success
        except (httpx.TransportError, OSError):  # at first it has no certificate
            return False

    def _environment(self, **more: str) -> dict[str, str]:
        # A home of its own: kubectl keeps there which kinds a server has.
        return {"PATH": os.defpath, "HOME": str(self.directory), **more}

    @property
    def _etcd(self) -> str:
        return f"http://127.0.0.1:{self._ports['etcd']}"

    def _etcd_flags(self) -> list[str]:
        peer = f"http://127.0.0.1:{self._ports['peer']}"
        return [
            f"--data-dir={self.directory / 'etcd' / str(self._ports['etcd'])}",
            "--unsafe-no-fsync",
            *(f"--{whose}-client-urls={self._etcd}" for whose in ("listen", "advertise")),
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _api_flags(self) -> list[str]:
        return [
            f"--etcd-servers={self._etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            f"--secure-port={self._ports['kube-apiserver']}",
            f"--cert-dir={self.directory}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            f"--service-account-issuer={self.url}/",
            f"--service-account-key-file={self._key}",
            f"--service-account-signing-key-file={self._key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--authorization-mode=RBAC",
            "--allow-privileged=true",
            "--disable-admission-plugins=ServiceAccount",
        ]


class _NotYetError(Exception):
    """Worth another look."""


def _write_kubeconfig(
    file: Path, url: str, ca: Path, namespace: str, user: Mapping[str, str]
) -> None:
    cluster = {"server": url, "certificate-authority-data": _encoded(ca)}
    context = {"cluster": "tests", "user": "tests", "namespace": namespace}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "tests", "cluster": cluster}],
        "users": [{"name": "tests", "user": dict(user)}],
        "contexts": [{"name": "tests", "context": context}],
        "current-context": "tests",
    }
    file.write_text(yaml.safe_dump(document))
    file.chmod(0o600)


def _lists(kind: Mapping[str, Any]) -> Iterator[str]:
    """Return where the objects of a CRD are listed, which is found once it is established."""
    for version in kind["versions"]:
        if version["served"]:
            yield f"/apis/{kind['group']}/{version['name']}/{kind['names']['plural']}"


def _encoded(file: Path) -> str:
    return base64.b64encode(file.read_bytes()).decode()
