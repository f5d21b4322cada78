"""The rules of names that sinks have: of a stream, a broker, a topic."""

import re

STREAM = re.compile(r"[A-Za-z0-9_.-]{1,128}")
STREAM_RULE = "up to 128 letters, digits, _, . and -"

BROKER = re.compile(r"([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):\d{1,5}")
BROKER_RULE = "host:port; user and password go into the environment"

# Kafka's own rule, but for the first character: batches pass over names that start with . or _.
TOPIC = re.compile(r"[A-Za-z0-9-][A-Za-z0-9._-]{0,248}")
TOPIC_RULE = "up to 249 letters, digits, ., _ and -, with none of . and _ in front"
