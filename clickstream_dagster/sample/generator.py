"""The traffic of a plan: sessions turned into requests, in order of their arrival."""

import heapq
from collections.abc import Iterator
from random import Random

from clickstream_dagster.processing.limits import FRESHNESS_EXEMPT, MAX_CLOCK_DIFFERENCE_MS
from clickstream_dagster.sample.app_sdk import AppSession
from clickstream_dagster.sample.journey import journey
from clickstream_dagster.sample.places import COUNTRIES
from clickstream_dagster.sample.plan import TrafficPlan
from clickstream_dagster.sample.profiles import Profile, Profiles
from clickstream_dagster.sample.requests import RawRequest, address_of, bundles, encode, stored
from clickstream_dagster.sample.rhythm import SLOT_MS, slots
from clickstream_dagster.sample.session import Event, Session
from clickstream_dagster.sample.trouble import (
    Quota,
    Trouble,
    broken_body,
    clock_error_ms,
    lateness_ms,
    retry_delay_ms,
)
from clickstream_dagster.sample.visitors import EVENTS_PER_SESSION, Audience, Visitor
from clickstream_dagster.sample.web_sdk import WebSession

FOREIGN_APP = "not_our_app"
FRESHNESS_MS = 72 * 3_600_000

_SESSION_TROUBLE = (Trouble.TOO_OLD, Trouble.LATE, Trouble.WRONG_CLOCK, Trouble.BOT)


def generate(plan: TrafficPlan) -> Iterator[RawRequest]:
    """The requests of a plan in order of `ingest_ms`, all before the plan's end.

    Holds what is under way only: the sessions that have begun and the retries to come.
    """
    traffic = _Traffic(plan)
    for slot in slots(plan):
        while traffic.events < slot.target:
            traffic.add_session(slot.start_ms, slot.country_weights)
        yield from traffic.until(slot.start_ms + SLOT_MS)


