"""What the tests of contracts share: the plugins that come with the project."""

import pytest

from aiperf.plugin import plugins


def builtin(category):
    return [entry for entry in plugins.iter_entries(category) if entry.is_builtin]


def names(category):
    return sorted(entry.name for entry in builtin(category))


def every(category):
    """The fixture `entry` of a suite: each of them in turn."""

    @pytest.fixture(params=builtin(category), ids=lambda entry: entry.name)
    def entry(self, request):
        return request.param

    return entry
