"""The pages of docs/infrastructure say what the code says, and lead to one another."""

import importlib.util
import re
from pathlib import Path

import pytest
import yaml

from clickstream_dagster.infra.infrastructure import ORDER
from tests.infra.written import component

FOLDER = Path(__file__).parents[2] / "docs" / "infrastructure"
PAGES = sorted(FOLDER.glob("*.md"))
COSTS = re.compile(r"<!-- generated: [a-z ]+ (?:costs|total) -->.*?<!-- end -->", re.DOTALL)


@pytest.fixture(scope="module")
def generator():
    spec = importlib.util.spec_from_file_location("generate", FOLDER / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_a_page_is_up_to_date(generator, file):
    written, again = file.read_text(), generator.generated(file.read_text())
    hint = "run .venv/bin/python docs/infrastructure/generate.py"
    assert COSTS.sub("", written) == COSTS.sub("", again), hint
    # A page rounds to dollars, so a smaller change of a size or a price leaves it true.
    for before, after in zip(COSTS.findall(written), COSTS.findall(again), strict=True):
        assert numbers(before) == pytest.approx(numbers(after), rel=0.1, abs=2), hint


def numbers(table: str) -> list[float]:
    """Give the numbers of a table in their order."""
    return [float(one.replace(",", "")) for one in re.findall(r"(?<=\| )[\d,]+(?= \|)", table)]


def test_every_module_and_every_block_has_its_page(generator):
    assert {f"{module}.md" for module in ORDER} <= {page.name for page in PAGES}
    told = " ".join(page.read_text() for page in PAGES)
    for block in generator.MODELS:
        assert f"<!-- generated: {block} settings -->" in told
    for module in ORDER:
        assert f"<!-- generated: {module.replace('-', ' ')} costs -->" in told


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_links_lead_somewhere(file):
    for target in re.findall(r"\]\(([^)]+)\)", file.read_text()):
        if "://" in target:
            continue
        place, _, heading = target.partition("#")
        aim = (file.parent / place).resolve() if place else file
        assert aim.is_file(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", aim.read_text(), re.MULTILINE)
            slugs = {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in titles}
            assert heading in slugs, target


@pytest.mark.parametrize("file", PAGES, ids=lambda file: file.name)
def test_an_example_is_taken_as_it_is(file):
    """A block of YAML with `infra:` is a project's, or adds to that of the first page."""
    first = yaml.safe_load(yaml_blocks(FOLDER / "index.md")[0])["attributes"]
    for text in yaml_blocks(file):
        written = yaml.safe_load(text)
        attributes = written.get("attributes", written)
        infra = {**first["infra"], **attributes.get("infra", {})}
        assert component({**first, **attributes, "infra": infra}).infrastructure()


def yaml_blocks(page: Path) -> list[str]:
    """Give the blocks of YAML of a page that are about infrastructure."""
    found = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    return [text for text in found if "infra:" in text]
