"""Which kind of device or program each of a table of user agents belongs to."""

from pathlib import Path

import pytest

from clickstream_plugins.ua import parse_user_agent

TABLE = Path(__file__).with_name("user_agents.tsv").read_text().splitlines()


@pytest.mark.parametrize(("category", "text"), [line.split("\t") for line in TABLE])
def test_a_user_agent_has_its_category(category: str, text: str) -> None:
    found = parse_user_agent(text)
    assert found.ua_device_category == category
    assert found.is_bot == (category == "Bot")
