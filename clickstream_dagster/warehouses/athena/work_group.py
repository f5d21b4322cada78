"""The work group of a project: engine version 3, one place for results, a limit of the scan."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from mypy_boto3_athena.client import AthenaClient

ENGINE = "Athena engine version 3"
LEAST_SCAN_BYTES = 10_000_000
"""The least limit that Athena takes, which is also the least that it bills."""


@dataclass(frozen=True, slots=True)
class WorkGroup:
    """A work group as it must be.

    `results` is the place on S3 of query results, `scan_limit_bytes` the most that one query may
    read before Athena ends it, `kms_key_id` the key that encrypts the results; without it they
    are encrypted with S3's own. Raises SettingError for a limit below LEAST_SCAN_BYTES.
    """

    name: str
    results: str
    scan_limit_bytes: int
    kms_key_id: str | None = None

    def __post_init__(self) -> None:
        if self.scan_limit_bytes < LEAST_SCAN_BYTES:
            raise SettingError(
                f"scan_limit_bytes {self.scan_limit_bytes} is below what Athena takes: write"
                f" {LEAST_SCAN_BYTES} (10 MB) or more"
            )


def ensure_work_group(client: "AthenaClient", work_group: WorkGroup) -> bool:
    """Make the work group, or change it to be as given. Tells whether anything was done.

    Its settings are enforced: no client can choose another place for results or go without the
    limit.
    """
    encryption = (
        {"EncryptionOption": "SSE_KMS", "KmsKey": work_group.kms_key_id}
        if work_group.kms_key_id
        else {"EncryptionOption": "SSE_S3"}
    )
    wanted: dict[str, Any] = {
        "ResultConfiguration": {
            "OutputLocation": work_group.results,
            "EncryptionConfiguration": encryption,
        },
        "EnforceWorkGroupConfiguration": True,
        "PublishCloudWatchMetricsEnabled": True,
        "BytesScannedCutoffPerQuery": work_group.scan_limit_bytes,
        "EngineVersion": {"SelectedEngineVersion": ENGINE},
    }
    found = _configuration(client, work_group.name)
    if found is None:
        client.create_work_group(Name=work_group.name, Configuration=wanted)
        return True
    held = {**found, "EngineVersion": _selected(found)}
    if all(held.get(name) == value for name, value in wanted.items()):
        return False
    results = wanted.pop("ResultConfiguration")
    client.update_work_group(
        WorkGroup=work_group.name,
        ConfigurationUpdates={**wanted, "ResultConfigurationUpdates": results},
    )
    return True


def _configuration(client: "AthenaClient", name: str) -> dict[str, Any] | None:
    page = client.list_work_groups()
    while all(group["Name"] != name for group in page["WorkGroups"]):
        if "NextToken" not in page:
            return None
        page = client.list_work_groups(NextToken=page["NextToken"])
    return client.get_work_group(WorkGroup=name)["WorkGroup"]["Configuration"]


def _selected(configuration: dict[str, Any]) -> dict[str, str]:
    """Give the engine version without the one that Athena reports to be in effect."""
    version = configuration.get("EngineVersion", {})
    return {"SelectedEngineVersion": version.get("SelectedEngineVersion", "")}
