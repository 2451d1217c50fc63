"""Plays KServe's part on a real API server: real model servers, and a proxy that splits traffic.

It does what KServe's controller was seen to do, also where that is awkward: annotations are part of
the pods, a Deployment that is not named any more is gone at once, and Knative's newest revision is
the newest that is ready. Deployments have pods that can be listed, and an autoscaler that follows
the traffic. It can also be told to behave badly.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kubernetes.client import ApiClient, AutoscalingV1Api, CoreV1Api
from kubernetes.client.exceptions import ApiException
from urllib3.exceptions import HTTPError

from roadworthy.routing.routes import VERSION_HEADER

MODEL = "fuel"
_STEP = 37
"""Has no divisor in common with 100: a split is even from the first requests on."""


class Servers:
    """Real model servers, each of one version, which start when they are asked for first."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running: dict[int, tuple[subprocess.Popen[str], int]] = {}
        self._lock = threading.Lock()

    def port(self, version: int, bundle: str) -> int:
        with self._lock:
            if version not in self._running:
                self._running[version] = self._start(version, bundle)
            return self._running[version][1]

    def _start(self, version: int, bundle: str) -> tuple[subprocess.Popen[str], int]:
        told = ["--bundle", bundle, "--version", str(version), "--port", "0"]
        with (self._directory / f"server-{version}.log").open("w") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "roadworthy.serving", *told],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        found = re.search(r"http://[^:]+:(\d+)", process.stdout.readline())
        assert found, (self._directory / f"server-{version}.log").read_text()
        return process, int(found[1])

    def stop(self) -> None:
        for process, _ in self._running.values():
            process.terminate()
        for process, _ in self._running.values():
            process.wait(20)


class Gateway:
    """An ingress gateway: what a host leads to is split by weights."""

    def __init__(self, servers: Servers) -> None:
        self.routes: dict[str, list[tuple[int, int, str]]] = {}
        self.failing: set[tuple[str, int]] = set()
        self._servers = servers
        self._counter = itertools.count()
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def _answer(self):
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                status, headers, content = gateway.ask(
                    self.headers["host"], self.command, self.path, dict(self.headers), body
                )
                self.send_response(status)
                for name, value in headers:
                    self.send_header(name, value)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            do_GET = do_POST = _answer

            def log_message(self, *words):
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def ask(self, host, verb, path, headers, body):
        turn = next(self._counter) * _STEP % 100
        for weight, version, bundle in self.routes.get(host, []):
            turn -= weight
            if turn < 0:
                if (host.split(".")[1], version) in self.failing or not bundle:
                    break
                return self._pass_on(self._servers.port(version, bundle), verb, path, headers, body)
        return 503, [], b"no pod is ready"

    def _pass_on(self, port, verb, path, headers, body):
        kept = {
            name: value
            for name, value in headers.items()
            if name.lower() in (VERSION_HEADER, "content-type", "accept", "authorization")
        }
        connection = HTTPConnection("127.0.0.1", port, timeout=20)
        try:
            connection.request(verb, path, body=body, headers=kept)
            answer = connection.getresponse()
            told = [
                (name, value)
                for name, value in answer.getheaders()
                if name.lower() in (VERSION_HEADER, "content-type")
            ]
            return answer.status, told, answer.read()
        except (OSError, HTTPException) as error:
            return 502, [], str(error).encode()
        finally:
            connection.close()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@dataclass
class Pods:
    """The pods of one template: a revision of Knative's, or a Deployment."""

    name: str
    template: Any
    version: int
    bundle: str
    ready_at: float = 0.0
    former: Pods | None = None
    """What a Deployment still has while its new pods come up."""
    made: list[float] = field(default_factory=list)
    """When each pod of a Deployment is ready."""
    weight: int = 0
    """The percent of the traffic that it had last."""

    @property
    def is_ready(self) -> bool:
        return time.monotonic() >= self.ready_at

    @property
    def ready(self) -> int:
        now = time.monotonic()
        return sum(when <= now for when in self.made)

    @property
    def serving(self) -> tuple[int, str]:
        if self.is_ready:
            return self.version, self.bundle
        return self.former.serving if self.former is not None else (self.version, "")


