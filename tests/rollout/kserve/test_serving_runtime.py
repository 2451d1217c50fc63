"""A copy of a ServingRuntime is named by its content, and is chosen by nobody but who names it."""

from copy import deepcopy

from hypothesis import given
from hypothesis import strategies as st

from roadworthy.rollout.kserve.serving_runtime import copied

IMAGES = st.text("abc:/", min_size=1, max_size=8)


def template(image="roadworthy/serving:none", **more):
    return {
        "metadata": {"name": "roadworthy", "namespace": "models", "resourceVersion": "7"},
        "spec": {
            "supportedModelFormats": [
                {"name": "roadworthy", "version": "1", "autoSelect": True, "priority": 1}
            ],
            "containers": [{"name": "kserve-container", "image": image}],
            **more,
        },
    }


@given(one=IMAGES, other=IMAGES)
def test_the_same_content_has_the_same_name_and_another_one_has_not(one, other):
    names = [copied(template(image))["metadata"]["name"] for image in (one, other)]

    assert (names[0] == names[1]) == (one == other)


def test_it_is_all_that_the_template_says_but_is_never_chosen_by_kserve():
    before = template(protocolVersions=["v1"])
    given_before = deepcopy(before)

    found = copied(before)

    assert found["spec"]["protocolVersions"] == ["v1"]
    assert found["spec"]["containers"] == before["spec"]["containers"]
    assert found["spec"]["supportedModelFormats"] == [
        {"name": "roadworthy", "version": "1", "autoSelect": False}
    ]
    assert found["metadata"]["namespace"] == "models"
    assert "resourceVersion" not in found["metadata"]
    assert before == given_before
