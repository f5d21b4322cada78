"""Bounds on what is read, so that hostile input stays cheap, and on how late it may come."""

# A sink record is one HTTP request of at most 1 MB (seed 000, "Ingestion endpoint") and its
# envelope; JSON escaping can double a body.
MAX_RECORD_BYTES = 16 << 20

# What a request body may grow to when it is unpacked. The SDKs send at most 512 KB.
MAX_BODY_BYTES = 32 << 20

# Clocks outside of these years say nothing about when something happened. ms since 1970.
MIN_TIMESTAMP_MS = 946_684_800_000  # 2000-01-01
MAX_TIMESTAMP_MS = 4_102_444_800_000  # 2100-01-01

# Events that tell about the user are kept however late they come.
FRESHNESS_EXEMPT = ("_first_open", "_first_visit", "_profile_set")

# How deep a JSON text may be nested; the SDKs' bodies have 5 levels.
MAX_DEPTH = 256
