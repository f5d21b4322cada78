"""A real Kafka: fetched once by Maven, one broker that is its own controller, on the loopback.

`python -m tests.collector.sinks.kafka_broker` fetches it ahead of the tests.
"""

import ctypes
import os
import shutil
import signal
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.served import eventually, free_port

VERSION = "4.1.1"
HOME = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser() / "clickstream"
USER, PASSWORD = "collector", "its-password"
SECONDS_TO_START = 120

_COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"
_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0">
<modelVersion>4.0.0</modelVersion>
<groupId>tests</groupId><artifactId>kafka</artifactId><version>1</version>
<dependencies><dependency>
<groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{VERSION}</version>
</dependency></dependencies>
</project>
"""
_JVM = ("-Xmx400m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_STORE_PASSWORD = "changeit"
_PR_SET_PDEATHSIG = 1


def kafka_home() -> Path:
    """Give the directory of the broker's jars (45 MB), fetched if it is not there yet."""
    home = HOME / f"kafka-{VERSION}"
    if not home.is_dir():
        maven = shutil.which("mvn")
        assert maven, "no mvn on the PATH: install Maven, or leave out the tests of Kafka"
        fetched = HOME / f"kafka-{VERSION}.part"
        repository = HOME / "maven-kafka"
        shutil.rmtree(fetched, ignore_errors=True)
        fetched.mkdir(parents=True)
        (fetched / "pom.xml").write_text(_POM)
        try:
            subprocess.run(
                [
                    *(maven, "-q", "-B", f"-Dmaven.repo.local={repository}", _COPY),
                    *("-DincludeScope=runtime", f"-DoutputDirectory={fetched}"),
                ],
                cwd=fetched,
                check=True,
            )
            fetched.rename(home)
        finally:
            shutil.rmtree(repository, ignore_errors=True)
    return home


class Broker:
    """A broker, with the addresses for plain connections and for TLS with user and password."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ports = {name: free_port() for name in ("PLAINTEXT", "SASL_SSL", "CONTROLLER")}
        self._process: subprocess.Popen | None = None
        self.plain = f"127.0.0.1:{self._ports['PLAINTEXT']}"
        self.scram = f"localhost:{self._ports['SASL_SSL']}"
        self.ca_file = directory / "ca.pem"
        self._format()

    def start(self) -> None:
        from confluent_kafka.admin import AdminClient

        with self._log.open("a") as output:
            self._process = subprocess.Popen(
                self._java("kafka.Kafka", self._properties),
                stdout=output,
                stderr=output,
                preexec_fn=_end_with_parent,
            )
        admin = AdminClient({"bootstrap.servers": self.plain, "log_level": 0})

        def answers() -> bool:
            assert self._process.poll() is None, self._log.read_text()[-5000:]
            return self.listens() and bool(admin.list_topics(timeout=10).brokers)

        eventually(answers, SECONDS_TO_START, lambda: self._log.read_text()[-5000:])

    def listens(self) -> bool:
        import socket

        host, _, port = self.plain.partition(":")
        with socket.socket() as one:
            return one.connect_ex((host, int(port))) == 0

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def set_quota(self, client: str, bytes_a_second: int | None) -> None:
        """Let clients of a name write so much, or as much as they like."""
        change = (
            ("--add-config", f"producer_byte_rate={bytes_a_second}")
            if bytes_a_second
            else ("--delete-config", "producer_byte_rate")
        )
        subprocess.run(
            [
                *self._java("kafka.admin.ConfigCommand", "--bootstrap-server", self.plain),
                *("--alter", "--entity-type", "clients", "--entity-name", client, *change),
            ],
            check=True,
            capture_output=True,
        )

    @property
    def _log(self) -> Path:
        return self._directory / "kafka.log"

    @property
    def _properties(self) -> Path:
        return self._directory / "server.properties"

    def _format(self) -> None:
        """Write settings, certificate and an empty log with one user."""
        self._directory.mkdir(parents=True)
        store = self._directory / "broker.p12"
        keytool = ["keytool", "-keystore", store, "-storepass", _STORE_PASSWORD, "-alias", "broker"]
        subprocess.run(
            [
                *(*keytool, "-genkeypair", "-keyalg", "RSA", "-dname", "CN=localhost"),
                *("-ext", "SAN=dns:localhost,ip:127.0.0.1", "-storetype", "PKCS12"),
            ],
            check=True,
            capture_output=True,
        )
        subprocess.run(
            [*keytool, "-exportcert", "-rfc", "-file", self.ca_file],
            check=True,
            capture_output=True,
        )
        ports = self._ports
        login = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        properties = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{ports['CONTROLLER']}",
            "controller.listener.names": "CONTROLLER",
            "listeners": ",".join(f"{name}://127.0.0.1:{port}" for name, port in ports.items()),
            "advertised.listeners": f"PLAINTEXT://{self.plain},SASL_SSL://{self.scram}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,"
            "SASL_SSL:SASL_SSL",
            "sasl.enabled.mechanisms": "SCRAM-SHA-512",
            "listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": login,
            "ssl.keystore.location": str(store),
            "ssl.keystore.password": _STORE_PASSWORD,
            "ssl.key.password": _STORE_PASSWORD,
            "log.dirs": str(self._directory / "logs"),
            "num.partitions": "3",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
        }
        self._properties.write_text("".join(f"{k}={v}\n" for k, v in properties.items()))
        formatted = subprocess.run(
            [
                *self._java("kafka.tools.StorageTool", "format", "-c", self._properties),
                *("-t", uuid.uuid4().hex[:22]),
                *("--add-scram", f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        assert formatted.returncode == 0, formatted.stdout + formatted.stderr

    def _java(self, *arguments: object) -> list[str]:
        java = shutil.which("java")
        assert java, "no java on the PATH: Kafka's broker needs Java 17"
        command = [java, *_JVM, "-cp", f"{kafka_home()}/*", *arguments]
        return [str(part) for part in command]


@contextmanager
def served_kafka(directory: Path) -> Iterator[Broker]:
    """Give a broker that runs, and ends with the process that started it, however that ends."""
    broker = Broker(directory)
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


def messages_in(broker: Broker, topic: str) -> list[tuple[bytes, bytes, int]]:
    """Give what a topic holds: key, value and partition of each message."""
    from confluent_kafka import Consumer, KafkaError, TopicPartition

    consumer = Consumer(
        {
            "bootstrap.servers": broker.plain,
            "group.id": uuid.uuid4().hex,
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=30).topics[topic].partitions
        consumer.assign([TopicPartition(topic, one, 0) for one in partitions])
        found, ended = [], 0
        while ended < len(partitions):
            message = consumer.poll(30)
            assert message is not None, "no message and no end of the topic in 30 seconds"
            if message.error() is None:
                found.append((message.key(), message.value(), message.partition()))
            else:
                assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
                ended += 1
        return found
    finally:
        consumer.close()


def _end_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    print(kafka_home())
