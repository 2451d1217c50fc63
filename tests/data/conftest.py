"""The repositories that the tests of this folder work in."""

from tests.repositories import *  # noqa: F403 - fixtures
