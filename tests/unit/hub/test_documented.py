"""docs/protocol.md says what the code does: the feed's tables and columns, and each error once."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from hub.services.feed import FEEDS
from sync.cache import SCHEMA

TEXT = (Path(__file__).parents[3] / "docs" / "protocol.md").read_text(encoding="utf-8")
NODE_ONLY = {"device"}
WIDER_AT_A_NODE = {"ticket": {"kid", "slot", "book", "part", "parts"}, "used": {"epoch", "device", "attention"}}


def rows(header: str) -> list[list[str]]:
    body = TEXT.split(header)[1].split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in body]


def test_the_feeds_tables_and_columns() -> None:
    said = {
        row[0]: set(re.sub(r"\(.*?\)", "", row[1]).replace(" ", "").split(","))
        for row in rows("| table | columns | key |")
    }
    done = {
        name: {column for column, _, _ in held.columns} - WIDER_AT_A_NODE.get(name, set())
        for name, held in FEEDS.items()
        if name not in NODE_ONLY
    }
    assert said == done


def test_each_error_is_there_once() -> None:
    words = Counter(
        (row[0], word.strip())
        for row in rows("| status | error | what the device does |")
        for word in row[1].split(",")
    )
    assert words.most_common(1)[0][1] == 1, words.most_common(3)


def test_the_snapshots_schema() -> None:
    assert f"SQLite file of `schema` {SCHEMA}," in TEXT
