"""The image of the steps, which must be pinned."""

from __future__ import annotations

import re

from roadworthy.core.errors import RoadworthyError

NULL_COMMIT = "0" * 40
NULL_IMAGE = f"roadworthy/pipeline:{NULL_COMMIT}"
"""The placeholder in a pipeline that was compiled without an image; no image has this tag."""

# A registry may have a port, so a tag is what follows the last slash.
_WORD = r"[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*"
_NAME = rf"(?P<name>{_WORD}(:[0-9]+)?(/{_WORD})*)"
_DIGEST = re.compile(rf"{_NAME}(:\w[\w.-]*)?@sha256:[0-9a-f]{{64}}", re.ASCII)
_COMMIT = re.compile(rf"{_NAME}:(?![.-])([\w.-]*[g-zA-Z_.-])?(?P<commit>[0-9a-f]{{40}})", re.ASCII)


class ImageError(RoadworthyError):
    """An image that a pipeline must not name."""


def pinned(image: str) -> str:
    """Return the image, if it is named by a digest or by the tag of a commit.

    Raises
    ------
    ImageError
        It is not, or the name is invalid.
    """
    if _DIGEST.fullmatch(image) or _COMMIT.fullmatch(image):
        return image
    raise ImageError(
        f"The image {image!r} is not pinned: name it by its digest (...@sha256:<64 digits>) or by "
        f"a tag that ends in the 40 digits of a commit, and write its name in lower case."
    )


def variant(image: str, name: str) -> str:
    """Return the image of the same commit with another set of packages, ``pipeline-<name>:<tag>``.

    Raises
    ------
    ImageError
        The image is named by its digest, which no other image has.
    """
    found = _COMMIT.fullmatch(image)
    if found is None:
        raise ImageError(
            f"A step needs the variant {name} of the image {image}: name the image by the tag of "
            f"its commit, and push the variant with the same tag."
        )
    return image.replace(found["name"], f"{found['name']}-{name}", 1)


def made_for(image: str, commit: str) -> str:
    """Return the image, if it can hold the code of a commit.

    Raises
    ------
    ImageError
        There is none, it is not pinned, or its tag names another commit.
    """
    if not image or image == NULL_IMAGE:
        raise ImageError(
            "The steps need an image on a cluster: build and push it with `make image`, and name "
            "it with --image or ROADWORTHY_IMAGE."
        )
    tagged = _COMMIT.fullmatch(pinned(image))
    if tagged and tagged["commit"] != commit:
        raise ImageError(
            f"The image {image} was built from another commit than {commit[:12]}: name the image "
            f"of that commit, or submit the image's commit with --commit."
        )
    return image
