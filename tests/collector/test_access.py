"""Who may send: apps, write keys and tokens, and that they change without a restart."""

import base64
import hmac
import json
import time
from contextlib import ExitStack

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from clickstream_dagster.collector.access import Access, AccessFile
from tests.answering import Answer, Request, answering
from tests.collector.running import (
    APP,
    QUERY,
    RunningCollector,
    records_in,
    refusal_to_run,
    running_collector,
)
from tests.served import eventually

EVENTS = b'[{"event_type": "a"}]'
KEY, OTHER_KEY = "k" * 32, "o" * 32


def test_follows_apps_and_origins_without_a_restart(tmp_path) -> None:
    origin = "https://new.example.com"
    with running_collector(tmp_path, workers=2) as running:
        assert running.send(EVENTS, query="appId=new_app").status == 403

        AccessFile(running.spool).write(Access((APP, "new_app"), {}, (origin,)))

        def all_workers_know() -> bool:
            answers = [
                running.send(EVENTS, query="appId=new_app", headers={"Origin": origin})
                for _ in range(8)
            ]
            return all(
                answer.status == 200 and answer.headers.get("access-control-allow-origin") == origin
                for answer in answers
            )

        eventually(all_workers_know, 20)


def test_asks_for_the_write_key_of_an_app_and_keeps_it_nowhere(tmp_path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(f'{APP}: "{KEY}"\n')
    with running_collector(tmp_path, "--write-keys", str(keys), apps=(APP, "free_app")) as running:
        assert running.send(EVENTS).status == 401
        assert running.send(EVENTS, headers={"X-Write-Key": OTHER_KEY}).status == 401
        assert running.send(EVENTS, query=f"{QUERY}&writeKey={OTHER_KEY}").status == 401
        assert running.send(EVENTS, query="appId=free_app").status == 200
        assert running.send(EVENTS, headers={"X-Write-Key": KEY}).status == 200
        assert running.send(EVENTS, query=f"writeKey={KEY}&{QUERY}").status == 200
        assert running.send(EVENTS, query=f"write%4Bey={KEY}&{QUERY}").status == 200

        keys.write_text(f'{APP}: "{OTHER_KEY}"\n')
        eventually(
            lambda: running.send(EVENTS, headers={"X-Write-Key": OTHER_KEY}).status == 200, 20
        )
        assert running.send(EVENTS, headers={"X-Write-Key": KEY}).status == 401
        running.stop()

    records = records_in(running.sink)
    assert [record["uri"] for record in records[1:4]] == [f"/collect?{QUERY}"] * 3
    kept = "".join(
        file.read_text(errors="replace")
        for file in (*running.spool.rglob("*"), running.log)
        if file.is_file()
    ) + json.dumps(records)
    assert KEY not in kept
    assert OTHER_KEY not in kept


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f'{APP}: "short"', "at least 16 characters"),
        (f"{APP}: 12345678901234567890", "in quotes"),
        ("- a", "write lines as"),
        (f'other: "{KEY}"', "no app of the project"),
        ("a: [", "keys.yaml"),
    ],
)
def test_says_what_is_wrong_with_the_write_keys(tmp_path, text: str, told: str) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text(text)

    assert told in refusal_to_run(tmp_path, "--write-keys", str(keys))


def test_refuses_everybody_when_no_app_is_registered(tmp_path) -> None:
    with running_collector(tmp_path) as running:
        AccessFile(running.spool).write(Access(()))

        eventually(lambda: running.send(EVENTS).status == 400, 20)


class Issuer:
    """An OIDC provider on this machine: discovery, keys, and tokens signed with them."""

    def __init__(self, **discovery: object) -> None:
        self.keys = {"one": rsa.generate_private_key(65537, 2048)}
        self.discovery = discovery
        self.of_keys: dict[str, object] = {}
        self.asked = 0
        self._open = ExitStack()
        self.address = self._open.enter_context(answering(self._answer))

    def close(self) -> None:
        """Be away from now on."""
        self._open.close()

    def _answer(self, request: Request) -> Answer:
        self.asked += 1
        return Answer(200, body=json.dumps(self._document(request.path)).encode())

    def _document(self, path: str) -> dict:
        if path.endswith("openid-configuration"):
            return {"issuer": self.address, "jwks_uri": f"{self.address}/keys"} | self.discovery
        return {
            "keys": [
                jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
                | {"kid": name, "use": "sig", "alg": "RS256"}
                | self.of_keys
                for name, key in self.keys.items()
            ]
        }

    def token(self, *, key: str = "one", signed_by=None, algorithm: str = "RS256", **claims) -> str:
        now = int(time.time())
        content = {"iss": self.address, "aud": "collector", "exp": now + 600, "sub": "a"} | claims
        return jwt.encode(
            content, signed_by or self.keys[key], algorithm=algorithm, headers={"kid": key}
        )


@pytest.fixture(scope="module")
def issuer():
    one = Issuer()
    yield one
    one.close()


@pytest.fixture(scope="module")
def guarded(issuer: Issuer, tmp_path_factory):
    options = ("--oidc-issuer", issuer.address, "--oidc-audience", "collector")
    with running_collector(tmp_path_factory.mktemp("oidc"), *options) as running:
        yield running


