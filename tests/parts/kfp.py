"""A stand-in of Kubeflow Pipelines' API, in memory, for Kubeflow's own client.

It responds with the models of ``kfp_server_api``. A run's parameters must be those of its pipeline.
Runs do nothing: their tasks go on by one each time somebody looks.
"""

import json
import re
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NoReturn

import flask
import kfp_server_api as api
import pytest
import yaml
from werkzeug.exceptions import HTTPException
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

_PREFIX = "/apis/v2beta1"
_TO_THE_GATE = ("checkout", "prepare", "train", "evaluate", "gate")
_TO_THE_ROAD = (*_TO_THE_GATE, "release", "stage", "canary")
ENDINGS = {
    "released": (*_TO_THE_ROAD, "promote"),
    "rolled back": _TO_THE_ROAD,
    "rejected": (*_TO_THE_GATE, "reject"),
    "nothing new": ("checkout",),
    "failed": _TO_THE_GATE[:4],
    "cancelled": _TO_THE_GATE[:3],
    "endless": _TO_THE_GATE[:2],
}
"""How a run may end, with the steps that come before its report."""

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 6}
_CRON = re.compile(r"([0-5]?\d) ([0-5]?\d|[*?]\S*)( [\d*?]\S*){4}")
_KINDS = {"STRING": str, "BOOLEAN": bool, "NUMBER_INTEGER": int, "NUMBER_DOUBLE": float}


