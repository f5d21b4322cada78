"""A session as an SDK records it: what is common to the Web, Android and iOS SDKs."""

import time
from abc import ABC, abstractmethod
from random import Random
from typing import Any

from clickstream_dagster.sample.journey import SHIPPING_USD, TAX_RATE, Step
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.profiles import Profile
from clickstream_dagster.sample.shop import CAMPAIGNS, Campaign, Product, item
from clickstream_dagster.sample.visitors import Visitor

SDK_NAME = "aws-solution-clickstream-sdk"
SECOND_MS = 1000
"""An engagement is sent from one second on (seed 000, "User engagement definition")."""

Event = dict[str, Any]

_CAMPAIGN_SHARES = [campaign.share for campaign in CAMPAIGNS]
_GENDERS = ("female", "male", "undisclosed")


def session_id(prefix: str, start_ms: int) -> str:
    """`prefix-yyyyMMdd-HHmmssSSS` in UTC (seed 000, "Sample event structure")."""
    clock = time.strftime("%Y%m%d-%H%M%S", time.gmtime(start_ms // 1000))
    return f"{prefix}-{clock}{start_ms % 1000:03}"


class Session(ABC):
    """Records the events of one session of a visitor, from `start_ms` device time on.

    `events` holds what was recorded, complete and in order. The constant fields of an event are
    copied from one template; `page` holds the attributes that hold until the next page or screen.
    """

    def __init__(
        self, plan: TrafficPlan, visitor: Visitor, profile: Profile, start_ms: int, rng: Random
    ) -> None:
        self.plan, self.visitor, self.profile, self.rng = plan, visitor, profile, rng
        self.start_ms = self.now_ms = start_ms
        self.is_first = visitor.sessions == 0
        visitor.sessions += 1
        self.campaign: Campaign = rng.choices(CAMPAIGNS, _CAMPAIGN_SHARES)[0]
        self.events: list[Event] = []
        self.page: dict[str, Any] = {}
        self._session = {
            "_session_id": session_id(self.session_prefix(), start_ms),
            "_session_start_timestamp": start_ms,
            "_session_duration": 0,
            "_session_number": visitor.sessions,
        }
        self._globals = self._global_attributes()
        self._user = self._ordinary_user()
        self._template = self.template()

    def session_prefix(self) -> str:
        """The part of the unique id that the SDK puts into session ids."""
        return self.profile.unique_id[-8:]

    @abstractmethod
    def template(self) -> Event:
        """All fields of an event in the order of the SDK, the changing ones still empty."""

    @abstractmethod
    def open(self) -> None:
        """Record what comes before the first page or screen."""

    @abstractmethod
    def show(self, step: Step) -> None:
        """Record a page or screen and what happens on it."""

    def close(self) -> None:
        """Record what comes after the last page or screen."""
        self.visitor.last_end_ms = max(self.visitor.last_end_ms, self.now_ms)

    def record(
        self,
        name: str,
        attributes: dict[str, Any] | None = None,
        *,
        items: list[dict[str, Any]] | None = None,
        ecommerce: dict[str, Any] | None = None,
        user: dict[str, Any] | None = None,
    ) -> None:
        """Record an event now, a few ms after the one before."""
        now = self.now_ms
        self.now_ms = now + 3 + int(self.rng.random() * 40)
        self._session["_session_duration"] = now - self.start_ms
        event = self._template.copy()
        event["event_type"] = name
        event["event_id"] = self.event_id()
        event["timestamp"] = now
        if items is not None:
            event["items"] = items
        if ecommerce is not None:
            event["ecommerce"] = ecommerce
        event["user"] = user or self._user
        event["attributes"] = {
            **self._session,
            **self.page,
            **self._globals,
            **(attributes or {}),
        }
        self.events.append(event)

    def event_id(self) -> str:
        """A version 4 UUID in lower case."""
        digits = f"{self.rng.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"

    def do(self, step: Step) -> None:
        """Record the deeds of a step, some seconds apart."""
        for deed in step.deeds:
            self.now_ms += 900 + int(self.rng.random() * 6000)
            if deed == "login":
                self._login()
            elif deed == "purchase":
                self._purchase(step.cart)
            elif step.product:
                self.record(
                    deed,
                    {
                        "product_id": step.product.id,
                        "price": step.product.price,
                        "in_stock": step.product.price < 230,
                    },
                    items=[item(step.product)],
                )
            else:
                self.record(
                    deed,
                    {"value": round(sum(p.price for p in step.cart), 2), "currency": "USD"},
                    items=[item(product) for product in step.cart],
                )

    def _login(self) -> None:
        visitor = self.visitor
        visitor.sign_in()
        self._user = self._ordinary_user()
        self.record("_profile_set", user=self._profile_user())
        self.record("login", {"method": "email" if self.start_ms % 3 else "single_sign_on"})

    def _purchase(self, cart: tuple[Product, ...]) -> None:
        country = self.visitor.country
        items = [item(product, 1 + int(self.rng.random() ** 4 * 4)) for product in cart]
        goods = sum(i["price"] * i["quantity"] for i in items)
        values = {"purchase_revenue": goods, "tax_value": goods * TAX_RATE}
        values["shipping_value"] = 0.0 if goods > 100 else SHIPPING_USD
        number = f"T-{self.start_ms:x}-{self.visitor.sessions}".upper()
        ecommerce = {
            "transaction_id": number,
            "total_item_quantity": sum(i["quantity"] for i in items),
            "unique_items": len(items),
        }
        for name, usd in values.items():
            ecommerce[name] = round(usd / country.usd_rate, 2)
            ecommerce[f"{name}_in_usd"] = round(usd, 2)
        self.record(
            "purchase",
            {
                "value": ecommerce["purchase_revenue"],
                "currency": country.currency,
                "transaction_id": number,
                "coupon": "WINTER10" if self.campaign.name == "winter_sale" else "",
            },
            items=items,
            ecommerce=ecommerce,
        )
        self.visitor.revenue = round(self.visitor.revenue + goods, 2)
        self.record("_profile_set", user=self._profile_user())

    def _global_attributes(self) -> dict[str, Any]:
        """Attributes that the app adds to all events (seed 000, "Reserved attributes")."""
        campaign, found = self.campaign, {}
        if campaign.medium:
            found["_traffic_source_source"] = campaign.source
            found["_traffic_source_medium"] = campaign.medium
            found["_traffic_source_name"] = campaign.name
        if self.visitor.country.privacy_banner:
            answer = "Yes" if self.profile.consent else "No"
            found["_privacy_info_ads_storage"] = answer
            found["_privacy_info_analytics_storage"] = "Yes"
            found["_privacy_info_uses_transient_token"] = "No"
        return found

    def _ordinary_user(self) -> dict[str, Any]:
        """The `user` of ordinary events: who, and since when; the rest goes with _profile_set."""
        visitor, user = self.visitor, {}
        if visitor.user_id:
            user["_user_id"] = _value(visitor.user_id, visitor.first_touch_ms)
        user["_user_first_touch_timestamp"] = _value(visitor.first_touch_ms, visitor.first_touch_ms)
        return user

    def _profile_user(self) -> dict[str, Any]:
        visitor, now = self.visitor, self.now_ms
        rng = Random(visitor.key)
        user = {
            **self._ordinary_user(),
            "_user_name": _value(f"Customer {visitor.user_id}", now),
            "_user_age": _value(18 + int(rng.random() * 50), now),
            "_user_gender": _value(rng.choice(_GENDERS), now),
            "_user_city": _value(rng.choice(visitor.country.cities), now),
            "newsletter": _value(rng.random() < 0.3, now),
        }
        if visitor.revenue:
            user["_user_ltv_revenue"] = _value(visitor.revenue, now)
            user["_user_ltv_currency"] = _value("USD", now)
        return user


def _value(value: object, set_ms: int) -> dict[str, object]:
    return {"value": value, "set_timestamp": set_ms}
