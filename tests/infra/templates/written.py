"""The templates as CloudFormation gets them: each with every part that belongs to it."""

from functools import cache

from clickstream_dagster.infra.module import Module, Part
from clickstream_dagster.infra.template import Template, infra_folder, render

FOLDER = infra_folder() / "cloudformation"
NAMES = sorted(path.name for path in FOLDER.glob("*.yaml"))

_GROUP = {"security_group": "sg-0123456789abcdef0"}
PARTS = {
    "storage.yaml": (
        Part(
            "bucket.yaml",
            "Raw",
            {
                "bucket": "shop-raw",
                "announced": "true",
                "raw_rule": "Enabled",
                "artifacts_rule": "Disabled",
                "results_rule": "Disabled",
            },
        ),
    ),
    "ingestion.yaml": (
        Part("listener_rule.yaml", "Shop", {"app_id": "shop_web", "priority": 10}),
        Part("accelerator.yaml", "Global"),
    ),
    "observability.yaml": (Part("subscription.yaml", "Ops", {"email": "ops@example.com"}),),
    "orchestration.yaml": (Part("webserver_access.yaml", "Vpn", _GROUP),),
    "redshift.yaml": (Part("warehouse_access.yaml", "Bi", _GROUP),),
}


NOT_IN_CHINA = {"accelerator.yaml"}
"""Parts of types that CloudFormation in China does not know."""


@cache
def written(name: str, in_china: bool = False) -> Template:
    """Give a template with its parts, functions in their long form. Don't change it."""
    parts = PARTS.get(name, ())
    if in_china:
        parts = tuple(part for part in parts if part.file not in NOT_IN_CHINA)
    return render(Module(name.removesuffix(".yaml"), name, {}, parts))
