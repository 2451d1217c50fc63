"""An image is pinned, or refused."""

import pytest

from roadworthy.engines.kubeflow.image import NULL_IMAGE, ImageError, made_for, pinned, variant

COMMIT = "4f0c" * 10
DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    "image",
    [
        f"roadworthy/pipeline:{COMMIT}",
        f"registry.example:5000/team/pipeline:main-{COMMIT}",
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
        f"http://registry.example/pipeline:{COMMIT}",
        f"registry.example/Pipeline:{COMMIT}",
        f"-x:{COMMIT}",
        f"registry.example//x:{COMMIT}",
        f"registry.example/x:-{COMMIT}",
        f"registry.example:5000/{COMMIT}",
    ],
)
def test_a_tag_that_can_be_moved_and_an_invalid_name_are_refused(image):
    with pytest.raises(ImageError, match="is not pinned: name it by its digest"):
        pinned(image)


def test_a_variant_is_another_image_of_the_same_commit():
    image = f"registry.example:5000/team/pipeline:main-{COMMIT}"

    assert variant(image, "torch") == f"registry.example:5000/team/pipeline-torch:main-{COMMIT}"
    with pytest.raises(ImageError, match=r"needs the variant torch .*: name the image by the tag"):
        variant(f"pipeline@{DIGEST}", "torch")


def test_the_image_must_be_that_of_the_commit():
    for none in ("", NULL_IMAGE):
        with pytest.raises(ImageError, match=r"build and push it with `make image`.*RTHY_IMAGE"):
            made_for(none, COMMIT)
    image = f"registry.example/pipeline:{'0123' * 10}"
    with pytest.raises(ImageError, match="was built from another commit than 4f0c4f0c4f0c"):
        made_for(image, COMMIT)
    assert made_for(image, "0123" * 10) == image
    assert made_for(f"pipeline@{DIGEST}", COMMIT) == f"pipeline@{DIGEST}"
