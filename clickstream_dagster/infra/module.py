"""What a module of a project's infrastructure is made of: one template, one stack."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Part:
    """Resources that a template gets once per item, as a listener rule for each app.

    `file` is below `infra/cloudformation/parts/`. `name` is put behind each of its logical ids:
    letters and digits, the same for an item at every time. `values` fill its placeholders
    `{{ name }}`, each of which is a whole YAML scalar.
    """

    file: str
    name: str
    values: Mapping[str, str | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Output:
    """The value of an output of another module's stack, known once that is applied."""

    module: str
    name: str


@dataclass(frozen=True)
class Module:
    """A module of a project: its template with all that is put into it.

    `template` is a file below `infra/cloudformation/`. `code` gives for a parameter that takes an
    S3 key the folder below `infra/` that is zipped and put to the bucket of artifacts. `fixed` are
    parameters that cannot change once the stack is there, each with its key in the YAML and why.
    """

    name: str
    template: str
    parameters: Mapping[str, str | Output]
    parts: tuple[Part, ...] = ()
    code: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, str] = field(default_factory=dict)

    @property
    def needs(self) -> frozenset[str]:
        """Names of the modules whose outputs this one takes."""
        return frozenset(
            value.module for value in self.parameters.values() if isinstance(value, Output)
        )
