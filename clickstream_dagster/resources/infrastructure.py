"""A project's stacks on AWS as a resource: planned, applied and looked at from a run."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import dagster as dg

from clickstream_dagster.errors import SettingError

if TYPE_CHECKING:
    from clickstream_dagster.infra.apply import Applied
    from clickstream_dagster.infra.drift import Drift
    from clickstream_dagster.infra.infrastructure import Infrastructure
    from clickstream_dagster.infra.plan import Plan


class InfrastructureResource(dg.ConfigurableResource):
    """The infrastructure of a project, as its YAML declares it; nothing is asked before a run.

    Region, profile and the address at which all of AWS is reached stand for those of the YAML.
    """

    declared: ClassVar["Infrastructure | None"] = None

    region: str | None = None
    profile: str | None = None
    endpoint_url: str | None = None

    @property
    def infrastructure(self) -> "Infrastructure":
        """The declared infrastructure, reached as this resource says."""
        if self.declared is None:
            raise SettingError("no infrastructure is declared: use infrastructure_resource(…)")
        given = {
            "region": self.region,
            "profile": self.profile,
            "endpoint_url": self.endpoint_url,
        }
        chosen = {key: value for key, value in given.items() if value is not None}
        return replace(self.declared, access=replace(self.declared.access, **chosen))

    def plan(self, *modules: str) -> "Plan":
        """Give what an apply of some modules, or of all, would do."""
        from clickstream_dagster.infra.plan import make_plan

        return make_plan(self.infrastructure, modules or None)

    def apply(self, *modules: str, log: Callable[[str], object] = print) -> "list[Applied]":
        """Apply some modules, or all; what would lose data is refused."""
        from clickstream_dagster.infra.apply import apply

        def tell(module: str, what: object) -> None:
            log(f"{module}: {what}")

        return apply(self.infrastructure, modules or None, tell=tell)

    def drift(self, *modules: str) -> "list[Drift]":
        """Give what somebody has changed past CloudFormation."""
        from clickstream_dagster.infra.drift import find_drift

        return find_drift(self.infrastructure, modules or None)

    def outputs(self, module: str) -> Mapping[str, str]:
        """Give the outputs of a module's stack, at most a minute old."""
        from clickstream_dagster.infra.outputs import outputs_of

        return outputs_of(self.infrastructure.project_id, module, self.infrastructure.access)


def infrastructure_resource(infrastructure: "Infrastructure") -> InfrastructureResource:
    """Give the resource of a declared infrastructure."""
    # A resource is made anew from its fields for each run: what is declared is its class's.
    kind = type("ProjectInfrastructure", (InfrastructureResource,), {"__module__": __name__})
    kind.declared = infrastructure
    return kind()
