"""What every plugin of a kind must keep, as tests: inherit a suite and name the plugin. Needs pytest, which aiperf itself does not.

    class TestEveryOther(SamplerContract):
        name = "every_other"

The plugin is installed or registered. Some suites need more than its name, as an endpoint's `answers`: see theirs.
"""

try:
    import pytest
except ImportError as exc:
    raise ImportError("aiperf.testing needs pytest, which is not installed") from exc

pytest.register_assert_rewrite(f"{__name__}.contracts")

from aiperf.testing.contracts import *  # noqa: E402, F403 - it shows what an assertion saw in modules that it was told of before their import
