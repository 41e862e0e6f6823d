"""The one way to make an endpoint, of whichever kind its class is."""

from aiperf.config.endpoint import Endpoint as Options
from aiperf.plugin import plugins
from aiperf.seams import Endpoint


def spoken(options: Options, *, model: str, exact: bool, usage: bool = True) -> Endpoint:
    """What speaks as `options.type` says. Raises PluginError."""
    cls = plugins.get_class("endpoint", options.type)
    if hasattr(cls, "body") and hasattr(cls, "answer"):
        ours: Endpoint = plugins.make("endpoint", options.type, options, model=model, exact=exact, usage=usage, options=options.options)
        ours.token_hint  # noqa: B018 - one that cannot be used is refused here, and not in the midst of a load
        return ours
    from aiperf.endpoints import foreign  # noqa: PLC0415 - models that only plugins of that kind need

    entry = plugins.get_entry("endpoint", options.type)
    about = foreign.described(options, model=model, exact=exact, usage=usage)
    return foreign.Foreign(entry, cls, about, **plugins.given(entry, cls, options.options, "endpoint.options"))
