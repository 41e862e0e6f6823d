"""What plugins declare about themselves, as far as an experiment depends on it."""

from collections.abc import Mapping
from typing import Any

from aiperf.plugin import plugins
from aiperf.plugin.types import PluginError
from aiperf.seams import SAYS


def declared(category: str, name: Any) -> Mapping[str, Any]:
    """A plugin's metadata; empty for a name that nobody has, which is said elsewhere."""
    try:
        return plugins.get_metadata(category, name) if isinstance(name, str) else {}
    except PluginError:
        return {}


def taken(endpoint: str) -> tuple[str, ...]:
    """What of a turn an endpoint takes, words of seams.SAYS; one that does not say takes whatever is no vocabulary's own."""
    found = declared("endpoint", endpoint).get("takes")
    return tuple(says for says in SAYS if says != "token_ids") if found is None else tuple(found)
