"""Bounds on what is read, so that hostile input stays cheap, and on how late it may come."""

# A sink record is one HTTP request of at most 1 MB (seed 000, "Ingestion endpoint") and its
# envelope; JSON escaping can double a body.
MAX_RECORD_BYTES = 16 << 20

# What a request body may grow to when it is unpacked. The SDKs send at most 512 KB.
MAX_BODY_BYTES = 32 << 20

# Elements of a request body. The SDKs send some hundreds at most; a body of zeros may hold
# millions, and each would be a bad record.
MAX_EVENTS_A_BODY = 20_000

# Clocks outside of these years say nothing about when something happened. ms since 1970.
MIN_TIMESTAMP_MS = 946_684_800_000  # 2000-01-01
MAX_TIMESTAMP_MS = 4_102_444_800_000  # 2100-01-01

# What a request tells beside its body is repeated for each of its events, so it is cut at as many
# characters: addresses and user agents of servers that pass on what they get have fewer.
MAX_REQUEST_TEXT_CHARACTERS = 4_096
MAX_ENVELOPE_CHARACTERS = 16_384

# Events that become columns at once: a body of some megabytes may hold a million of them.
SLICE_EVENTS = 16_384

# Ids are keys: one that is longer can't be cut, so its event is bad. Redshift's VARCHAR(255).
MAX_ID_CHARACTERS = 255

# Seed 000, "Event and attribute limitation" and "Naming rules". The SDKs refuse an event whose
# name breaks them: it is a bad event here. They discard an attribute that does, and so does the
# processing: the event goes on without it, and bad_event gets its name, its bytes and a reason.
MAX_EVENT_NAME_CHARACTERS = 50
MAX_ATTRIBUTES = 500
MAX_ATTRIBUTE_NAME_CHARACTERS = 50
MAX_ATTRIBUTE_VALUE_CHARACTERS = 1_024
MAX_USER_ATTRIBUTES = 100
MAX_USER_ATTRIBUTE_NAME_CHARACTERS = 50
MAX_USER_ATTRIBUTE_VALUE_CHARACTERS = 256
NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"

# The SDKs do not hold what they collect themselves to the limit of values: addresses of pages and
# stack traces are longer. Names of such attributes begin with _.
MAX_PRESET_VALUE_CHARACTERS = 65_535

# Any other text of an event: brand, model, locale, … A longer one is discarded.
MAX_FIELD_CHARACTERS = 1_024

# How far a device's clock may be off the collector's before its events are shifted. Less is left
# alone: the copies of a retried event then keep one time, whenever they arrive.
MAX_CLOCK_DIFFERENCE_MS = 600_000

# How far ahead of its arrival an event may be, for clocks that no time of upload corrects.
MAX_AHEAD_MS = 86_400_000

# Events that tell about the user are kept however late they come.
FRESHNESS_EXEMPT = ("_first_open", "_first_visit", "_profile_set")

# How deep a JSON text may be nested; the SDKs' bodies have 5 levels.
MAX_DEPTH = 256