class Kubeflow:
    """The API on a loopback port, and the switches by which it behaves badly.

    Parameters
    ----------
    certificate
        The files of a certificate and its key, for HTTPS.

    Attributes
    ----------
    token
        What it demands of a client; empty for nothing.
    namespace
        The one namespace of a multi-user Kubeflow; empty for a single-user one.
    ending
        How the next runs end: one of :data:`ENDINGS`.
    at_once
        Whether a run is at its end as soon as it is made.
    delay
        Seconds before each answer.
    on_poll
        Called with a run before somebody who asks for it gets it.
    cuts
        How many of the next requests are cut off without an answer.
    refusal
        A status that every request is answered with; 0 for none.
    lost_answers
        How many of the next changes are made, and then cut off without an answer.
    page
        Whether every request is answered by the page where people sign in.
    body
        What every request is answered with, said to be JSON; None for what is right.
    requests
        Method and path of every request.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        token: str = "",
        namespace: str = "",
        ending: str = "released",
        at_once: bool = False,
        certificate: tuple[Path, Path] | None = None,
    ) -> None:
        self._certificate = certificate
        self.token, self.namespace = token, namespace
        self.ending, self.at_once = ending, at_once
        self.delay = 0.0
        self.on_poll: Callable[[api.V2beta1Run], object] = lambda run: None
        self.cuts = self.refusal = self.lost_answers = 0
        self.page = False
        self.body: bytes | None = None
        self.requests: list[tuple[str, str]] = []
        self.pipelines: dict[str, api.V2beta1Pipeline] = {}
        self.versions: dict[str, api.V2beta1PipelineVersion] = {}
        self.experiments: dict[str, api.V2beta1Experiment] = {}
        self.runs: dict[str, api.V2beta1Run] = {}
        self.schedules: dict[str, api.V2beta1RecurringRun] = {}
        self.most_active = 0
        self._plans: dict[str, Iterator[None]] = {}
        self._lock = threading.RLock()
        self._server: BaseWSGIServer | None = None
        self._app = _routes(self)
        self.port = port

    @property
    def url(self) -> str:
        return f"http{'s' if self._certificate else ''}://127.0.0.1:{self.port}"

    def __enter__(self) -> "Kubeflow":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Listen, at the port of before."""
        self._server = make_server(
            "127.0.0.1",
            self.port,
            self._app,
            threaded=True,
            request_handler=_Silent,
            ssl_context=self._certificate and tuple(map(str, self._certificate)),
        )
        self.port = self._server.server_port
        serve = partial(self._server.serve_forever, poll_interval=0.02)
        threading.Thread(target=serve, daemon=True).start()

    def stop(self) -> None:
        """Listen no more; what is kept is kept."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def fire(self, schedule: api.V2beta1RecurringRun) -> api.V2beta1Run:
        """Start a run of a schedule, as its controller does when its time has come."""
        assert schedule.mode == "ENABLE"
        reference = schedule.pipeline_version_reference
        return self._begin(
            api.V2beta1Run(
                display_name=f"Run of {schedule.display_name} ({uuid.uuid4().hex[:5]})",
                experiment_id=schedule.experiment_id,
                pipeline_version_reference=reference,
                runtime_config=schedule.runtime_config,
                service_account=schedule.service_account,
                recurring_run_id=schedule.recurring_run_id,
            )
        )

    def answer(self, verb: Callable[..., object], **names: str) -> flask.Response:
        """Return the answer to a request, or none at all."""
        request = flask.request
        self.requests.append((request.method, request.path.removeprefix(_PREFIX)))
        time.sleep(self.delay)
        if self.cuts > 0:
            self.cuts -= 1
            return _cut(request)
        if self.page:
            return flask.Response("<html>Sign in</html>", content_type="text/html")
        if self.body is not None:
            return flask.Response(self.body, content_type="application/json")
        if self.refusal:
            return _answer(self.refusal, "It is refused.", {"Location": f"{self.url}/sign-in"})
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            flask.abort(401, "Request header error: there is no user identity header.")
        with self._lock:
            found = verb(request, **names)
            active = [one for one in self.schedules.values() if one.mode == "ENABLE"]
            self.most_active = max(self.most_active, len(active))
        if self.lost_answers > 0 and request.method != "GET":
            self.lost_answers -= 1
            return _cut(request)
        return flask.jsonify(_plain(found))

    def routes(self) -> Iterator[tuple[str, str, Callable[..., object]]]:
        """Give method, path and what answers, of all that the API can do."""
        yield "GET", "/pipelines", self._pipelines
        yield "POST", "/pipelines", self._make_pipeline
        yield "POST", "/pipelines/upload_version", self._upload
        yield "GET", "/pipelines/<pipeline>/versions", self._versions
        yield "GET", "/experiments", self._experiments
        yield "POST", "/experiments", self._make_experiment
        yield "GET", "/runs", self._list_runs
        yield "POST", "/runs", self._make_run
        yield "GET", "/runs/<run>", self._poll
        yield "POST", "/runs/<run>:terminate", self._terminate
        yield "GET", "/recurringruns", self._list_schedules
        yield "POST", "/recurringruns", self._make_schedule
        yield "POST", "/recurringruns/<schedule>:enable", self._enable
        yield "POST", "/recurringruns/<schedule>:disable", self._disable
        yield "DELETE", "/recurringruns/<schedule>", self._delete_schedule

    def _pipelines(self, request: flask.Request) -> object:
        self._enter(request.args.get("namespace"))
        return _page(api.V2beta1ListPipelinesResponse, self.pipelines, request)

    def _versions(self, request: flask.Request, pipeline: str) -> object:
        _found(self.pipelines, pipeline)
        of = {k: v for k, v in self.versions.items() if v.pipeline_id == pipeline}
        return _page(api.V2beta1ListPipelineVersionsResponse, of, request)

    def _experiments(self, request: flask.Request) -> object:
        self._enter(request.args.get("namespace"))
        return _page(api.V2beta1ListExperimentsResponse, self.experiments, request)

    def _list_runs(self, request: flask.Request) -> object:
        return _page(api.V2beta1ListRunsResponse, self._of(request, self.runs), request)

    def _list_schedules(self, request: flask.Request) -> object:
        of = self._of(request, self.schedules)
        return _page(api.V2beta1ListRecurringRunsResponse, of, request)

    def _poll(self, request: flask.Request, run: str) -> object:
        found = _found(self.runs, run)
        self.on_poll(found)
        next(self._plans[run], None)
        return found

    def _make_run(self, request: flask.Request) -> object:
        return self._begin(_parsed(request, "V2beta1Run"))

    def _terminate(self, request: flask.Request, run: str) -> object:
        found = _found(self.runs, run)
        self._plans[run] = iter(())
        found.state, found.finished_at = "CANCELED", _now()
        return {}

    def _enable(self, request: flask.Request, schedule: str) -> object:
        found = _found(self.schedules, schedule)
        found.mode, found.status = "ENABLE", "ENABLED"
        return {}

    def _disable(self, request: flask.Request, schedule: str) -> object:
        found = _found(self.schedules, schedule)
        found.mode, found.status = "DISABLE", "DISABLED"
        return {}

    def _delete_schedule(self, request: flask.Request, schedule: str) -> object:
        _found(self.schedules, schedule)
        del self.schedules[schedule]
        return {}

    def _enter(self, namespace: str | None) -> None:
        """Let in who names the namespace there is; where there is none, who names none."""
        if namespace and not self.namespace:
            flask.abort(400, "In single-user mode, namespace cannot be specified.")
        if self.namespace and not namespace:
            flask.abort(400, "In multi-user mode, namespace cannot be empty.")
        if (namespace or "") != self.namespace:
            flask.abort(403, f"User is not authorized in the namespace {namespace}.")

    def _of(self, request: flask.Request, kept: dict[str, Any]) -> dict[str, Any]:
        experiment = request.args.get("experiment_id")
        if not experiment:
            self._enter(request.args.get("namespace"))
        return {k: v for k, v in kept.items() if experiment in (None, "", v.experiment_id)}

    def _make_pipeline(self, request: flask.Request) -> api.V2beta1Pipeline:
        made = _parsed(request, "V2beta1Pipeline")
        self._enter(made.namespace)
        _alone(self.pipelines, made.display_name)
        made.pipeline_id, made.created_at = str(uuid.uuid4()), _now()
        return self.pipelines.setdefault(made.pipeline_id, made)

    def _upload(self, request: flask.Request) -> api.V2beta1PipelineVersion:
        pipeline = _found(self.pipelines, request.args.get("pipelineid", ""))
        name = request.args.get("name") or _refuse("A version needs a name.")
        of = {k: v for k, v in self.versions.items() if v.pipeline_id == pipeline.pipeline_id}
        _alone(of, name)
        made = api.V2beta1PipelineVersion(
            pipeline_id=pipeline.pipeline_id,
            pipeline_version_id=str(uuid.uuid4()),
            display_name=request.args.get("display_name") or name,
            name=name,
            description=request.args.get("description"),
            created_at=_now(),
            pipeline_spec=_package(request.files["uploadfile"].read()),
        )
        return self.versions.setdefault(made.pipeline_version_id, made)

    def _make_experiment(self, request: flask.Request) -> api.V2beta1Experiment:
        made = _parsed(request, "V2beta1Experiment")
        self._enter(made.namespace)
        _alone(self.experiments, made.display_name)
        made.experiment_id, made.created_at = str(uuid.uuid4()), _now()
        made.storage_state = "AVAILABLE"
        return self.experiments.setdefault(made.experiment_id, made)

    def _begin(self, made: api.V2beta1Run) -> api.V2beta1Run:
        _found(self.experiments, made.experiment_id or "")
        spec = self._spec(made.pipeline_version_reference)
        _check_parameters(spec, made.runtime_config)
        made.run_id, made.created_at = str(uuid.uuid4()), _now()
        made.state, made.storage_state = "PENDING", "AVAILABLE"
        made.run_details = api.V2beta1RunDetails(task_details=[])
        plan = self._plans[made.run_id] = _course(made, spec, self.ending)
        self.runs[made.run_id] = made
        if self.at_once:
            for _ in plan:
                pass
        return made

    def _make_schedule(self, request: flask.Request) -> api.V2beta1RecurringRun:
        made = _parsed(request, "V2beta1RecurringRun")
        _found(self.experiments, made.experiment_id or "")
        _check_parameters(self._spec(made.pipeline_version_reference), made.runtime_config)
        if not _CRON.fullmatch(made.trigger.cron_schedule.cron or ""):
            _refuse("Schedule cron is not a supported format.")
        made.recurring_run_id, made.created_at = str(uuid.uuid4()), _now()
        made.status = f"{made.mode}D"
        return self.schedules.setdefault(made.recurring_run_id, made)

    def _spec(self, reference: api.V2beta1PipelineVersionReference | None) -> dict[str, Any]:
        """Return the specification that a reference means: without a version, of the latest."""
        if reference is None:
            _refuse("A run needs a pipeline.")
        pipeline = _found(self.pipelines, reference.pipeline_id or "").pipeline_id
        number = reference.pipeline_version_id
        of = {k: v for k, v in self.versions.items() if v.pipeline_id == pipeline}
        found = _found(of, number) if number else next(reversed(of.values()), None)
        if found is None:
            flask.abort(404, "The pipeline has no version.")
        spec: dict[str, Any] = found.pipeline_spec["pipeline_spec"]
        return spec


class _Silent(WSGIRequestHandler):
    def log(self, *_: object) -> None:
        """Say nothing of a request: all are kept."""


def _routes(kubeflow: Kubeflow) -> flask.Flask:
    app = flask.Flask(__name__)

    @app.errorhandler(HTTPException)
    def refused(error: HTTPException) -> flask.Response:
        return _answer(error.code or 500, str(error.description), {})

    for method, path, verb in kubeflow.routes():
        answer = partial(kubeflow.answer, verb)
        app.add_url_rule(f"{_PREFIX}{path}", f"{method} {path}", answer, methods=[method])
    return app


def _answer(status: int, sentence: str, headers: dict[str, str]) -> flask.Response:
    told = api.GoogleRpcStatus(code=_CODES.get(status, 2), message=sentence)
    return flask.make_response(flask.jsonify(_plain(told)), status, headers)


def _course(run: api.V2beta1Run, spec: dict[str, Any], ending: str) -> Iterator[None]:
    """Take a run's tasks to their end, one at each step."""
    known = _tasks(spec)
    details = run.run_details.task_details
    run.state = "RUNNING"
    for name in (*ENDINGS[ending], "report"):
        assert name in known, f"{name} is no task of the pipeline"
        if name == "report" and ending == "endless":
            while True:
                yield
        for shown in (f"{name}-driver", name):  # as an engine has them, what is its own among them
            details.append(
                api.V2beta1PipelineTaskDetail(
                    run_id=run.run_id,
                    task_id=str(uuid.uuid4()),
                    display_name=shown,
                    start_time=_now(),
                    state="RUNNING" if shown == name else "SUCCEEDED",
                )
            )
        task = details[-1]
        yield
        task.state, task.end_time = "SUCCEEDED", _now()
        if ending == "failed" and name == ENDINGS[ending][-1]:
            task.state = "FAILED"
            task.error = api.GoogleRpcStatus(code=2, message="exit code 1")
    run.state = {"failed": "FAILED", "cancelled": "CANCELED"}.get(ending, "SUCCEEDED")
    run.finished_at = _now()
    if ending == "failed":
        run.error = api.GoogleRpcStatus(code=2, message="A task has failed.")
    yield


