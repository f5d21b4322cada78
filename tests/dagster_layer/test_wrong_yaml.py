"""A YAML that can't be read is told by file, key and remedy, whatever is wrong with it."""

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import clickstream_dagster
from clickstream_dagster.errors import SettingError
from clickstream_dagster.projects import deployed_project

TYPE = "type: clickstream_dagster.components.ClickstreamProject\n"
SHOP = f"""{TYPE}attributes:
  project_id: shop
  app_ids: [shop_web]
  start_date: "2026-01-01"
"""


@pytest.fixture
def write_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[str, str], Path]]:
    """Give what writes the YAML of a project of a deployment of its own."""
    (tmp_path / "own_defs").mkdir()
    (tmp_path / "own_defs" / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("own_defs")
    monkeypatch.setattr(clickstream_dagster, "defs", own, raising=False)

    def write(name: str, text: str) -> Path:
        file = tmp_path / "own_defs" / name / "defs.yaml"
        file.parent.mkdir()
        file.write_text(text)
        return file

    yield write
    del sys.modules["own_defs"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (SHOP + "  grace_minutes: ten\n", "grace_minutes: Input should be a valid integer"),
        (SHOP + "  quality: {max_bad_ratio: many}\n", "max_bad_ratio: Input should be a valid num"),
        (
            SHOP + "  grace_minutes: -3\n",
            "attributes.grace_minutes at {file}:6: Input should be gr",
        ),
        (SHOP + "  interval: 61 * * * *\n", "'61 * * * *' is no cron expression: write 0 */6 * *"),
        (SHOP + "  raw: gs://bucket/raw\n", "raw 'gs://bucket/raw': write a directory or s3://buc"),
        (f"{TYPE}attributes:\nproject_id: shop\n", "project_id at {file}:3: Extra inputs are not"),
        (SHOP.replace("Project\n", "Projct\n"), "{folder} can't be loaded: Module `clickstream_da"),
        ("", "{folder} can't be loaded: "),
    ],
)
def test_a_wrong_yaml_is_told_with_its_place(write_yaml, text: str, told: str) -> None:
    file = write_yaml("shop", text)
    with pytest.raises(SettingError) as error:
        deployed_project("shop")
    assert told.format(file=file, folder=file.parents[1]) in str(error.value)
    assert str(file.parents[1]) in str(error.value)


def test_two_projects_of_one_id_are_told(write_yaml) -> None:
    write_yaml("shop", SHOP)
    assert deployed_project("shop").project_id == "shop"
    write_yaml("other", SHOP)
    with pytest.raises(SettingError, match=r"2 projects below .* have the project_id 'shop'"):
        deployed_project("shop")


def test_a_bounded_number_may_be_a_template(component) -> None:
    assert component(grace_minutes="{{ 7 }}").grace_minutes == 7
    with pytest.raises(ValueError, match="less than or equal to 59"):
        component(grace_minutes="{{ 60 }}")
