"""The reference pages: what the code says, all of it."""

from pathlib import Path

import pytest

from docs.reference import generate
from modelwright.api.conditions import ConditionType, Reason


@pytest.mark.parametrize("name", sorted(generate.pages()))
def test_a_page_is_what_the_code_says(name: str) -> None:
    assert (generate.HERE / name).read_text() == generate.pages()[name]


def test_the_script_writes_them(tmp_path: Path) -> None:
    generate.main(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == set(generate.pages())


def test_every_condition_and_every_reason_has_its_sentence() -> None:
    page = generate.pages()["conditions.md"]
    missing = [word for word in (*ConditionType, *Reason) if f"| `{word}` |" not in page]
    assert missing == []


def test_tables_have_as_many_cells_as_heads() -> None:
    for name, page in generate.pages().items():
        width = 0
        for line in page.splitlines():
            if not line.startswith("|"):
                width = 0
                continue
            cells = line.replace("\\|", "").count("|")
            width = width or cells
            assert cells == width, f"{name}: {line}"
