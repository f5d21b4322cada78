"""The real Web SDK in a real browser, on a page of another origin, into the views."""

import http.server
import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import Page

from clickstream_dagster.sdk_config_command import Platform, config_of
from tests.chromium import chromium_page
from tests.collector.pipeline import Pipeline
from tests.collector.running import RunningCollector, records_in, running_collector
from tests.collector.web_sdk import NAME, web_sdk
from tests.served import eventually, free_port, in_a_thread

pytestmark = pytest.mark.heavy

MODES = {"shop_immediate": "", "shop_batch": "  sendMode: SendMode.Batch,\n"}
USER_AGENT = (
    "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"
    " Chrome/142.0.0.0 Safari/537.36"
)
SECONDS_TO_SEND = 20
DAY_MS = 86_400_000
PAGE = """\
<!doctype html>
<html>
<head>
<meta charset="utf-8">
<title>Home</title>
<script type="importmap">{{"imports": {{"{name}": "/sdk.mjs"}}}}</script>
<script type="module">
{snippet}
window.sdk = ClickstreamAnalytics;
window.show = (title, path) => {{
  document.title = title;
  history.pushState({{}}, title, path);
}};
</script>
</head>
<body style="height: 4000px">
<a id="partner" class="link big" href="https://partner.example/offer" target="partner">Offer</a>
<script>document.getElementById('partner').onclick = event => event.preventDefault();</script>
</body>
</html>
"""
# What a visit sends, whichever way it is sent.
VISIT = {
    "_first_open": 1,
    "_session_start": 1,
    "_page_view": 3,
    "_profile_set": 2,
    "_search": 1,
    "_scroll": 1,
    "_click": 1,
    "_user_engagement": 1,
    "add_to_cart": 1,
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory) -> Iterator[Pipeline]:
    """Lake and warehouse after a visit to a page that sends at once, and one that sends batches."""
    directory = tmp_path_factory.mktemp("web_sdk")
    pages, port = directory / "pages", free_port()
    pages.mkdir()
    (pages / "sdk.mjs").write_bytes(web_sdk().read_bytes())
    origin = f"http://localhost:{port}"
    options = ("--origin", origin, "--segment-seconds", "1")
    with (
        served_pages(pages, port),
        running_collector(directory, *options, apps=tuple(MODES)) as collector,
    ):
        for app in MODES:
            (pages / f"{app}.html").write_text(page_of(app, collector))
            visit(directory / app, f"{origin}/{app}.html", app, collector)
        pipeline = Pipeline(directory)
        counters = pipeline.process(collector, *MODES)
        assert {
            name: counters[name] for name in ("written", "bad", "duplicate", "foreign_app")
        } == {
            "written": len(MODES) * sum(VISIT.values()),
            "bad": 0,
            "duplicate": 0,
            "foreign_app": 0,
        }
        pipeline.model()
        yield pipeline


def page_of(app: str, collector: RunningCollector) -> str:
    """Give a page with the code that `sdk-config` prints, and the mode put in."""
    snippet = config_of(Platform.WEB, app, f"http://127.0.0.1:{collector.port}/collect")
    snippet = snippet.replace("});", f"{MODES[app]}}});")
    snippet = snippet.replace("{ ClickstreamAnalytics }", "{ ClickstreamAnalytics, SendMode }")
    return PAGE.format(name=NAME, snippet=snippet)


def visit(profile: Path, address: str, app: str, collector: RunningCollector) -> None:
    """Do on the page what a visitor does, and wait until all that it sends has been shipped."""
    with chromium_page(profile, user_agent=USER_AGENT) as page:
        page.goto(address)
        page.wait_for_function("window.sdk !== undefined")
        page.evaluate("sdk.setUserId('user-1')")
        page.evaluate("sdk.setUserAttributes({_user_name: 'Größe', plan: 'gold', age: 41})")
        page.evaluate("show('Results', '/search?q=red+shoes')")
        page.locator("#partner").click()
        page.mouse.wheel(0, 5_000)
        wait_for(page, app, collector, "_scroll")
        page.evaluate("""sdk.record({
            name: 'add_to_cart',
            attributes: {value: 12.5, in_stock: true, sku: '007'},
            items: [{id: 'i1', name: 'Shoe', price: 12.5, quantity: 2}],
        })""")
        page.wait_for_timeout(1_100)  # the SDK tells of engagement of more than a second
        page.evaluate("show('Product', '/product/1')")
        wait_for(page, app, collector, "_page_view", 3)


def wait_for(page: Page, app: str, collector: RunningCollector, name: str, times: int = 1) -> None:
    """Wait until events of a name are in the sink."""

    def arrived() -> bool:
        page.wait_for_timeout(100)  # Playwright lets the page's requests go on only meanwhile
        return Counter(event["event_type"] for event in sent(collector, app))[name] == times

    eventually(
        arrived, SECONDS_TO_SEND, lambda: [one["event_type"] for one in sent(collector, app)]
    )


