"""The repositories that the tests of this folder work in."""

from tests.repositories import (  # noqa: F401 - fixtures
    bare,
    configured,
    hook,
    make_bundle,
    own_identity,
    person,
    publish,
    settings,
)
