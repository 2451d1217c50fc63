"""A rollout does with the rights that deploy/ gives the pipeline, and is refused nothing."""

import itertools
from dataclasses import replace

import pytest
import yaml
from kubernetes import config
from kubernetes.client.exceptions import ApiException

from roadworthy.doctor import rights
from roadworthy.rollout.engine import record
from roadworthy.rollout.engine.record import RollbackIntent
from roadworthy.rollout.engine.state import RolloutError
from roadworthy.rollout.kserve.cluster import Cluster
from roadworthy.rollout.kserve.kserve_settings import KServeSettings
from roadworthy.rollout.kserve.kserve_target import KServeTarget
from tests.rollout.controller import MODEL
from tests.rollout.kserve.test_kserve_target import (  # noqa: F401 - fixtures
    AT,
    _few,
    crds,
    gateway,
    make,
    mode,
    servers,
)

NAMESPACE = "roadworthy"
"""Where deploy/ puts the models."""
ACCOUNT = "roadworthy-pipeline"


@pytest.fixture(scope="module")
def api(kube):
    """One who may do everything, as KServe's controller."""
    kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kserve"}})
    made = config.new_client_from_config(str(kube.kubeconfig))
    made.configuration.retries = False
    return made


@pytest.fixture(scope="module")
def rendered(kube, root):
    """Accounts, roles and bindings as production gets them."""
    kinds = ("ServiceAccount", "Role", "RoleBinding")
    told = kube.kubectl("kustomize", root / "deploy/overlays/production")
    return [one for one in yaml.safe_load_all(told) if one["kind"] in kinds]


@pytest.fixture
def grant(kube, rendered):
    """Give the rights in another namespace; return a client of the account that notes refusals."""

    def granted(namespace):
        told = yaml.safe_dump_all(rendered)
        kube.kubectl(
            *("apply", "--server-side", "-f", "-"),
            stdin=told.replace(f"namespace: {NAMESPACE}\n", f"namespace: {namespace}\n"),
        )
        api = config.new_client_from_config(str(kube.kubeconfig_for(ACCOUNT, namespace)))
        api.configuration.retries = False
        call, refused = api.call_api, []

        def watched(path, verb, *arguments, **named):
            try:
                return call(path, verb, *arguments, **named)
            except ApiException as error:
                if error.status in (401, 403):
                    refused.append((verb, path))
                raise

        api.call_api = watched
        return api, refused

    yield granted
    kube.kubectl("delete", "role,rolebinding", "--all", "--namespace", "kserve")


def test_a_rollout_is_refused_nothing(make, mode, grant, packed):  # noqa: F811 - fixtures
    # given a cluster that is reached by the pipeline's account alone
    place = make(mode)
    api, refused = grant(place.kserve.namespace)
    cluster = Cluster(api, place.kserve.namespace, place.settings.ready_seconds)
    target = place.target = KServeTarget(place.settings, place.kserve, cluster, place.digest)

    # when a version is rolled out to a part, and taken off
    target.check("canary")
    shifted = place.weight(place.stage(), 10)
    assert target.verify(shifted, _few(packed.golden)).good
    target.observe(shifted)
    place.back(shifted)
    assert (target.status(MODEL).champion, target.status(MODEL).problem) == (2, "")
    # and another time to all, and is promoted, and the one before put back in its place
    whole = place.weight(place.stage(), 100)
    target.promote(replace(whole, state="promoted", weight=0))
    assert target.status(MODEL).champion == 3
    intent = RollbackIntent(MODEL, 2, (3,), "tester", AT, "too thirsty")
    target.put_back(intent)
    assert target.records.read(MODEL).intent == intent
    record.forget(target.records, intent)
    assert target.status(MODEL).champion == 2
    place.wait(lambda: 3 not in place.controller.deployed)
    # and one does not come up, so that it is looked for why, in pods and in events
    place.controller.bad[3] = "image"
    with pytest.raises(RolloutError, match="image cannot be pulled"):
        place.stage()
    place.back(place.rollout())

    # then it was refused nothing
    assert refused == []
    assert target.status(MODEL).champion == 2


def test_what_the_doctor_asks_for_is_what_is_given(rendered):
    given = set()
    for role in rendered:
        if role["kind"] == "Role" and role["metadata"]["name"] == ACCOUNT:
            for rule in role["rules"]:
                names = rule.get("resourceNames", [""])
                parts = (rule["apiGroups"], rule["resources"], names, rule["verbs"])
                of = role["metadata"]["namespace"]
                given |= {(of, *one) for one in itertools.product(*parts)}

    asked = {
        (right.namespace, right.group, right.resource, right.name, right.verb)
        for right in rights.needed(KServeSettings(namespace=NAMESPACE))
    }

    assert asked == given
