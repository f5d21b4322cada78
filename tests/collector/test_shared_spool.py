"""Several collectors share a spool, as tasks do that mount one file system."""

from concurrent.futures import ThreadPoolExecutor

from clickstream_dagster.collector.access import Access, AccessFile
from tests.collector.running import records_in, running_collector
from tests.served import eventually


def test_what_a_lost_collector_has_acknowledged_is_shipped_by_another(tmp_path) -> None:
    options = ("--segment-seconds", "1")
    with (
        running_collector(tmp_path, "--segment-seconds", "3600") as lost,
        running_collector(tmp_path, *options) as stays,
    ):
        assert lost.send(b'[{"event_type": "from_lost"}]').status == 200
        lost.kill()

        def has_both() -> bool:
            assert stays.send(b'[{"event_type": "from_stays"}]').status == 200
            bodies = {record["data"] for record in records_in(stays.sink)}
            return {'[{"event_type": "from_lost"}]', '[{"event_type": "from_stays"}]'} <= bodies

        eventually(has_both, 40, stays.log.read_text)


def test_collectors_that_start_together_tell_their_apps_together(tmp_path) -> None:
    """Each writes who may send to the spool that they share; none comes in another one's way."""
    access = Access(("shop_web",), {}, ("https://www.example.com",))
    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(AccessFile(tmp_path).write, access) for _ in range(400)]:
            done.result()
    assert AccessFile(tmp_path).changed() == access
    assert [path.name for path in tmp_path.iterdir()] == ["access.json"]
