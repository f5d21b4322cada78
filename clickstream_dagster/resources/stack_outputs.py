"""Ids that only AWS knows: read from the stacks of a project when they are needed."""

from dataclasses import dataclass, field

from clickstream_dagster.batches.s3 import S3Access


@dataclass(frozen=True, slots=True)
class StackOutputs:
    """The outputs of a project's stacks; nothing is asked before one is read.

    `blocks` are the blocks of `infra` that the project's YAML has.
    """

    project_id: str
    access: S3Access = field(default_factory=S3Access)
    blocks: frozenset[str] = frozenset()

    def get(self, module: str, name: str) -> str:
        """Give an output of a module. Raises StackError when the module is not applied."""
        from clickstream_dagster.infra.outputs import output_of

        return output_of(self.project_id, module, name, self.access)

    def find(self, module: str, name: str) -> str | None:
        """Give an output of a module that may lack it. Raises StackError as `get` does."""
        from clickstream_dagster.infra.outputs import outputs_of

        return outputs_of(self.project_id, module, self.access).get(name)
