"""The catalogue: what a venue sells, to whom, for how much, and what each gate lets in.

It travels as one JSON document (the hub's change feed carries it whole, it is small) and is parsed here, at the edge, into
values that need no more checking. Slots and their stock change all day and travel as rows of their own.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from tickets.business_day import BusinessDay
from tickets.language import Texts
from tickets.money import Money


class CatalogueError(ValueError):
    """A catalogue document that cannot be used. One line: where, what is allowed."""

    code = "catalogue"


class ProductKind(StrEnum):
    ADMISSION = "admission"
    SLOT = "slot"
    BOOK = "book"
    PASS = "pass"  # noqa: S105 an annual pass, no password
    GOODS = "goods"


class Reentry(StrEnum):
    NONE = "none"
    AFTER_EXIT = "after_exit"


class OfflinePolicy(StrEnum):
    """What a gate does when nobody answers its claim; in the office's words."""

    ADMIT_AND_REPORT = "admit_and_report"
    REFUSE = "refuse"


@dataclass(frozen=True, slots=True)
class Issuer:
    """Who sells, as a receipt names them. `registration` is T and 13 digits, or empty where not registered."""

    name: str
    address: str
    phone: str
    registration: str


@dataclass(frozen=True, slots=True)
class Venue:
    name: Texts
    currency: str
    day: BusinessDay
    issuer: Issuer


@dataclass(frozen=True, slots=True)
class Gate:
    """`products` are those admitted here; `units` what one passage costs of a counted ticket."""

    gate: str
    name: Texts
    products: frozenset[str]
    units: int = 1


@dataclass(frozen=True, slots=True)
class PersonType:
    person: str
    name: Texts
    note: Texts


@dataclass(frozen=True, slots=True)
class Product:
    """`validity_days` 1: the business day of the sale (or the slot); more: from the sale on. `coupons` > 0: a ride book sold as
    a strip of so many coupons, each a ticket of one use. `uses_a_day` > 0: the cap counts per business day, and is the only
    one: its variants have `uses` 0. `group`: one code for several people, the gate asks how many. Goods are handed out at one gate
    at least. `offline_minutes` > 0: without an answer a gate lets in only while what it last heard is not older.
    """

    product: str
    kind: ProductKind
    name: Texts
    note: Texts
    tax_bp: int
    picture: str
    validity_days: int = 1
    coupons: int = 0
    uses_a_day: int = 0
    group: bool = False
    reentry: Reentry = Reentry.NONE
    offline: OfflinePolicy = OfflinePolicy.ADMIT_AND_REPORT
    offline_minutes: int = 0


@dataclass(frozen=True, slots=True)
class Variant:
    """A product for a person type. `number` stands in ticket codes and is never reused. `price` includes tax; `uses` 0 means
    no limit; `proof` names what gate staff must see, or is empty; `count_max` is the most one order may have.
    """

    number: int
    product: str
    person: str | None
    price: Money
    uses: int = 1
    proof: Texts = field(default_factory=dict)
    count_max: int = 20


@dataclass(frozen=True, slots=True)
class Slot:
    """A bookable time of a product. Starts and ends are aware instants."""

    slot: str
    product: str
    starts_at: datetime
    ends_at: datetime
    capacity: int


@dataclass(frozen=True, slots=True)
class Catalogue:
    venue: Venue
    gates: Mapping[str, Gate]
    people: Mapping[str, PersonType]
    products: Mapping[str, Product]
    variants: Mapping[int, Variant]

    def product_of(self, variant: int) -> Product | None:
        found = self.variants.get(variant)
        return None if found is None else self.products[found.product]

    def variants_of(self, product: str) -> tuple[Variant, ...]:
        """In the order of the document, which is the order of the screen."""
        return tuple(variant for variant in self.variants.values() if variant.product == product)


def parse(text: str) -> Catalogue:
    """The document of docs/protocol.md as a Catalogue. Raises CatalogueError."""
    try:
        document = json.loads(text)
        return _catalogue(document)
    except KeyError as error:
        raise CatalogueError(f"catalogue: {error} is missing") from error
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise CatalogueError(f"catalogue: {error}") from error


def _catalogue(document: Mapping[str, Any]) -> Catalogue:
    venue = document["venue"]
    currency = venue["currency"]
    catalogue = Catalogue(
        venue=Venue(
            name=_texts(venue["name"]),
            currency=currency,
            day=BusinessDay(venue["timezone"], int(venue["day_boundary_hour"])),
            issuer=Issuer(**venue["issuer"]),
        ),
        gates={row["gate"]: _gate(row) for row in document["gates"]},
        people={
            row["person"]: PersonType(row["person"], _texts(row["name"]), _texts(row["note"]))
            for row in document["people"]
        },
        products={row["product"]: _product(row) for row in document["products"]},
        variants={row["number"]: _variant(row, currency) for row in document["variants"]},
    )
    for number, variant in catalogue.variants.items():
        if variant.product not in catalogue.products:
            raise CatalogueError(f"catalogue: variant {number} is of the unknown product '{variant.product}'")
        if variant.person is not None and variant.person not in catalogue.people:
            raise CatalogueError(f"catalogue: variant {number} is for the unknown person type '{variant.person}'")
        if variant.uses and catalogue.products[variant.product].uses_a_day:
            raise CatalogueError(f"catalogue: variant {number}: 'uses' must be 0 where its product has 'uses_a_day'")
    handed_out = frozenset[str]().union(*(gate.products for gate in catalogue.gates.values()))
    for name, product in catalogue.products.items():
        if product.kind is ProductKind.GOODS and name not in handed_out:  # its paper says where to fetch it
            raise CatalogueError(f"catalogue: product '{name}' is handed out at no gate")
    return catalogue


def _gate(row: Mapping[str, Any]) -> Gate:
    units = int(row.get("units", 1))
    if not 1 <= units < 1 << 16:
        raise CatalogueError(f"catalogue: gate '{row['gate']}': units go from 1 to 65535")
    return Gate(row["gate"], _texts(row["name"]), frozenset(row["products"]), units)


def _product(row: Mapping[str, Any]) -> Product:
    return Product(
        product=row["product"],
        kind=ProductKind(row["kind"]),
        name=_texts(row["name"]),
        note=_texts(row["note"]),
        tax_bp=int(row["tax_bp"]),
        picture=str(row["picture"]),
        validity_days=int(row.get("validity_days", 1)),
        coupons=int(row.get("coupons", 0)),
        uses_a_day=int(row.get("uses_a_day", 0)),
        group=bool(row.get("group", False)),
        reentry=Reentry(row.get("reentry", "none")),
        offline=OfflinePolicy(row.get("offline", "admit_and_report")),
        offline_minutes=int(row.get("offline_minutes", 0)),
    )


def _variant(row: Mapping[str, Any], currency: str) -> Variant:
    number, uses = int(row["number"]), int(row.get("uses", 1))
    if not 0 <= number < 1 << 16 or not 0 <= uses < 1 << 16:
        raise CatalogueError(f"catalogue: variant {number}: number and uses go from 0 to 65535")
    return Variant(
        number=number,
        product=row["product"],
        person=row.get("person"),
        price=Money(int(row["price"]), currency),
        uses=uses,
        proof=_texts(row["proof"]) if row.get("proof") else {},
        count_max=int(row.get("count_max", 20)),
    )


def _texts(value: Mapping[str, str]) -> Texts:
    if "ja" not in value:
        raise CatalogueError("catalogue: a text has no 'ja'")
    return dict(value)
