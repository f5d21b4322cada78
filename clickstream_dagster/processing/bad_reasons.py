"""Why a record is in `bad_event`."""

from enum import StrEnum


class BadReason(StrEnum):
    """Why a record is in `bad_event`."""

    BROKEN_OBJECT = "broken_object"
    """The raw object is cut or damaged behind its last whole line."""
    NOT_A_RECORD = "not_a_record"
    """A line that is no sink record: not a JSON object."""
    MISSING_BODY = "missing_body"
    """A record without `data`."""
    UNDECODABLE_BODY = "undecodable_body"
    """A body that is neither JSON nor base64 of gzip."""
    BODY_TOO_LARGE = "body_too_large"
    """A body that unpacks to more than MAX_BODY_BYTES."""
    NOT_JSON = "not_json"
    """A decoded body that no JSON reader takes."""
    TOO_DEEP = "too_deep"
    """A decoded body that is nested more than MAX_DEPTH levels."""
    NOT_AN_ARRAY = "not_an_array"
    """A JSON body that holds neither an array nor an object."""
    TOO_MANY_EVENTS = "too_many_events"
    """A body of more than MAX_EVENTS_A_BODY elements."""
    NOT_AN_OBJECT = "not_an_object"
    """An element of the body that is no JSON object."""
    MISSING_EVENT_ID = "missing_event_id"
    MISSING_EVENT_NAME = "missing_event_name"
    MISSING_APP_ID = "missing_app_id"
    MISSING_USER = "missing_user"
    """An event without `unique_id`."""
    MISSING_TIMESTAMP = "missing_timestamp"
    TIMESTAMP_OUT_OF_RANGE = "timestamp_out_of_range"
    """A client time that is no number, or outside of the years 2000 to 2099."""
    TIMESTAMP_IN_FUTURE = "timestamp_in_future"
    """A time more than MAX_AHEAD_MS behind the arrival, with its clock corrected."""
    EVENT_NAME_TOO_LONG = "event_name_too_long"
    INVALID_EVENT_NAME = "invalid_event_name"
    """An event name with other signs than letters, digits and _, or with a digit in front."""
    ID_TOO_LONG = "id_too_long"
    """An event_id, unique_id or app_id of more than MAX_ID_CHARACTERS."""

    WRONG_TYPE = "wrong_type"
    """A part of an event that is no number, object or array where its column holds one."""
    FIELD_TOO_LONG = "field_too_long"
    TOO_MANY_ATTRIBUTES = "too_many_attributes"
    ATTRIBUTE_NAME_TOO_LONG = "attribute_name_too_long"
    INVALID_ATTRIBUTE_NAME = "invalid_attribute_name"
    ATTRIBUTE_VALUE_TOO_LONG = "attribute_value_too_long"
    TOO_MANY_USER_ATTRIBUTES = "too_many_user_attributes"
    USER_ATTRIBUTE_NAME_TOO_LONG = "user_attribute_name_too_long"
    INVALID_USER_ATTRIBUTE_NAME = "invalid_user_attribute_name"
    USER_ATTRIBUTE_VALUE_TOO_LONG = "user_attribute_value_too_long"


DISCARDED = frozenset(
    {
        BadReason.WRONG_TYPE,
        BadReason.FIELD_TOO_LONG,
        BadReason.TOO_MANY_ATTRIBUTES,
        BadReason.ATTRIBUTE_NAME_TOO_LONG,
        BadReason.INVALID_ATTRIBUTE_NAME,
        BadReason.ATTRIBUTE_VALUE_TOO_LONG,
        BadReason.TOO_MANY_USER_ATTRIBUTES,
        BadReason.USER_ATTRIBUTE_NAME_TOO_LONG,
        BadReason.INVALID_USER_ATTRIBUTE_NAME,
        BadReason.USER_ATTRIBUTE_VALUE_TOO_LONG,
    }
)
"""Reasons that cost an event a part only: the row holds that part, the event goes on."""
