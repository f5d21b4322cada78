"""Sessions in a browser, with the events and fields of the Web SDK 0.12."""

from urllib.parse import quote, urlsplit

from clickstream_dagster.sample.journey import Step
from clickstream_dagster.sample.session import SDK_NAME, SECOND_MS, Event, Session

_TITLES = {
    "home": ("/", "Home"),
    "cart": ("/cart", "Your cart"),
    "checkout": ("/checkout", "Checkout"),
    "confirmation": ("/checkout/thank-you", "Thank you for your order"),
    "account": ("/account", "Your account"),
}
_OUTBOUND = ("https://support.example.org/returns", "https://www.example.net/reviews?sort=newest")


class WebSession(Session):
    """A session on the shop's web site."""

    def template(self) -> Event:
        profile, country = self.profile, self.visitor.country
        height, width = profile.screen
        self._host = f"www.{self.plan.project_id.replace('_', '-')}.example.com"
        self._view_ms = 0
        return {
            "event_type": "",
            "event_id": "",
            "device_id": profile.device_id,
            "unique_id": profile.unique_id,
            "app_id": profile.app_id,
            "timestamp": 0,
            "host_name": self._host,
            "locale": f"{profile.language}-{country.code}",
            "system_language": profile.language,
            "country_code": country.code,
            "zone_offset": country.zone_ms,
            "make": profile.device.make,
            "platform": "Web",
            "screen_height": height,
            "screen_width": width,
            "viewport_height": height - 120 if height > 600 else height,
            "viewport_width": width - 15,
            "sdk_name": SDK_NAME,
            "sdk_version": "0.12.2",
            "items": [],
            "user": {},
            "attributes": {},
        }

    def open(self) -> None:
        referrer = self.campaign.referrer
        self.page = {
            "_page_title": "",
            "_page_url": "",
            "_latest_referrer": referrer,
            "_latest_referrer_host": urlsplit(referrer).hostname or "",
        }

    def show(self, step: Step) -> None:
        before, page = self.page, self.page.copy()
        is_entry = not before["_page_url"]
        path, page["_page_title"] = _address(step)
        page["_page_url"] = f"https://{self._host}{path}"
        if is_entry and self.campaign.query:
            page["_page_url"] += f"{'&' if '?' in path else '?'}{self.campaign.query}"
        self.page = page
        if is_entry:
            if self.is_first:
                self.record("_first_open")
            self.record("_session_start")
        self._view(before, is_entry)
        entered = self.now_ms
        if step.term:
            self.record("_search", {"_search_key": "q", "_search_term": step.term})
        self.do(step)
        if step.scrolled:
            self.now_ms += int(step.dwell_ms * 0.4)
            self.record("_scroll", {"_engagement_time_msec": self.now_ms - entered})
        if step.clicked:
            self._click(step)
        self.now_ms = max(self.now_ms, entered + step.dwell_ms)
        if self.now_ms - entered > SECOND_MS:
            self.record("_user_engagement", {"_engagement_time_msec": self.now_ms - entered})

    def _view(self, before: dict[str, str], is_entry: bool) -> None:
        attributes = {
            "_page_referrer": before["_page_url"] or before["_latest_referrer"],
            "_page_referrer_title": before["_page_title"],
            "_entrances": 1 if is_entry else 0,
        }
        if self._view_ms:
            attributes["_previous_timestamp"] = self._view_ms
            attributes["_engagement_time_msec"] = self.now_ms - self._view_ms
        self._view_ms = self.now_ms
        self.record("_page_view", attributes)

    def _click(self, step: Step) -> None:
        self.now_ms += 500 + int(self.rng.random() * 5000)
        url = _OUTBOUND[step.dwell_ms % 2]
        self.record(
            "_click",
            {
                "_link_url": url,
                "_link_domain": urlsplit(url).hostname,
                "_link_classes": "link link--footer",
                "_link_id": f"{step.place}-link",
                "_outbound": True,
            },
        )


def _address(step: Step) -> tuple[str, str]:
    """Path (with query) and title of a step's page."""
    if step.product:
        return f"/products/{step.product.id.lower()}", step.product.name
    if step.category:
        category, sub = step.category
        return f"/shop/{category}/{sub}", f"{sub.capitalize()} | {category.capitalize()}"
    if step.term:
        return f"/search?q={quote(step.term)}", f"Search: {step.term}"
    return _TITLES[step.place]
