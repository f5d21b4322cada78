"""Query strings: what a request says beside its body."""

from urllib.parse import unquote_plus

MAX_PARAMETERS = 200
"""More say nothing: the SDKs send six."""


def parameters(query: str) -> dict[str, str]:
    """Give the parameters of a query string; of a name that comes twice, the last one."""
    found = {}
    is_escaped = "%" in query or "+" in query
    for pair in query.split("&", MAX_PARAMETERS):
        name, _, value = pair.partition("=")
        if is_escaped:
            name, value = unquote_plus(name), unquote_plus(value)
        found[name] = value
    return found


def without(query: str, name: str) -> str:
    """Give a query string without a parameter, as it is written otherwise."""
    return "&".join(
        pair for pair in query.split("&") if unquote_plus(pair.partition("=")[0]) != name
    )