class _Traffic:
    """Makes sessions and keeps their requests until their time has come."""

    def __init__(self, plan: TrafficPlan) -> None:
        self.events = 0
        self._plan = plan
        self._rng = Random(f"{plan.seed}/traffic")
        self._audience = Audience(plan, self._rng)
        self._profiles = Profiles(plan)
        self._quotas = {kind: Quota(getattr(plan.shares, kind)) for kind in Trouble}
        self._requests = 0
        self._waiting: list[tuple[int, int, RawRequest]] = []

    def until(self, moment_ms: int) -> Iterator[RawRequest]:
        """Give away the requests that arrive before a moment, in order of arrival."""
        waiting = self._waiting
        while waiting and waiting[0][0] < moment_ms:
            yield heapq.heappop(waiting)[2]

    def add_session(self, slot_ms: int, country_weights: tuple[float, ...]) -> None:
        """Let one session begin (or a stored one be uploaded) in the slot."""
        rng = self._rng
        true_ms = slot_ms + int(rng.random() * (SLOT_MS - 10))
        kind = self._due(_SESSION_TROUBLE, EVENTS_PER_SESSION, self.events)
        visitor, start_ms = self._visit(kind, true_ms, country_weights)
        profile = self._profiles.of(visitor)
        events = self._record(visitor, profile, start_ms)
        offline = kind in (Trouble.LATE, Trouble.TOO_OLD)
        if not offline:
            end_ms = self._plan.end_ms - 2 + visitor.clock_error_ms
            events = [event for event in events if event["timestamp"] < end_ms]
        events = events[: self._plan.events - self.events]
        if kind:
            self._quotas[kind].add(len(events))
        uploads = (
            stored(events, max(true_ms, events[-1]["timestamp"]))
            if offline
            else bundles(events, profile.platform, rng)
        )
        for upload_ms, bundle in uploads:
            self._send(visitor, profile, bundle, upload_ms, kind)

    def _due(self, kinds: tuple[Trouble, ...], size: int, whole: int) -> Trouble | None:
        for kind in kinds:
            if self._quotas[kind].is_due(size, whole):
                return kind
        return None

    def _visit(
        self, kind: Trouble | None, true_ms: int, country_weights: tuple[float, ...]
    ) -> tuple[Visitor, int]:
        """Who comes, and when by their own clock."""
        rng = self._rng
        if kind is Trouble.BOT:
            return self._audience.bot(true_ms), true_ms
        if kind is Trouble.WRONG_CLOCK:
            error = clock_error_ms(rng)
            return self._audience.misguided(true_ms + error, error), true_ms + error
        country = rng.choices(COUNTRIES, cum_weights=country_weights)[0]
        start_ms = true_ms - (lateness_ms(kind, rng) if kind else 0)
        return self._audience.next(country, start_ms), start_ms

    def _record(self, visitor: Visitor, profile: Profile, start_ms: int) -> list[Event]:
        kind = _SESSIONS[profile.platform]
        session: Session = kind(self._plan, visitor, profile, start_ms, self._rng)
        session.open()
        for step in journey(self._rng, visitor.user_id is not None, visitor.bot is not None):
            session.show(step)
        session.close()
        return session.events

    def _send(
        self,
        visitor: Visitor,
        profile: Profile,
        events: list[Event],
        upload_ms: int,
        kind: Trouble | None,
    ) -> None:
        rng, platform, end_ms = self._rng, profile.platform, self._plan.end_ms
        size = len(events)
        if kind is None and self._is_due_now(Trouble.FOREIGN, size, self.events):
            kind = Trouble.FOREIGN
            for event in events:
                event["app_id"] = FOREIGN_APP
        visitor.bundles += 1
        body = encode(events, platform)
        true_ms = upload_ms - visitor.clock_error_ms
        latency = 25 + int(rng.expovariate(1 / (90 if platform == "Web" else 250)))
        ingest_ms = min(true_ms + latency, end_ms - 1)
        request = RawRequest(
            ingest_ms=ingest_ms,
            upload_ms=upload_ms,
            rid=f"{rng.getrandbits(128):032x}",
            platform=platform,
            app_id=profile.app_id,
            compression=None if platform == "Web" else "gzip",
            uri=address_of(platform, profile.app_id, visitor.bundles, upload_ms, body),
            user_agent=profile.user_agent,
            address=profile.address,
            body=body,
            events=size,
            trouble=kind,
            too_old=_too_old(events, ingest_ms, upload_ms),
        )
        self.events += size
        self._keep(request)
        if kind is None:
            self._trouble_on_the_way(request, visitor)

    def _trouble_on_the_way(self, request: RawRequest, visitor: Visitor) -> None:
        rng = self._rng
        if self._is_due_now(Trouble.RETRY, request.events, self.events):
            delay = self._within(request, retry_delay_ms(rng))
            again = self._again(request, Trouble.RETRY, delay)
            if delay > 60_000:
                # Not the same attempt again but a new upload of the same body.
                visitor.bundles += 1
                upload_ms = request.upload_ms + delay
                again = again._replace(
                    upload_ms=upload_ms,
                    uri=address_of(
                        request.platform, request.app_id, visitor.bundles, upload_ms, request.body
                    ),
                )
            self._keep(again)
        elif self._is_due_now(Trouble.BROKEN, 1, self._requests):
            delay = self._within(request, int(rng.random() * 5000))
            broken = self._again(request, Trouble.BROKEN, delay)
            self._keep(broken._replace(body=broken_body(request.body, rng), events=0))

    def _is_due_now(self, kind: Trouble, size: int, whole: int) -> bool:
        quota = self._quotas[kind]
        if quota.is_due(size, whole):
            quota.add(size)
            return True
        return False

    def _within(self, request: RawRequest, delay_ms: int) -> int:
        """The delay, shortened where the plan's end comes first."""
        return min(delay_ms, self._plan.end_ms - 1 - request.ingest_ms)

    def _again(self, request: RawRequest, kind: Trouble, delay_ms: int) -> RawRequest:
        return request._replace(
            ingest_ms=request.ingest_ms + delay_ms,
            rid=f"{self._rng.getrandbits(128):032x}",
            trouble=kind,
        )

    def _keep(self, request: RawRequest) -> None:
        self._requests += 1
        heapq.heappush(self._waiting, (request.ingest_ms, self._requests, request))


def _too_old(events: list[Event], ingest_ms: int, upload_ms: int) -> int:
    # A clock that is far off is corrected: then the age at the upload counts.
    is_wrong = abs(ingest_ms - upload_ms) > MAX_CLOCK_DIFFERENCE_MS
    oldest_ms = (upload_ms if is_wrong else ingest_ms) - FRESHNESS_MS
    if events[0]["timestamp"] >= oldest_ms:
        return 0
    return sum(
        event["timestamp"] < oldest_ms and event["event_type"] not in FRESHNESS_EXEMPT
        for event in events
    )


_SESSIONS = {"Web": WebSession, "Android": AppSession, "iOS": AppSession}
