"""Where a visit comes from: what the app says, else the address, else the referrer."""

from pathlib import Path

import pytest

from clickstream_dagster.errors import PluginError
from clickstream_dagster.processing.plugins import (
    ENRICHMENTS,
    PluginChoice,
    PluginContext,
    load_plugin,
)
from tests.plugins.events_input import params, rows_of

SHOP = "https://www.shop.example/"
CONTEXT = PluginContext("demo", ("shop",))


def judged(config: dict | None = None, context: PluginContext = CONTEXT, **fields: object) -> dict:
    """Give the traffic source of one event, without what is null.

    `fields` are event parameters, except for host, install_source and sent (source, medium, name).
    """
    host = fields.pop("host", "www.shop.example")
    sent = fields.pop("sent", {})
    row = {
        "event_params": params(**fields),
        "device": {"host_name": host},
        "app_info": {"install_source": fields.pop("install_source", None)},
        "traffic_source": sent,
    }
    plugin = load_plugin(PluginChoice("traffic_source", config or {}), ENRICHMENTS, context)
    (found,) = rows_of(plugin, row)
    own = {
        name.removeprefix("traffic_source_"): value
        for name, value in found.items()
        if name.startswith("traffic_source_")
    }
    return {
        name: value
        for name, value in {**found["traffic_source"], **own}.items()
        if value is not None
    }


def facts(*values: str | None) -> dict:
    names = ("source", "medium", "category", "channel_group")
    return {name: value for name, value in zip(names, values, strict=True) if value}


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("?utm_source=google&utm_medium=cpc", facts("google", "cpc", "search", "Paid Search")),
        ("?utm_source=google", facts("google", None, "search", "Organic Search")),
        ("?utm_source=fb&utm_medium=paid_social", facts("fb", "paid_social", "social", "Paid Soc")),
        ("?utm_source=ig&utm_medium=social", facts("ig", "social", "social", "Organic Social")),
        ("?utm_source=yt&utm_medium=cpv", facts("yt", "cpv", "video", "Paid Video")),
        ("?utm_source=news&utm_medium=e-mail", facts("news", "e-mail", None, "Email")),
        ("?utm_source=x.com", facts("x.com", None, "social", "Organic Social")),
        ("?utm_source=a&utm_medium=affiliate", facts("a", "affiliate", None, "Affiliates")),
        ("?utm_source=a&utm_medium=sms", facts("a", "sms", None, "SMS")),
        ("?utm_source=a&utm_medium=banner", facts("a", "banner", None, "Display")),
        ("?utm_source=a&utm_medium=web_push", facts("a", "web_push", None, "Mobile Push")),
        ("?utm_source=a&utm_medium=podcast", facts("a", "podcast", None, "Audio")),
        ("?utm_source=a&utm_medium=ppc", facts("a", "ppc", None, "Paid Other")),
        ("?utm_source=a&utm_medium=poster", facts("a", "poster", None, "Unassigned")),
        ("?utm_source=amazon&utm_medium=cpc", facts("amazon", "cpc", "shopping", "Paid Shopping")),
        ("#/home?utm_source=a&utm_medium=sms", facts("a", "sms", None, "SMS")),
        ("?UTM_Source=a&utm_medium=%20sms%20", facts("a", "sms", None, "SMS")),
        ("?utm_source=&q=1", facts(None, None, None, "Direct")),
        ("", facts(None, None, None, "Direct")),
    ],
)
def test_what_the_address_states_decides(url: str, expected: dict) -> None:
    found = judged(page_url=f"{SHOP}{url}")
    assert found.pop("channel_group").startswith(expected.pop("channel_group"))
    assert found == expected


def test_every_part_of_a_campaign_has_its_column() -> None:
    url = (
        f"{SHOP}?utm_source=news&utm_medium=email&utm_campaign=May%20sale&utm_id=77"
        "&utm_term=shoes&utm_content=top&utm_source_platform=Mailer"
    )
    assert judged(page_url=url) == {
        "source": "news",
        "medium": "email",
        "name": "May sale",
        "campaign_id": "77",
        "term": "shoes",
        "content": "top",
        "clid_platform": "Mailer",
        "channel_group": "Email",
    }


