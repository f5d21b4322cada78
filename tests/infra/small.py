"""A project of two small stacks that moto can make, for tests of the life cycle."""

import os
import signal
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from clickstream_dagster.batches.s3 import S3Access
from clickstream_dagster.infra.infrastructure import Infrastructure
from clickstream_dagster.infra.module import Module, Output, Part

STORAGE = """\
AWSTemplateFormatVersion: "2010-09-09"
Description: Small storage.
Parameters:
  ProjectId: {Type: String, Description: Id of the project.}
  DataBucket: {Type: String, Description: Name of the bucket of data.}
Resources:
  Bucket:
    Type: AWS::S3::Bucket
    DeletionPolicy: RetainExceptOnCreate
    UpdateReplacePolicy: Retain
    Properties:
      BucketName: !Ref DataBucket
      VersioningConfiguration: {Status: Enabled}
Outputs:
  DataBucket:
    Description: Name of the bucket.
    Value: !Ref Bucket
"""

QUEUES = """\
AWSTemplateFormatVersion: "2010-09-09"
Description: Small queues.
Parameters:
  Bucket: {Type: String, Description: Bucket that tells of its objects.}
  Seconds: {Type: Number, Description: Seconds for which a message is hidden., Default: 30}
Conditions:
  Named: !Not [!Equals [!Ref Bucket, ""]]
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Condition: Named
    Properties:
      VisibilityTimeout: !Ref Seconds
Outputs:
  Url:
    Description: Address of the queue.
    Value: !Ref Queue
"""

APP_QUEUE = """\
Resources:
  AppQueue:
    Type: AWS::SQS::Queue
    Properties:
      QueueName: "{{ name }}"
      VisibilityTimeout: "{{ seconds }}"
"""


@dataclass
class Small:
    """The project: change what it holds, then ask for its infrastructure again."""

    folder: Path
    project_id: str
    apps: tuple[str, ...] = ("web",)
    seconds: str = "30"
    bucket: str = ""
    modules: tuple[str, ...] = ("arrivals", "storage")
    fixed: Mapping[str, str] = field(default_factory=lambda: {"DataBucket": "raw: data is in it"})
    artifacts: str | None = None
    code: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bucket = self.bucket or f"data-{self.project_id}"
        for name, text in {"storage": STORAGE, "queues": QUEUES, "app_queue": APP_QUEUE}.items():
            if not (file := self.folder / f"{name}.yaml").exists():
                file.write_text(text)

    def edit(self, name: str, before: str, after: str) -> None:
        """Change a template."""
        file = self.folder / f"{name}.yaml"
        text = file.read_text()
        assert before in text
        file.write_text(text.replace(before, after))
        os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 1))

    def infrastructure(self) -> Infrastructure:
        storage = Module(
            "storage",
            str(self.folder / "storage.yaml"),
            {"ProjectId": self.project_id, "DataBucket": self.bucket},
            fixed=self.fixed,
        )
        arrivals = Module(
            "arrivals",
            str(self.folder / "queues.yaml"),
            {"Bucket": Output("storage", "DataBucket"), "Seconds": self.seconds},
            parts=tuple(self._parts()),
            code=self.code,
        )
        known = {"storage": storage, "arrivals": arrivals}
        chosen = tuple(known[name] for name in self.modules)
        return Infrastructure(self.project_id, chosen, S3Access(), self.artifacts)

    def _parts(self) -> Iterable[Part]:
        for app in self.apps:
            name = f"{self.project_id}-{app}"
            values = {"name": name, "seconds": 20}
            yield Part(str(self.folder / "app_queue.yaml"), app.capitalize(), values)


def main() -> None:
    """Run `clickstream` for a small project: folder, project id and modules, then arguments."""
    from clickstream_dagster import projects
    from clickstream_dagster.cli import app

    folder, project_id, modules, *arguments = sys.argv[1:]
    small = Small(Path(folder), project_id, modules=tuple(filter(None, modules.split(","))))
    projects.deployed_infrastructure = lambda wanted: projects.DeployedInfrastructure(
        small.infrastructure(), 1.0
    )
    app(arguments)


if __name__ == "__main__":
    # A job in the background ignores it.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