def _tasks(spec: dict[str, Any]) -> set[str]:
    """Return the names of all tasks that are components, not groups of others."""
    groups = [spec["root"], *spec["components"].values()]
    return {
        name
        for group in groups
        for name, task in group.get("dag", {}).get("tasks", {}).items()
        if "dag" not in spec["components"][task["componentRef"]["name"]]
    }


@lru_cache(maxsize=8)
def _package(content: bytes) -> dict[str, Any]:
    """Return an uploaded package as it is kept: the specification, and its platform's part."""
    spec, *others = yaml.load_all(content, Loader=_Loader)
    if not isinstance(spec.get("root"), dict):
        _refuse("The package is no pipeline.")
    return {"pipeline_spec": spec, **({"platform_spec": others[0]} if others else {})}


def _check_parameters(spec: dict[str, Any], config: api.V2beta1RuntimeConfig | None) -> None:
    given = (config.parameters if config is not None else None) or {}
    known = spec["root"]["inputDefinitions"]["parameters"]
    if unknown := set(given) - set(known):
        _refuse(f"The pipeline has no parameter {', '.join(sorted(unknown))}.")
    for name, definition in known.items():
        if name not in given and not definition.get("isOptional"):
            _refuse(f"The parameter {name} is missing.")
        kind = _KINDS[definition["parameterType"]]
        if name in given and not isinstance(given[name], kind):
            _refuse(f"The parameter {name} is no {definition['parameterType']}.")


