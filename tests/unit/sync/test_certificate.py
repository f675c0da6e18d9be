"""What a certificate allows its key to sign."""

from __future__ import annotations

import pytest

from sync.certificate import Certificate, covers
from tickets.ids import Kid


def certificate(*products: str) -> Certificate:
    return Certificate(
        kid=Kid(b"\0\0\0\1"),
        public=bytes(32),
        device="00" * 16,
        not_before=1_000,
        expires=2_000,
        tickets_max=10,
        products=products,
    )


@pytest.mark.parametrize(
    ("not_before", "expires", "allowed"),
    [
        (1_200, 1_300, True),
        (0, 1_001, True),
        (0, 1_000, False),
        (1_999, 9_000, True),
        (2_000, 9_000, False),
        (0, 9_000, True),
    ],
)
def test_a_ticket_and_its_certificate_are_in_force_together(not_before: int, expires: int, allowed: bool) -> None:
    assert covers(certificate(), not_before=not_before, expires=expires, product="admission") is allowed


def test_a_certificate_that_names_products_covers_no_other() -> None:
    assert covers(certificate("admission", "rides"), not_before=1_200, expires=1_300, product="rides")
    assert not covers(certificate("rides"), not_before=1_200, expires=1_300, product="admission")
    assert not covers(certificate("rides"), not_before=1_200, expires=1_300, product=None)
    assert covers(certificate(), not_before=1_200, expires=1_300, product=None)
