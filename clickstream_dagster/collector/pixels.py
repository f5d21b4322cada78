"""Events from places that run no script: an image in a mail or in a noscript element.

    <img src="https://…/collect?platform=Mail&appId=shop&event_type=mail_open&unique_id=42">

`event_type` and one of `unique_id` and `device_id` are needed; `attributes.<name>` becomes an
attribute, the other parameters of EVENT_FIELDS become fields of the event. `data=` takes events as
the body of a POST has them instead, URL-encoded. The answer is a transparent image of one pixel.
"""

import orjson

from clickstream_dagster.collector.refusal import RefusalError

GIF = bytes.fromhex(
    "47494638396101000100800000000000ffffff21f90401000000002c00000000010001000002024401003b"
)
HEADERS = [("content-type", "image/gif"), ("cache-control", "no-store, max-age=0")]

EVENT_FIELDS = ("unique_id", "device_id", "locale", "host_name", "app_title", "app_version")
_ATTRIBUTE = "attributes."


def events_of(parameters: dict[str, str], event_id: str, now_ms: int) -> str:
    """Give the events of a GET request as JSON text, empty when it names none.

    An event made here gets `event_id`, and `now_ms` unless `timestamp` (ms) is given: an image
    that is fetched twice is two events. Raises RefusalError (400) where a parameter is missing.
    """
    if "data" in parameters:
        return parameters["data"]
    event_type = parameters.get("event_type")
    if not event_type:
        return ""
    user = parameters.get("unique_id") or parameters.get("device_id")
    if not user:
        raise RefusalError(400, "event_type needs unique_id or device_id beside it")
    timestamp = parameters.get("timestamp", "")
    event = {
        "event_type": event_type,
        "event_id": event_id,
        "timestamp": int(timestamp) if timestamp.isascii() and timestamp.isdigit() else now_ms,
        "app_id": parameters.get("appId"),
        "platform": parameters.get("platform"),
        "unique_id": user,
        "device_id": user,
    }
    event |= {name: parameters[name] for name in EVENT_FIELDS if name in parameters}
    event["attributes"] = {
        name.removeprefix(_ATTRIBUTE): value
        for name, value in parameters.items()
        if name.startswith(_ATTRIBUTE)
    }
    try:
        return orjson.dumps([event]).decode()
    except (TypeError, orjson.JSONEncodeError) as error:
        raise RefusalError(400, f"the parameters make no event: {error}") from error