def sent(collector: RunningCollector, app: str) -> list[dict]:
    """Give the events of an app that are in the sink."""
    records = [one for one in records_in(collector.sink) if one["appId"] == app]
    return [event for record in records for event in json.loads(record["data"])]


@contextmanager
def served_pages(folder: Path, port: int) -> Iterator[None]:
    """Serve the files of a folder at a port."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    pages = partial(Quiet, directory=str(folder))
    with in_a_thread(http.server.ThreadingHTTPServer(("127.0.0.1", port), pages)):
        yield


@pytest.mark.parametrize("app", MODES)
def test_a_visit_arrives_event_by_event(shop: Pipeline, app: str) -> None:
    rows = shop.query(f"select event_name from clickstream_ods_event_view where app_id = '{app}'")

    assert Counter(row["event_name"] for row in rows) == VISIT


def test_each_mode_sends_in_its_own_way(shop: Pipeline) -> None:
    sizes: dict[str, list[int]] = {app: [] for app in MODES}
    for record in records_in(shop.directory / "raw"):
        query = parse_qs(urlsplit(record["uri"]).query)
        assert query["event_bundle_sequence_id"] == [str(len(sizes[record["appId"]]) + 1)]
        assert record["client_timestamp"] == query["upload_timestamp"][0]
        assert record["ua"] == USER_AGENT
        sizes[record["appId"]].append(len(json.loads(record["data"])))

    assert sizes["shop_immediate"] == [1] * sum(VISIT.values())
    assert 1 < len(sizes["shop_batch"]) < sum(VISIT.values()) == sum(sizes["shop_batch"])


@pytest.mark.parametrize("app", MODES)
def test_the_session_view_shows_the_visit(shop: Pipeline, app: str) -> None:
    (session,) = shop.query(f"select * from clickstream_session_view where app_id = '{app}'")
    (first,) = shop.query(
        "select event_timestamp, user_pseudo_id from clickstream_ods_event_view"
        f" where app_id = '{app}' and event_name = '_session_start'"
    )

    start = session["session_start_timestamp"]
    assert 0 <= first["event_timestamp"] - start < 1_000
    assert session["session_id"].startswith(first["user_pseudo_id"][-8:])
    assert 1_100 < session["session_engagement_time"] <= session["session_duration"] < 60_000
    assert session["session_date"] == datetime.fromtimestamp(
        start // DAY_MS * DAY_MS // 1_000, UTC
    ).replace(tzinfo=None)
    told = ("user_pseudo_id", "platform", "session_views", "engaged_session", "bounced_session")
    assert {name: session[name] for name in (*told, "entry_view", "exit_view")} == {
        "user_pseudo_id": first["user_pseudo_id"],
        "platform": "Web",
        "session_views": 3,
        "engaged_session": 1,
        "bounced_session": 0,
        "entry_view": "Home",
        "exit_view": "Product",
    }


@pytest.mark.parametrize("app", MODES)
def test_the_user_views_show_the_visitor(shop: Pipeline, app: str) -> None:
    (user,) = shop.query(f"select * from clickstream_user_dim_view where app_id = '{app}'")
    attributes = shop.query(f"select * from clickstream_user_attr_view where app_id = '{app}'")

    assert (user["is_registered"], user["first_platform"]) == ("Registered", "Web")
    assert user["first_visit_device_language"] == "en"
    assert {row["user_id"] for row in attributes} == {"user-1"}
    values = {row["custom_attr_key"]: row["custom_attr_value"] for row in attributes}
    del values["_user_first_touch_timestamp"]
    assert values == {"_user_id": "user-1", "_user_name": "Größe", "plan": "gold", "age": "41"}


@pytest.mark.parametrize("app", MODES)
@pytest.mark.parametrize(
    ("event", "parameters"),
    [
        ("_search", {"_search_key": "q", "_search_term": "red shoes"}),
        (
            "_click",
            {
                "_link_url": "https://partner.example/offer",
                "_link_domain": "partner.example",
                "_link_classes": "link big",
                "_link_id": "partner",
                "_outbound": "true",
            },
        ),
        ("_scroll", {"_page_title": "Results"}),
        ("add_to_cart", {"value": "12.5", "in_stock": "true", "sku": "007"}),
    ],
)
def test_what_the_visitor_did_is_in_the_parameters(
    shop: Pipeline, app: str, event: str, parameters: dict[str, str]
) -> None:
    rows = shop.query(
        "select event_parameter_key, event_parameter_value from clickstream_ods_event_attr_view"
        f" where app_id = '{app}' and event_name = '{event}'"
    )

    values = {row["event_parameter_key"]: row["event_parameter_value"] for row in rows}
    assert {name: values.get(name) for name in parameters} == parameters
