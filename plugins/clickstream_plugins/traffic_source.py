"""The built-in traffic source enrichment: where a visit comes from, from addresses and referrers.

Seed 000, "Traffic fields" and "Event attributes". What the app has sent in `_traffic_source_*`
wins. Otherwise utm_* parameters and click ids of the page's address decide, then those of the
referrer's, then the referrer's host, by the rules of `traffic_rules.yaml` and the project's own.
Each distinct combination of a batch is judged once.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import astuple, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from clickstream_dagster.errors import PluginError
from clickstream_dagster.processing.distinct import with_fields
from clickstream_dagster.processing.limits import MAX_FIELD_CHARACTERS
from clickstream_dagster.processing.params import text_params
from clickstream_dagster.processing.plugins import (
    ArrowPlugin,
    PluginConfig,
    PluginContext,
    read_mapping,
)

BUILT_IN_RULES = str(Path(__file__).with_name("traffic_rules.yaml"))

DIRECT, INTERNAL, APP_STORE, UNASSIGNED = "Direct", "Internal", "App Store", "Unassigned"

_MEDIUM_OF_CATEGORY = {"search": "organic", "email": "email"}
_UTM = {
    "utm_source": "source",
    "utm_medium": "medium",
    "utm_campaign": "name",
    "utm_id": "campaign_id",
    "utm_term": "term",
    "utm_content": "content",
    "utm_source_platform": "clid_platform",
}
# Second-level names under which countries register: google.co.uk is google's, as google.de.
_SECOND_LEVELS = frozenset(("ac", "co", "com", "edu", "go", "gov", "ne", "net", "or", "org"))
_PAGE, _LATEST, _PREVIOUS = "_page_url", "_latest_referrer", "_page_referrer"
_LATEST_HOST = "_latest_referrer_host"
_SENT = {
    "name": "_traffic_source_campaign",
    "campaign_id": "_traffic_source_campaign_id",
    "term": "_traffic_source_term",
    "content": "_traffic_source_content",
    "clid": "_traffic_source_clid",
    "clid_platform": "_traffic_source_clid_platform",
}


class _Rule(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)


class SourceRule(_Rule):
    """A site that sends visitors; see the head of `traffic_rules.yaml`."""

    source: str
    category: str
    domains: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    terms: tuple[str, ...] = ()
    medium: str | None = None

    @field_validator("domains")
    @classmethod
    def _domains(cls, values: tuple[str, ...]) -> tuple[str, ...]:
        for value in values:
            if "/" in value or "*" in value.removesuffix(".*"):
                raise ValueError("write a host such as shop.example, or name.* for any country")
        return tuple(value.lower() for value in values)


class ClickIdRule(_Rule):
    """A parameter that an advertiser's network adds to an address."""

    parameter: str
    platform: str
    source: str | None = None
    medium: str | None = None


class ChannelRule(_Rule):
    """A channel group and the conditions for it."""

    channel: str
    when: tuple[
        dict[Literal["source", "medium", "campaign", "category", "clid_platform"], str], ...
    ] = Field(min_length=1)

    @field_validator("when")
    @classmethod
    def _patterns(cls, values: tuple[dict[str, str], ...]) -> tuple[dict[str, str], ...]:
        for pattern in (pattern for one in values for pattern in one.values()):
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        if not all(values):
            raise ValueError("a condition without fields fits everything; name a field")
        return values


class Rules(_Rule):
    """A table of rules; the first that fits decides."""

    sources: tuple[SourceRule, ...] = ()
    click_ids: tuple[ClickIdRule, ...] = ()
    channels: tuple[ChannelRule, ...] = ()

    def before(self, others: "Rules") -> "Rules":
        """Give these rules followed by others."""
        return Rules(
            sources=self.sources + others.sources,
            click_ids=self.click_ids + others.click_ids,
            channels=self.channels + others.channels,
        )


class TrafficSourceConfig(PluginConfig):
    """What a project may set."""

    rules: Rules | str = Field(
        default=Rules(),
        description="Own rules, which win over the built-in ones: a table, or a YAML file with it.",
    )
    internal_domains: tuple[str, ...] = Field(
        default=(),
        description="Hosts that are the project's own, with everything below them: they are no"
        " referrers. The host of the page itself is always one.",
    )