def _parsed(request: flask.Request, model: str) -> Any:
    """Return a request's body as a model of the API."""

    class Body:
        data = request.get_data(as_text=True)

    return api.ApiClient().deserialize(Body, model)


def _page(response: Any, kept: dict[str, Any], request: flask.Request) -> Any:
    """Return a page of a list; without anything in it, the field is missing."""
    names = _names(request.args.get("filter"))
    found = [one for one in kept.values() if all(one.display_name == name for name in names)]
    key, _, order = (request.args.get("sort_by") or "created_at").partition(" ")
    found.sort(key=lambda one: getattr(one, key), reverse=order.strip() == "desc")
    first = int(request.args.get("page_token") or 0)
    last = first + int(request.args.get("page_size") or 20)
    (field,) = set(response.openapi_types) - {"total_size", "next_page_token"}
    return response(
        **{field: found[first:last] or None},
        total_size=len(found),
        next_page_token=str(last) if last < len(found) else None,
    )


def _names(condition: str | None) -> list[str]:
    """Return the names that a filter requires."""
    predicates = json.loads(condition or "{}").get("predicates", [])
    if any(one["operation"] not in ("EQUALS", 1) for one in predicates):
        _refuse("There is no such filter.")
    # The API takes a field in both spellings.
    return [one.get("string_value") or one["stringValue"] for one in predicates]


def _found(kept: dict[str, Any], number: str) -> Any:
    if number not in kept:
        flask.abort(404, f"{number or 'Nothing'} not found.")
    return kept[number]


def _alone(kept: dict[str, Any], name: str) -> None:
    if any(name in (one.display_name, getattr(one, "name", None)) for one in kept.values()):
        flask.abort(409, f"The name {name} already exists. Please specify a new name.")


def _refuse(sentence: str) -> NoReturn:
    flask.abort(400, f"Invalid input error: {sentence}")


def _cut(request: flask.Request) -> flask.Response:
    request.environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
    return flask.Response()  # which nobody gets


def _plain(value: object) -> Any:
    return api.ApiClient().sanitize_for_serialization(value)


def _now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def kfp_api() -> Iterator[Kubeflow]:
    """A Kubeflow in which nothing was done yet."""
    with Kubeflow() as started:
        yield started
