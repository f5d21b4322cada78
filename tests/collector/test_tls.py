"""HTTPS by the collector itself."""

import signal
import ssl
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from clickstream_dagster.collector.worker import TlsFiles
from clickstream_dagster.errors import SettingError
from tests.collector.running import records_in, running_collector
from tests.collector.wire import WHOLE, connected, until_end
from tests.served import eventually

EVENTS = b'[{"event_id": "e1"}]'


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of localhost that has signed itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = folder / "cert.pem", folder / "key.pem"
    files[0].write_bytes(certificate.public_bytes(Encoding.PEM))
    files[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return files


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_takes_events_over_tls_and_takes_a_renewed_certificate(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    certificate, key = write_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    trusting.maximum_version = trusting.minimum_version = version
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with running_collector(tmp_path, *options, tls=trusting) as it:
        assert it.send(EVENTS).status == 200

        write_certificate(tmp_path)
        it.process.send_signal(signal.SIGHUP)

        it.tls = ssl.create_default_context(cafile=str(certificate))

        def shows_the_new_one() -> bool:
            with suppress(OSError):  # the worker of the old one still answers
                return it.send(EVENTS).status == 200
            return False

        eventually(shows_the_new_one, 30, it.log.read_text)
        assert it.stop() == 0
    assert len(records_in(it.sink)) >= 2


@pytest.mark.parametrize("wrong", ["missing", "another's key", "no certificate"])
def test_says_what_is_wrong_with_its_files(tmp_path: Path, wrong: str) -> None:
    certificate, key = write_certificate(tmp_path)
    if wrong == "missing":
        key.unlink()
    elif wrong == "no certificate":
        certificate.write_text("none")
    else:
        (tmp_path / "other").mkdir()
        _, key = write_certificate(tmp_path / "other")
    with pytest.raises(SettingError, match="write PEM files of a certificate and its key"):
        TlsFiles(certificate, key)


@pytest.mark.parametrize("wrong", ["another's key", "no key", "no certificate"])
def test_shows_its_certificate_while_renewed_files_are_wrong(tmp_path: Path, wrong: str) -> None:
    certificate, key = write_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    (tmp_path / "other").mkdir()
    other, other_key = write_certificate(tmp_path / "other")
    options = ("--tls-cert", str(certificate), "--tls-key", str(key))
    with running_collector(tmp_path, *options, tls=trusting) as it:
        if wrong == "another's key":
            certificate.write_bytes(other.read_bytes())
        elif wrong == "no key":
            certificate.write_bytes(other.read_bytes())
            key.write_bytes(b"")
        else:
            key.write_bytes(other_key.read_bytes())
            certificate.write_bytes(b"")
        it.process.send_signal(signal.SIGHUP)
        eventually(lambda: "stays as it is" in it.log.read_text(), 20, it.log.read_text)

        assert it.send(EVENTS).status == 200


def test_asks_nobody_for_the_password_of_a_key(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    private = load_pem_private_key(key.read_bytes(), None)
    secret = BestAvailableEncryption(b"secret")
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(SettingError, match="without a password"):
        TlsFiles(certificate, key)


def test_clients_that_speak_no_tls_leave_their_room_to_others(tmp_path: Path) -> None:
    certificate, key = write_certificate(tmp_path)
    trusting = ssl.create_default_context(cafile=str(certificate))
    options = ("--tls-cert", str(certificate), "--tls-key", str(key), "--connections", "20")
    with running_collector(tmp_path, *options, tls=trusting) as it:
        for number in range(200):
            with connected(it) as client:
                client.sendall((WHOLE, b"", b"\x16\x03\x01\x02\x00\x01")[number % 3])
                if number % 3 == 0:
                    until_end(client)
        assert it.send(EVENTS).status == 200