@dataclass(frozen=True, slots=True)
class Campaign:
    """A traffic source, as far as an app or an address states it."""

    source: str | None = None
    medium: str | None = None
    name: str | None = None
    campaign_id: str | None = None
    term: str | None = None
    content: str | None = None
    clid: str | None = None
    clid_type: str | None = None
    clid_platform: str | None = None

    def filled(self, other: "Campaign") -> "Campaign":
        """Give this one with what it lacks from another."""
        return replace(other, **{name: value for name, value in _items(self) if value is not None})


@dataclass(frozen=True, slots=True)
class Referrer:
    """The site that a visitor came from, and what was searched for there."""

    host: str
    term: str | None = None


_NOTHING = Campaign()
_NAMES = tuple(field.name for field in fields(Campaign))
_RESULT = pa.struct([(name, pa.string()) for name in (*_NAMES, "category", "channel_group")])


def _items(campaign: Campaign) -> Iterator[tuple[str, str | None]]:
    return zip(_NAMES, astuple(campaign), strict=True)


class Classifier:
    """Judges where visits come from, by a table of rules."""

    def __init__(self, rules: Rules, internal_domains: Sequence[str] = ()) -> None:
        self._internal = tuple(domain.lower().removeprefix("www.") for domain in internal_domains)
        self._click_ids: dict[str, ClickIdRule] = {}
        self._by_domain: dict[str, SourceRule] = {}
        self._by_name: dict[str, SourceRule] = {}
        for click_id in rules.click_ids:
            self._click_ids.setdefault(click_id.parameter.lower(), click_id)
        for source in rules.sources:
            for domain in source.domains:
                self._by_domain.setdefault(domain, source)
            for name in (source.source, *source.names):
                self._by_name.setdefault(name.lower(), source)
        self._channels = [
            (
                rule.channel,
                [
                    [(name, re.compile(pattern, re.IGNORECASE)) for name, pattern in one.items()]
                    for one in rule.when
                ],
            )
            for rule in rules.channels
        ]

    def campaign_of(self, url: str) -> Campaign:
        """Read the utm_* parameters and click ids of an address; after `#` they count, too."""
        if "=" not in url:
            return _NOTHING
        try:
            parts = urlsplit(url)
        except ValueError:
            return _NOTHING
        found = self._campaign(parts.query)
        return found if found != _NOTHING else self._campaign(parts.fragment.rpartition("?")[2])

    def _campaign(self, query: str) -> Campaign:
        stated: dict[str, str] = {}
        click: Campaign = _NOTHING
        for key, value in parse_qsl(query):
            key, value = key.lower(), value.strip()
            if not value:
                continue
            if key in _UTM:
                stated.setdefault(_UTM[key], value)
            elif key in self._click_ids and click.clid_platform is None:
                rule = self._click_ids[key]
                click = Campaign(
                    source=rule.source,
                    medium=rule.medium,
                    clid=value,
                    clid_type=key,
                    clid_platform=rule.platform,
                )
            elif key.endswith("clid") and click.clid is None:
                click = Campaign(medium="cpc", clid=value, clid_type=key)
        if not stated:
            return click
        if stated.get("source") or stated.get("medium"):
            # A click id may be left over from somewhere else: it never mixes with a stated source.
            known = self._by_name.get(stated.get("source", "").lower())
            same = "source" not in stated or click.source in (None, known and known.source)
            if not same:
                click = replace(click, source=None, medium=None)
        return Campaign(**stated).filled(click)

    def referrer_of(self, url: str) -> Referrer | None:
        """Read the address of a referrer; None if it names no host."""
        host = host_of(url)
        if not host:
            return None
        rule = self.source_of(host) if "?" in url else None
        if rule is None or not rule.terms:
            return Referrer(host)
        query = dict(parse_qsl(urlsplit(url).query))
        return Referrer(host, next((query[name] for name in rule.terms if query.get(name)), None))

    def source_of(self, host: str) -> SourceRule | None:
        """Give the rule of a host: the one for its longest part, wildcards after exact ones."""
        labels = host.split(".")
        for start in range(len(labels)):
            rule = self._by_domain.get(".".join(labels[start:]))
            if rule is None:
                ending = _without_ending(labels[start:])
                rule = self._by_domain.get(f"{ending}.*") if ending else None
            if rule is not None:
                return rule
        return None

    def is_internal(self, host: str, own_hosts: Sequence[str]) -> bool:
        """Whether a host is the project's own: one of its domains, or the page's own site."""
        host = host.removeprefix("www.")
        if any(_is_below(host, domain) for domain in self._internal):
            return True
        own = [one.removeprefix("www.") for one in own_hosts if one]
        return any(_is_below(host, one) or _is_below(one, host) for one in own)

    def judge(
        self,
        sent: Campaign,
        campaign: Campaign,
        referrers: Sequence[Referrer],
        own_hosts: Sequence[str],
        installed: bool,
    ) -> tuple[str | None, ...]:
        """Give source, medium, name and what else there is, the category and the channel group.

        `sent` is what the app states, `campaign` what the addresses state, `referrers` the
        pages that it may have come from, `installed` whether a store is known to have it installed.
        """
        external = next(
            (one for one in referrers if not self.is_internal(one.host, own_hosts)), None
        )
        found = self._derived(campaign, external)
        if sent != _NOTHING:
            # What is stated and what is derived mix only when they are of the same source.
            agrees = sent.source is None or (
                found.source is not None and self._same(sent.source, found.source)
            )
            found = sent.filled(found) if agrees else sent
        rule = self._rule(found)
        category = rule.category if rule else None
        if found == _NOTHING:
            if referrers:
                channel = INTERNAL
            elif installed:
                channel = APP_STORE
            else:
                channel = DIRECT
        else:
            channel = self._channel(found, category)
        return (*astuple(found), category, channel)

    def _same(self, one: str, other: str) -> bool:
        if one.lower() == other.lower():
            return True
        first, second = self._by_name.get(one.lower()), self._by_name.get(other.lower())
        return first is not None and first is second

    def _derived(self, campaign: Campaign, external: Referrer | None) -> Campaign:
        if campaign.source is not None or external is None:
            return campaign
        rule = self.source_of(external.host)
        if rule is None:
            by_referrer = Campaign(external.host.removeprefix("www."), "referral")
        else:
            medium = rule.medium or _MEDIUM_OF_CATEGORY.get(rule.category, "referral")
            by_referrer = Campaign(rule.source, medium, term=external.term)
        return campaign.filled(by_referrer)

    def _rule(self, found: Campaign) -> SourceRule | None:
        if found.source is None:
            return None
        name = found.source.lower()
        return self._by_name.get(name) or (self.source_of(name) if "." in name else None)

    def _channel(self, found: Campaign, category: str | None) -> str:
        values = {
            "source": found.source or "",
            "medium": found.medium or "",
            "campaign": found.name or "",
            "category": category or "",
            "clid_platform": found.clid_platform or "",
        }
        for channel, alternatives in self._channels:
            for condition in alternatives:
                if all(pattern.fullmatch(values[name]) for name, pattern in condition):
                    return channel
        return UNASSIGNED