@pytest.mark.parametrize(
    ("query", "source", "medium", "platform", "channel"),
    [
        ("gclid=k1", "google", "cpc", "Google Ads", "Paid Search"),
        ("wbraid=k1", "google", "cpc", "Google Ads", "Paid Search"),
        ("dclid=k1", "google", "display", "Google Display & Video", "Display"),
        ("msclkid=k1", "bing", "cpc", "Microsoft Advertising", "Paid Search"),
        ("fbclid=k1", "facebook", "social", "Meta", "Organic Social"),
        ("ttclid=k1", "tiktok", "cpc", "TikTok Ads", "Paid Video"),
        ("li_fat_id=k1", "linkedin", "cpc", "LinkedIn Ads", "Paid Social"),
        ("newclid=k1", None, "cpc", None, "Paid Other"),
        (
            "utm_source=google&utm_medium=display&gclid=k1",
            "google",
            "display",
            "Google Ads",
            "Disp",
        ),
        ("utm_source=fb&gclid=k1", "fb", None, "Google Ads", "Organic Social"),
        ("utm_source=fb&fbclid=k1", "fb", "social", "Meta", "Organic Social"),
    ],
)
def test_a_click_id_fills_what_utm_leaves_open(
    query: str, source: str | None, medium: str | None, platform: str | None, channel: str
) -> None:
    found = judged(page_url=f"{SHOP}?{query}")
    assert (found.get("source"), found.get("medium")) == (source, medium)
    assert (found["clid"], found.get("clid_platform")) == ("k1", platform)
    assert found["clid_type"] == query.split("&")[-1].removesuffix("=k1")
    assert found["channel_group"].startswith(channel)


def test_what_no_warehouse_takes_is_not_read_from_an_address() -> None:
    url = f"{SHOP}?utm_source=a%00b&utm_term={'t' * 5_000}&{'x' * 2_000}clid={'c' * 2_000}"
    found = judged(page_url=url)
    assert (found["source"], found["term"], found["clid"]) == ("a\ufffdb", "t" * 1_024, "c" * 1_024)
    assert found["clid_type"] == "x" * 1_024


@pytest.mark.parametrize(
    ("referrer", "expected"),
    [
        ("https://www.google.com/", facts("google", "organic", "search", "Organic Search")),
        ("https://www.google.co.uk/", facts("google", "organic", "search", "Organic Search")),
        ("https://google.evil.example/", facts("google.evil.example", "referral", None, "Ref")),
        ("https://mail.google.com/mail/", facts("gmail", "email", "email", "Email")),
        ("https://gemini.google.com/app", facts("gemini", "referral", "ai", "AI Assistants")),
        ("https://chatgpt.com/", facts("chatgpt", "referral", "ai", "AI Assistants")),
        ("https://t.co/x", facts("twitter", "referral", "social", "Organic Social")),
        ("https://m.youtube.com/watch", facts("youtube", "referral", "video", "Organic Video")),
        ("https://www.amazon.de/", facts("amazon", "referral", "shopping", "Organic Shopping")),
        ("android-app://com.google.android.gm/", facts("gmail", "email", "email", "Email")),
        ("https://www.blog.example.org/a", facts("blog.example.org", "referral", None, "Referral")),
        ("blog.example.org", facts("blog.example.org", "referral", None, "Referral")),
        ("http://[::1", facts(None, None, None, "Direct")),
        ("about:blank", facts(None, None, None, "Direct")),
        ("javascript:alert(1)", facts(None, None, None, "Direct")),
        ("null", facts(None, None, None, "Direct")),
        ("https://shop.example/cart", facts(None, None, None, "Internal")),
        ("https://help.shop.example/", facts(None, None, None, "Internal")),
        ("https://myshop.example/", facts("myshop.example", "referral", None, "Referral")),
    ],
)
def test_a_referrer_is_known_by_its_host(referrer: str, expected: dict) -> None:
    found = judged(page_url=SHOP, latest_referrer=referrer)
    assert found.pop("channel_group").startswith(expected.pop("channel_group"))
    assert found == expected


def test_what_was_searched_for_becomes_the_term() -> None:
    found = judged(page_url=SHOP, latest_referrer="https://www.bing.com/search?q=red+shoes&x=1")
    assert (found["source"], found["term"]) == ("bing", "red shoes")


def test_the_latest_referrer_from_outside_counts_before_the_page_before() -> None:
    own, google = f"{SHOP}cart", "https://www.google.com/"
    assert judged(page_referrer=own, latest_referrer=google)["source"] == "google"
    assert judged(page_referrer=google, latest_referrer=own)["source"] == "google"
    assert judged(page_referrer=own, latest_referrer_host="duckduckgo.com")["source"] == (
        "duckduckgo"
    )