@dataclass
class Controller:
    """KServe's controller for one namespace.

    Attributes
    ----------
    mode
        How it makes pods.
    slow
        How long a version's pods take until they are ready, in seconds.
    bad
        What befalls the pods of a version, which are never ready then.
    load
        How many pods the autoscaler finds that all the traffic needs.
    stalled
        Whether it looks at nothing, and all goes on as it was.
    ignores_weights
        Whether all the traffic goes to the predictor, whatever the status tells.
    restarts
        Of which version pods were made, in order: a version that is there twice was restarted.
    images
        The version and the image of them, in order.
    capacity
        For how much traffic there were ready pods, in pods, each time it changed: those of the
        version that has the fewest for its weight count.
    """

    api: ApiClient
    namespace: str
    gateway: Gateway
    mode: str
    slow: dict[int, float] = field(default_factory=dict)
    bad: dict[int, str] = field(default_factory=dict)
    load: int = 0
    stalled: bool = False
    ignores_weights: bool = False
    restarts: list[int] = field(default_factory=list)
    images: list[tuple[int, str]] = field(default_factory=list)
    capacity: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        self._pods: dict[str, Pods] = {}
        self._listed: dict[str, list[str]] = {}
        self._revisions: list[Pods] = []
        self._rolled = self._previous = ""
        self._number = itertools.count(1)
        self._told: Any = None
        self._befell: set[str] = set()
        self._scaled: set[str] = set()

    @property
    def deployed(self) -> set[int]:
        """The versions that have a Deployment: what is applied is done a moment later."""
        return {pods.version for pods in [*self._pods.values()]}

    @property
    def host(self) -> str:
        return f"{MODEL}.{self.namespace}.cluster.example"

    @property
    def path(self) -> str:
        return (
            f"/apis/serving.kserve.io/v1beta1/namespaces/{self.namespace}/inferenceservices/{MODEL}"
        )

    @contextlib.contextmanager
    def running(self) -> Iterator[Controller]:
        thread = threading.Thread(target=self._run, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            thread.join(20)
        assert not self.problems, self.problems

    def ask(self, verb: str, path: str, body: Any = None) -> Any:
        return self.api.call_api(
            path,
            verb,
            header_params={"Content-Type": "application/merge-patch+json"},
            body=body,
            response_type="object",
            auth_settings=["BearerToken"],
            _request_timeout=(2, 10),
        )[0]

    def get(self) -> Any:
        return self.ask("GET", self.path)

    def _run(self) -> None:
        while not self._stop.wait(0.03):
            if self.stalled:
                continue
            try:
                self._reconcile(self.get())
            except ApiException as error:
                if error.status not in (404, 409, 429, 0) and error.status < 500:
                    self.problems.append(str(error))
            except HTTPError:  # the API server is away: pods go on without it
                continue

    def _reconcile(self, live: Any) -> None:
        annotations = live["metadata"].get("annotations") or {}
        if annotations.get("serving.kserve.io/stop") == "true":
            self._pods, self._revisions, self._rolled, self._previous = {}, [], "", ""
            self.gateway.routes = {
                host: route
                for host, route in self.gateway.routes.items()
                if f".{self.namespace}." not in f"{host}."
            }
            status = {"conditions": [_condition("PredictorReady", False, reason="Stopped")]}
        elif self.mode == "Knative":
            status = self._knative(live, annotations)
        else:
            status = self._standard(live, annotations)
        mode = self.mode
        status = {"deploymentMode": mode, "components": None, "canaryStatuses": None, **status}
        if status != self._told:
            self.ask("PATCH", f"{self.path}/status", {"status": status})
            self._told = status
        self._list(live["spec"])

    def _standard(self, live: Any, annotations: Any) -> Any:
        spec = live["spec"]
        assert "canaryTrafficPercent" not in spec["predictor"]
        stable = _deployment(spec["predictor"])
        expected = {stable: spec["predictor"]}
        split = []
        for entry in spec.get("canary") or []:
            merged = {**spec["predictor"], **entry["predictor"]}
            assert not {"maxReplicas", "autoScaling"} & entry["predictor"].keys()
            assert entry["predictor"]["model"]["name"] == ""
            assert entry["predictor"]["minReplicas"] > 0
            expected[_deployment(entry["predictor"])] = merged
            split.append((entry["trafficPercent"], _deployment(entry["predictor"])))
        # KServe takes away what is not named any more in the same breath.
        self._pods = {name: pods for name, pods in self._pods.items() if name in expected}
        for name, predictor in expected.items():
            template = _template(predictor, annotations)
            before = self._pods.get(name)
            if before is None or before.template != template:
                self._pods[name] = self._made(name, template, predictor, before)
        routes = {
            f"{name}.{self.namespace}.svc": [(100, *pods.serving)]
            for name, pods in self._pods.items()
        }
        self.gateway.routes.update(routes)
        for host in [*self.gateway.routes]:
            if host.endswith(f".{self.namespace}.svc") and host not in routes:
                del self.gateway.routes[host]
        rest = 100 - sum(weight for weight, _ in split)
        weights = [(100, stable)] if self.ignores_weights else [*split, (rest, stable)]
        self.gateway.routes[self.host] = [
            (weight, *self._pods[name].serving) for weight, name in weights
        ]
        self._scale(spec, stable, weights)
        self._autoscale(stable, live)
        canaries = [
            {
                "name": name.split("-")[1],
                "ready": self._pods[name].is_ready,
                "trafficPercent": weight,
            }
            for weight, name in split
        ]
        ready = self._pods[stable].is_ready
        return {
            "url": f"http://{self.host}",
            "canaryStatuses": canaries or None,
            "conditions": [_condition("Ready", ready), _condition("PredictorReady", ready)],
        }

    def _autoscale(self, stable: str, live: Any) -> None:
        """Make the predictor's autoscaler, which nothing deletes with its Deployment."""
        if stable in self._scaled:
            return
        self._scaled.add(stable)
        metadata = live["metadata"]
        owner = {"name": metadata["name"], "uid": metadata["uid"], "kind": live["kind"]}
        body = {
            "metadata": {
                "name": stable,
                "ownerReferences": [{**owner, "apiVersion": live["apiVersion"]}],
            },
            "spec": {
                "maxReplicas": 2,
                "scaleTargetRef": {"kind": "Deployment", "name": stable, "apiVersion": "apps/v1"},
            },
        }
        AutoscalingV1Api(self.api).create_namespaced_horizontal_pod_autoscaler(self.namespace, body)

    def _scale(self, spec: Any, stable: str, weights: list[tuple[int, str]]) -> None:
        """Make as many pods as are wanted: KServe takes the canaries' from the predictor's."""
        predictor, canaries = spec["predictor"], spec.get("canary") or []
        beside = sum(entry["predictor"]["minReplicas"] for entry in canaries)
        assert beside < predictor["minReplicas"] <= predictor["maxReplicas"]
        # The autoscaler knows what was, and not what will be in a moment.
        needed = -(-self.load * self._pods[stable].weight // 100)
        needed = min(needed, predictor["maxReplicas"])
        wanted = {stable: max(predictor["minReplicas"] - beside, needed)}
        for entry in canaries:
            wanted[_deployment(entry["predictor"])] = entry["predictor"]["minReplicas"]
        for name, count in wanted.items():
            pods = self._pods[name]
            ready = max(pods.ready_at, time.monotonic() + self.slow.get(pods.version, 0.0))
            pods.made = sorted([*pods.made, *[ready] * (count - len(pods.made))])[:count]
        now = min(self._pods[name].ready * 100 / weight for weight, name in weights if weight)
        if not self.capacity or self.capacity[-1] != now:
            self.capacity.append(now)
        for name, pods in self._pods.items():
            pods.weight = sum(weight for weight, of in weights if of == name)

    def _list(self, spec: Any) -> None:
        """Let the API server list the pods of Deployments that are ready, and no others."""
        core = CoreV1Api(self.api)
        predictors = [spec["predictor"], *(one["predictor"] for one in spec.get("canary") or [])]
        named = {_deployment(one): one for one in predictors}
        for name in [*self._listed]:
            wanted = self._pods[name].ready if name in self._pods else 0
            while len(self._listed[name]) > wanted:
                with contextlib.suppress(ApiException):  # somebody else took it away
                    core.delete_namespaced_pod(
                        self._listed[name][-1], self.namespace, grace_period_seconds=0
                    )
                self._listed[name].pop()
        for name in self._pods:
            listed, predictor = self._listed.setdefault(name, []), named[name]
            while len(listed) < self._pods[name].ready:
                made = f"{name}-ready-{next(self._number)}"
                core.create_namespaced_pod(self.namespace, _pod(made, predictor))
                path = f"/api/v1/namespaces/{self.namespace}/pods/{made}/status"
                ready = {"conditions": [{"type": "Ready", "status": "True"}]}
                self.ask("PATCH", path, {"status": ready})
                listed.append(made)

    def _knative(self, live: Any, annotations: Any) -> Any:
        predictor = deepcopy(live["spec"]["predictor"])
        assert "canary" not in live["spec"]
        percent = predictor.pop("canaryTrafficPercent", None)
        template = _template(predictor, annotations)
        if not self._revisions or self._revisions[-1].template != template:
            name = f"{MODEL}-predictor-{next(self._number):05d}"
            self._revisions.append(self._made(name, template, predictor, None))
        created = self._revisions[-1]
        latest = next((one for one in reversed(self._revisions) if one.is_ready), None)
        if latest is None:
            return {"conditions": [_condition("Ready", False), _condition("PredictorReady", False)]}
        by_name = {one.name: one for one in self._revisions}
        rolled = self._rolled
        newest = percent if percent is not None and rolled else 100
        traffic = [
            {
                "latestRevision": True,
                "percent": newest,
                "revisionName": latest.name,
                "tag": "latest",
                "url": f"http://latest-{self.host}",
            }
        ]
        route = [(newest, *latest.serving)]
        if newest < 100:
            traffic.append({"percent": 100 - newest, "revisionName": rolled, "tag": "prev"})
            route.append((100 - newest, *by_name[rolled].serving))
        self.gateway.routes[self.host] = route
        self.gateway.routes[f"latest-{self.host}"] = [(100, *latest.serving)]
        if self._rolled != latest.name and newest == 100:
            self._previous, self._rolled = self._rolled, latest.name
        elif self._rolled == latest.name and latest is created and newest < 100 and self._previous:
            self._rolled = self._previous
        ready = latest is created
        return {
            "url": f"http://{self.host}",
            "components": {
                "predictor": {
                    "latestCreatedRevision": created.name,
                    "latestReadyRevision": latest.name,
                    "latestRolledoutRevision": self._rolled,
                    "traffic": traffic,
                }
            },
            "conditions": [_condition("Ready", ready), _condition("PredictorReady", ready)],
        }

    def _made(self, name: str, template: Any, predictor: Any, former: Pods | None) -> Pods:
        version = int(predictor["model"]["env"][0]["value"])
        self.restarts.append(version)
        self.images.append((version, self._image(predictor["model"]["runtime"])))
        bundle = predictor["model"]["storageUri"].removeprefix("file://")
        wait = self.slow.get(version, 0.0)
        made = Pods(name, template, version, bundle, time.monotonic() + wait, former)
        if version in self.bad:
            made.ready_at = float("inf")
            self._befall(name, version, self.bad[version], predictor)
        return made

    def _image(self, runtime: str) -> str:
        path = f"/apis/serving.kserve.io/v1alpha1/namespaces/{self.namespace}/servingruntimes"
        found = self.ask("GET", f"{path}/{runtime}")
        assert not any(one.get("autoSelect") for one in found["spec"]["supportedModelFormats"])
        return str(found["spec"]["containers"][0]["image"])

    def _befall(self, owner: str, version: int, what: str, predictor: Any) -> None:
        """Let the pods of a version fare badly, as a kubelet or a scheduler would tell it."""
        core = CoreV1Api(self.api)
        name = f"{owner}-{len(self._befell)}"
        self._befell.add(name)
        try:
            if what != "never":
                core.create_namespaced_pod(self.namespace, _pod(name, predictor))
        except ApiException as error:
            self._warn(
                owner, "FailedCreate", f"Error creating: {json.loads(error.body)['message']}"
            )
            return
        status = _FATES.get(what)
        if status is not None:
            path = f"/api/v1/namespaces/{self.namespace}/pods/{name}/status"
            self.ask("PATCH", path, {"status": status})

    def _warn(self, owner: str, reason: str, message: str) -> None:
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        name = f"{owner}-6c9f"
        CoreV1Api(self.api).create_namespaced_event(
            self.namespace,
            {
                "metadata": {"generateName": "event-"},
                "involvedObject": {
                    "kind": "ReplicaSet",
                    "name": name,
                    "namespace": self.namespace,
                },
                "reason": reason,
                "message": message,
                "type": "Warning",
                "firstTimestamp": now,
                "lastTimestamp": now,
                "count": 1,
            },
        )


def configure(api: ApiClient, mode: str, *, gateway_api: bool = True) -> None:
    """Tell in KServe's own settings how it makes pods of what does not say how."""
    body = {
        "metadata": {"name": "inferenceservice-config"},
        "data": {
            "deploy": json.dumps({"defaultDeploymentMode": mode}),
            "ingress": json.dumps({"enableGatewayApi": gateway_api}),
        },
    }
    core = CoreV1Api(api)
    try:
        core.replace_namespaced_config_map("inferenceservice-config", "kserve", body)
    except ApiException:
        core.create_namespaced_config_map("kserve", body)


def _deployment(predictor: Any) -> str:
    return "-".join(part for part in (MODEL, predictor.get("name", ""), "predictor") if part)


def _pod(name: str, predictor: Any) -> Any:
    labels = {**predictor["labels"], "serving.kserve.io/inferenceservice": MODEL}
    return {
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "automountServiceAccountToken": False,
            "containers": [{"name": "kserve-container", "image": "roadworthy/serving:none"}],
        },
    }


def _template(predictor: Any, annotations: Any) -> Any:
    """Return what the pods are made of: the annotations of the InferenceService among it."""
    scale = ("minReplicas", "maxReplicas", "scaleMetric", "scaleTarget", "autoScaling", "name")
    kept = {name: value for name, value in predictor.items() if name not in scale}
    kept["model"] = {name: value for name, value in kept["model"].items() if name != "name"}
    return deepcopy({"annotations": annotations, "spec": kept})


def _condition(kind: str, good: bool, reason: str = "") -> Any:
    return {"type": kind, "status": "True" if good else "False", "reason": reason or "Told"}


def _container(state: Any, **more: Any) -> Any:
    return {
        "name": "kserve-container",
        "image": "roadworthy/serving:none",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
        **more,
    }


_PULL = "Back-off pulling image"
_ENDED = {
    "terminated": {
        "exitCode": 1,
        "reason": "Error",
        "message": "starting\nThe bundle /mnt/models lacks model.onnx.",
    }
}
_FATES = {
    "image": {
        "containerStatuses": [
            _container({"waiting": {"reason": "ImagePullBackOff", "message": f'{_PULL} "x"'}})
        ]
    },
    "crash": {
        "containerStatuses": [
            _container(
                {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 10s"}},
                restartCount=3,
                lastState=_ENDED,
            )
        ]
    },
}