def _is_below(host: str, domain: str) -> bool:
    return host == domain or host.endswith(f".{domain}")


def _without_ending(labels: Sequence[str]) -> str:
    """Give `google` for google.de and google.co.uk, nothing for other shapes."""
    if len(labels) >= 2 and len(labels[-1]) <= 3:
        if len(labels) == 2:
            return labels[0]
        if len(labels[-1]) == 2 and labels[-2] in _SECOND_LEVELS:
            return ".".join(labels[:-2])
        return ".".join(labels[:-1])
    return ""


def host_of(url: str) -> str:
    """Give the host of an address in lower case, without its port; empty if there is none.

    A text without `//` names a host only with a dot in it: others are words such as `null`, and
    addresses of no host such as `about:blank`.
    """
    try:
        host = (urlsplit(url if "//" in url else f"//{url}").hostname or "").rstrip(".")
    except ValueError:
        return ""
    return host if "//" in url or "." in host else ""


class TrafficSourceEnrichment(ArrowPlugin):
    """Fill traffic_source and the columns traffic_source_*; what the app has sent stays."""

    config_class = TrafficSourceConfig
    config: TrafficSourceConfig

    def __init__(self, context: PluginContext, config: TrafficSourceConfig | None = None) -> None:
        super().__init__(context, config)
        own = self.config.rules
        if isinstance(own, str):
            own = read_rules(context.path(own))
        self.rules = own.before(read_rules(BUILT_IN_RULES))

    def apply(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Give the events with their traffic source."""
        judge = _BatchJudge(Classifier(self.rules, self.config.internal_domains))
        for batch in batches:
            found = judge(batch)
            columns = dict(zip(_RESULT.names, found.flatten(), strict=True))
            seed = {name: columns.pop(name) for name in ("medium", "name", "source")}
            batch = with_fields(batch, "traffic_source", seed)
            for name, column in columns.items():
                place = batch.schema.get_field_index(f"traffic_source_{name}")
                batch = batch.set_column(place, batch.schema.field(place), column)
            yield batch


def read_rules(path: str) -> Rules:
    """Read a table of rules from a YAML file. Raises PluginError that names the file and key."""
    value = read_mapping(path, "the rules of traffic sources")
    try:
        return Rules.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise PluginError(
            f"the rules of traffic sources {path}: {place}: {first['msg']},"
            f" it is {str(first['input'])[:100]!r}"
        ) from error


class _BatchJudge:
    """Judges the distinct combinations of a batch; what it has read of addresses is kept."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        # Addresses may be long: what is kept of them stays small beside a batch.
        self._campaign = lru_cache(10_000)(classifier.campaign_of)
        self._referrer = lru_cache(10_000)(classifier.referrer_of)
        self._host = lru_cache(10_000)(host_of)
        self._judge = lru_cache(10_000)(self._judge_one)

    def __call__(self, batch: pa.RecordBatch) -> pa.StructArray:
        sent_names = list(_SENT.values())
        texts = text_params(
            batch.column("event_params"), [_PAGE, _LATEST, _PREVIOUS, _LATEST_HOST, *sent_names]
        )
        traffic = dict(
            zip(
                batch.schema.field("traffic_source").type.names,
                batch.column("traffic_source").flatten(),
                strict=True,
            )
        )
        device = batch.column("device")
        app_info = batch.column("app_info")
        # A column of every fact that decides, each as codes of a few distinct values.
        facts = [
            *(_coded(texts[name], self._campaign, _NOTHING) for name in (_PAGE, _LATEST)),
            _coded(texts[_PREVIOUS], self._campaign, _NOTHING),
            _coded(texts[_LATEST], self._referrer, None),
            _coded(texts[_LATEST_HOST], self._referrer, None),
            _coded(texts[_PREVIOUS], self._referrer, None),
            _coded(_field(device, "host_name"), self._host, ""),
            _coded(texts[_PAGE], self._host, ""),
            _coded(_field(app_info, "install_source"), bool, False),
            *(_coded(traffic[name], _clean, None) for name in ("source", "medium", "name")),
            *(_coded(texts[name], _clean, None) for name in sent_names),
        ]
        key = np.zeros(batch.num_rows, np.int64)
        for values, codes in facts:
            if len(values) > 1:
                # Made dense again at each step, so that the product never overflows.
                _, key = np.unique(key * len(values) + codes, return_inverse=True)
        _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        rows = [self._judge(*(values[codes[at]] for values, codes in facts)) for at in first]
        columns = zip(*rows, strict=True) if rows else [()] * _RESULT.num_fields
        found = pa.StructArray.from_arrays(
            [pa.array(map(_kept, column), pa.string()) for column in columns],
            fields=list(_RESULT),
        )
        return found.take(pa.array(inverse))

    def _judge_one(
        self,
        on_page: Campaign,
        on_latest: Campaign,
        on_previous: Campaign,
        latest: Referrer | None,
        latest_host: Referrer | None,
        previous: Referrer | None,
        host: str,
        page_host: str,
        installed: bool,
        source: str | None,
        medium: str | None,
        name: str | None,
        *others: str | None,
    ) -> tuple[str | None, ...]:
        stated = dict(zip(_SENT, others, strict=True))
        stated["name"] = name or stated["name"]
        sent = Campaign(source=source, medium=medium, **stated)
        campaign = next(
            (one for one in (on_page, on_latest, on_previous) if one != _NOTHING), _NOTHING
        )
        referrers = [one for one in (latest or latest_host, previous) if one]
        return self._classifier.judge(sent, campaign, referrers, (host, page_host), installed)


def _field(struct: pa.StructArray, name: str) -> pa.StringArray:
    return struct.flatten()[struct.type.get_field_index(name)]


def _clean(text: str) -> str | None:
    return text.strip() or None


def _kept(text: str | None) -> str | None:
    """Give a text as the lake takes it: an address may be longer, and may spell NUL as %00."""
    return text and text.replace("\0", "\ufffd")[:MAX_FIELD_CHARACTERS]


def _coded(
    texts: pa.StringArray, read: Callable[[str], object], nothing: object
) -> tuple[list[object], np.ndarray]:
    """Give the distinct results of reading texts, and for each row the place of its result.

    `nothing` is the result for null, and stands first.
    """
    encoded = texts.dictionary_encode()
    places: dict[object, int] = {nothing: 0}
    of_text = [
        places.setdefault(read(text), len(places)) for text in encoded.dictionary.to_pylist()
    ]
    codes = np.asarray([*of_text, 0])[np.asarray(encoded.indices.fill_null(len(of_text)))]
    return list(places), codes
