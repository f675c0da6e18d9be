"""The catalogue is parsed at the edge: one line says what is wrong, and inside there is nothing left to check."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.gate_device import CATALOGUE, catalogue_document
from tickets import catalogue
from tickets.catalogue import CatalogueError, OfflinePolicy, ProductKind


def test_the_demo_venue_can_be_used() -> None:
    assert CATALOGUE.product_of(10) is CATALOGUE.products["rides"]
    assert CATALOGUE.product_of(999) is None
    assert [variant.number for variant in CATALOGUE.variants_of("admission")] == [1, 2, 3, 4]
    assert CATALOGUE.products["rides"].kind is ProductKind.BOOK
    assert CATALOGUE.products["strict"].offline is OfflinePolicy.REFUSE
    assert CATALOGUE.gates["coaster"].units == 2


def broken(change: Callable[[dict[str, Any]], Any]) -> str:
    document = catalogue_document()
    change(document)
    return json.dumps(document)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Expecting value"),
        ("[]", ""),
        ('{"venue": {}}', "'currency' is missing"),
        (broken(lambda d: d.pop("gates")), "'gates' is missing"),
        (broken(lambda d: d["venue"]["issuer"].pop("phone")), "phone"),
        (broken(lambda d: d["products"][0].update(kind="boat")), "boat"),
        (broken(lambda d: d["products"][0].update(offline="maybe")), "maybe"),
        (broken(lambda d: d["products"][0]["name"].pop("ja")), "no 'ja'"),
        (broken(lambda d: d["variants"][0].update(number=65536)), "65536"),
        (broken(lambda d: d["variants"][0].update(uses=-1)), "number and uses"),
        (broken(lambda d: d["variants"][0].update(product="boat")), "unknown product 'boat'"),
        (broken(lambda d: d["variants"][0].update(person="giant")), "unknown person type 'giant'"),
        (broken(lambda d: d["variants"][0].update(price="cheap")), "cheap"),
        (broken(lambda d: d["gates"][0].update(units=0)), "gate 'A': units go from 1"),
        (broken(lambda d: d["venue"].update(currency="XXX")), "XXX"),
        (
            broken(lambda d: next(row for row in d["variants"] if row["product"] == "pass").update(uses=10)),
            "variant 40: 'uses' must be 0 where its product has 'uses_a_day'",
        ),
        (
            broken(lambda d: next(row for row in d["gates"] if row["gate"] == "shop").update(products=[])),
            "product 'ramune' is handed out at no gate",
        ),
    ],
)
def test_what_cannot_be_used_is_said_in_one_line(text: str, says: str) -> None:
    with pytest.raises(CatalogueError) as told:
        catalogue.parse(text)
    assert says in str(told.value)
    assert "\n" not in str(told.value)
