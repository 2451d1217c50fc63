"""An image's name means the same tomorrow, or it is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roadworthy.engines.kubeflow.image import NULL_IMAGE, ImageError, made_for, pinned

COMMIT = "4f0c" * 10
DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    "image",
    [
        f"roadworthy/pipeline:{COMMIT}",
        f"registry.example:5000/team/pipeline:{COMMIT}",
        f"registry.example/pipeline:main-{COMMIT}",
        f"registry.example/pipeline@{DIGEST}",
        f"registry.example:5000/pipeline:latest@{DIGEST}",
        f"registry.example/a__b/pipe-line.x:v1.2-{COMMIT}",
        NULL_IMAGE,
    ],
)
def test_a_digest_and_a_commit_are_taken(image):
    assert pinned(image) == image


@pytest.mark.parametrize(
    "image",
    [
        "",
        "pipeline",
        "registry.example/pipeline:latest",
        f"registry.example/pipeline:{COMMIT[:12]}",
        f"registry.example/pipeline:{COMMIT}-dirty",
        f"registry.example/pipeline:{COMMIT}{COMMIT[:1]}",
        f"registry.example/pipeline:{COMMIT.upper()}",
        f"registry.example/pipeline@{DIGEST[:-1]}",
        f"registry.example/pipeline:{COMMIT}\n",
        f"registry.example/{COMMIT}",
        f"http://registry.example/pipeline:{COMMIT}",
        f"registry.example/Pipeline:{COMMIT}",
        f"Pipeline@{DIGEST}",
        f"-x:{COMMIT}",
        f"registry.example/.x:{COMMIT}",
        f"registry.example//x:{COMMIT}",
        f"registry.example/x/:{COMMIT}",
        f"registry.example/x:-{COMMIT}",
        f"registry.example:5000/{COMMIT}",
    ],
)
def test_whatever_can_be_moved_is_refused(image):
    with pytest.raises(ImageError, match="is not pinned: name it by its digest"):
        pinned(image)


@given(st.from_regex(r"[a-z]{1,9}(:[a-zA-Z0-9._-]{1,39})?", fullmatch=True))
def test_no_shorter_tag_is_a_pin(image):
    with pytest.raises(ImageError):
        pinned(image)


@pytest.mark.parametrize("image", ["", NULL_IMAGE])
def test_a_cluster_needs_an_image(image):
    with pytest.raises(ImageError, match=r"build and push it with `make image`.*ROADWORTHY_IMAGE"):
        made_for(image, COMMIT)


def test_the_image_of_another_commit_is_refused():
    image = f"registry.example/pipeline:{'0123' * 10}"

    with pytest.raises(ImageError, match="is that of another commit than 4f0c4f0c4f0c"):
        made_for(image, COMMIT)
    assert made_for(image, "0123" * 10) == image


def test_a_digest_is_believed():
    assert made_for(f"pipeline@{DIGEST}", COMMIT) == f"pipeline@{DIGEST}"