def status_with(collector: RunningCollector, token: str | None) -> int:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return collector.send(EVENTS, headers=headers).status


def test_takes_tokens_of_the_issuer(guarded: RunningCollector, issuer: Issuer) -> None:
    token = issuer.token()

    assert status_with(guarded, token) == 200
    asked = issuer.asked
    assert status_with(guarded, token) == 200
    assert status_with(guarded, issuer.token(sub="b")) == 200
    assert issuer.asked == asked


def signed_with_text(issuer: Issuer, secret: bytes) -> str:
    """Give a token whose HMAC has been made with a text that is public, as libraries refuse to."""
    header = {"alg": "HS256", "typ": "JWT", "kid": "one"}
    claims = {"iss": issuer.address, "aud": "collector", "exp": int(time.time()) + 600}
    parts = [base64.urlsafe_b64encode(json.dumps(part).encode()) for part in (header, claims)]
    signed = b".".join(part.rstrip(b"=") for part in parts)
    mac = base64.urlsafe_b64encode(hmac.digest(secret, signed, "sha256")).rstrip(b"=")
    return b".".join((signed, mac)).decode()


def test_refuses_other_tokens(guarded: RunningCollector, issuer: Issuer) -> None:
    public = issuer.keys["one"].public_key()
    public_text = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    refused = {
        "none at all": None,
        "no token": "abc",
        "another issuer's": issuer.token(iss="https://evil.example"),
        "made for another client": issuer.token(aud="other"),
        "run out": issuer.token(exp=int(time.time()) - 120),
        "of another key": issuer.token(signed_by=rsa.generate_private_key(65537, 2048)),
        "without an end": jwt.encode(
            {"iss": issuer.address, "aud": "collector"},
            issuer.keys["one"],
            algorithm="RS256",
            headers={"kid": "one"},
        ),
        "unsigned": jwt.encode(
            {"iss": issuer.address, "aud": "collector", "exp": int(time.time()) + 600},
            None,
            algorithm="none",
            headers={"kid": "one"},
        ),
        "signed with the public key": signed_with_text(issuer, public_text),
    }

    assert {name: status_with(guarded, token) for name, token in refused.items()} == dict.fromkeys(
        refused, 401
    )
    assert guarded.send(EVENTS).headers["www-authenticate"] == "Bearer"


def test_asks_the_issuer_for_a_new_key_but_not_for_every_unknown_one(
    guarded: RunningCollector, issuer: Issuer
) -> None:
    status_with(guarded, issuer.token())
    issuer.keys["two"] = rsa.generate_private_key(65537, 2048)
    assert status_with(guarded, issuer.token(key="two")) == 200

    asked = issuer.asked
    stranger = rsa.generate_private_key(65537, 2048)
    for number in range(20):
        unknown = jwt.encode(
            {"a": number}, stranger, algorithm="RS256", headers={"kid": f"k{number}"}
        )
        assert status_with(guarded, unknown) == 401
    assert issuer.asked == asked


def test_known_keys_outlive_an_issuer_that_is_away(tmp_path) -> None:
    issuer = Issuer()
    options = ("--oidc-issuer", issuer.address, "--oidc-audience", "collector")
    with running_collector(tmp_path, *options) as running:
        assert status_with(running, issuer.token()) == 200
        issuer.close()

        assert status_with(running, issuer.token(key="gone", signed_by=issuer.keys["one"])) == 401
        assert status_with(running, issuer.token(sub="another")) == 200


@pytest.mark.parametrize(
    ("discovery", "told"),
    [
        ({"jwks_uri": "http://keys.example/"}, "is no https:// address"),
        ({"padding": "x" * (1 << 20)}, "is longer than 1048576 bytes"),
        ({"jwks_uri": 7}, "the issuer's keys can't be fetched"),
    ],
)
def test_fetches_keys_in_bounds_and_over_no_open_way(tmp_path, discovery: dict, told: str) -> None:
    issuer = Issuer(**discovery)
    options = ("--oidc-issuer", issuer.address, "--oidc-audience", "collector")
    with running_collector(tmp_path, *options) as running:
        assert status_with(running, issuer.token()) == 401
        assert told in running.log.read_text()
    issuer.close()


@pytest.mark.parametrize("of_keys", [{"kid": None}, {"use": "enc"}])
def test_takes_only_keys_for_signatures_that_have_an_id(tmp_path, of_keys: dict) -> None:
    issuer = Issuer()
    issuer.of_keys = of_keys
    options = ("--oidc-issuer", issuer.address, "--oidc-audience", "collector")
    with running_collector(tmp_path, *options) as running:
        without_id = jwt.encode(
            {"iss": issuer.address, "aud": "collector", "exp": int(time.time()) + 600},
            issuer.keys["one"],
            algorithm="RS256",
        )
        assert status_with(running, without_id) == 401
        assert status_with(running, issuer.token()) == 401
        assert "none of the issuer's keys is for signatures" in running.log.read_text()
    issuer.close()


def test_lets_a_preflight_through_without_a_token(guarded: RunningCollector) -> None:
    assert guarded.send(None, method="OPTIONS").status == 204
