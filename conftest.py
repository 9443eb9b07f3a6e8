"""Makes the shared fixtures known to `tests/` and to the tests of every plugin in this tree."""

pytest_plugins = ("tests.fixtures",)