def test_a_campaign_on_the_landing_page_counts_on_the_next_page_too() -> None:
    landing = f"{SHOP}?utm_source=news&utm_medium=email"
    assert judged(page_url=f"{SHOP}cart", page_referrer=landing)["source"] == "news"


def test_what_the_app_sends_wins_and_mixes_only_with_the_same_source() -> None:
    url = f"{SHOP}?utm_source=google&utm_medium=cpc&utm_campaign=brand"
    assert judged(page_url=url, sent={"source": "partner"}) == {
        "source": "partner",
        "channel_group": "Unassigned",
    }
    same = judged(page_url=url, sent={"source": "Google", "name": "mine"})
    assert (same["source"], same["medium"], same["name"]) == ("Google", "cpc", "mine")
    assert judged(sent={"source": "", "medium": ""})["channel_group"] == "Direct"
    later_sdk = judged(
        traffic_source_campaign="spring", traffic_source_campaign_id=12, sent={"source": "tv"}
    )
    assert (later_sdk["name"], later_sdk["campaign_id"]) == ("spring", "12")


def test_an_app_from_a_store_has_a_channel_and_no_made_up_source() -> None:
    plugin = load_plugin("traffic_source", ENRICHMENTS, CONTEXT)
    store, bare = rows_of(plugin, {"app_info": {"install_source": "Play"}}, {"event_id": "e2"})
    assert store["traffic_source_channel_group"] == "App Store"
    assert store["traffic_source"] == {"medium": None, "name": None, "source": None}
    assert bare["traffic_source_channel_group"] == "Direct"


def test_own_domains_are_no_referrers() -> None:
    config = {"internal_domains": ["pay.example"]}
    referrer = "https://secure.pay.example/done"
    assert judged(page_url=SHOP, latest_referrer=referrer)["channel_group"] == "Referral"
    assert judged(config, page_url=SHOP, latest_referrer=referrer)["channel_group"] == "Internal"


def test_own_rules_stand_in_front_of_the_built_in_ones(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text(
        "sources: [{source: intranet, category: partner, domains: [google.com]}]\n"
        "click_ids: [{parameter: shopclick, platform: Shop Network, source: net, medium: cpc}]\n"
        "channels: [{channel: Partners, when: [{category: partner}]}]\n"
    )
    context = PluginContext("demo", ("shop",), root=str(tmp_path))
    config = {"rules": "rules.yaml"}
    by_referrer = judged(config, context, page_url=SHOP, latest_referrer="https://google.com/")
    assert by_referrer == facts("intranet", "referral", "partner", "Partners")
    others = judged(config, context, page_url=SHOP, latest_referrer="https://google.de/")
    assert others["channel_group"] == "Organic Search"
    click = judged(config, context, page_url=f"{SHOP}?shopclick=7")
    assert (click["source"], click["clid_platform"]) == ("net", "Shop Network")
    inline = {"rules": {"channels": [{"channel": "All", "when": [{"medium": ".*"}]}]}}
    assert judged(inline, page_url=f"{SHOP}?utm_source=a")["channel_group"] == "All"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sources: [{source: a}]", r"rules\.yaml: sources\.0\.category: Field required"),
        ("channels: [{channel: a, when: [{medium: '('}]}]", r"no regular expression"),
        ("channels: [{channel: a, when: [{}]}]", r"fits everything"),
        ("sources: [{source: a, category: b, domains: ['https://a/']}]", r"write a host"),
        ("- a", r"holds no mapping"),
        ("a: [", r"rules\.yaml can't be read"),
    ],
)
def test_wrong_rules_name_the_file_and_the_place(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    context = PluginContext("demo", ("shop",), root=str(tmp_path))
    with pytest.raises(PluginError, match=message):
        load_plugin(PluginChoice("traffic_source", {"rules": "rules.yaml"}), ENRICHMENTS, context)


def test_rows_keep_their_own_source_in_a_batch_of_many() -> None:
    plugin = load_plugin("traffic_source", ENRICHMENTS, CONTEXT)
    sources = [f"s{number % 7}" for number in range(200)]
    rows = [
        {"event_params": params(page_url=f"{SHOP}{place}?utm_source={source}")}
        for place, source in enumerate(sources)
    ]
    assert [row["traffic_source"]["source"] for row in rows_of(plugin, *rows)] == sources
