"""Makes `journal_previous.sql` and `journal_previous_gate.sql`: the journal of a kiosk as the release before migrations wrote it (commit 5a76f39), with work in it.

Run with that commit's code on the path: `git worktree add DIR 5a76f39 && cd DIR && PYTHONPATH=. python THIS_FILE OUT_DIR`. What it leaves
behind: a sale that was never sent and whose print job waits, an attempt that was sent to the terminal and never answered.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import tempfile
from pathlib import Path

from sqlalchemy import insert

from kiosk.payment.attempt import State
from kiosk.payment.contract import AttemptId, Evidence, Method, OrderRef, Outcome, PayRequest
from kiosk.sale.ledger import Ledger
from kiosk.sale.tables import sale_order
from scanner.gate import tables as gate_tables
from sync.operation import Paid, Sale, SoldLine, SoldTicket, TaxAmount
from tests.support.device import KID, gate, selling_kiosk
from tickets.clock import SystemClock
from tickets.money import Money


def main(out: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        device = selling_kiosk(Path(name))
        counter = iter(range(1, 1000))
        ledger = Ledger(
            device.journal,
            label="K2",
            boot="previous",
            clock=SystemClock(),
            random_bytes=lambda size: next(counter).to_bytes(2, "big").rjust(size, b"\x77"),
        )
        for order, number in (("aa" * 10, 1), ("bb" * 10, 2)):
            with device.journal.write() as connection:
                connection.execute(
                    insert(sale_order),
                    {
                        "order": order,
                        "number": f"K2-1123-{number:04d}",
                        "business_day": "2026-11-23",
                        "counter": number,
                        "language": "ja",
                        "body": json.dumps({"total_minor": 1800, "currency": "JPY"}),
                        "at": "2026-11-23T03:00:00+00:00",
                    },
                )
        _sold(ledger, "aa" * 10)
        attempt = AttemptId("attempt-2")
        _intend(ledger, attempt, "bb" * 10)
        ledger.step(attempt, State.SENT)
        device.journal.engine.dispose()
        db = sqlite3.connect(device.state.journal)
        (out / "journal_previous.sql").write_text("\n".join(db.iterdump()) + "\n", encoding="utf-8")
        db.close()
        passage = gate(Path(name) / "gate")
        gate_tables.create(passage.journal.engine)
        passage.journal.engine.dispose()
        db = sqlite3.connect(passage.state.journal)
        (out / "journal_previous_gate.sql").write_text("\n".join(db.iterdump()) + "\n", encoding="utf-8")
        db.close()


def _intend(ledger: Ledger, attempt: AttemptId, order: str) -> None:
    ledger.intend(
        PayRequest(
            attempt_id=attempt,
            order_ref=OrderRef(order),
            amount=Money(1800, "JPY"),
            method=Method.CARD,
            deadline_s=90,
            baseline={},
        )
    )


def _sold(ledger: Ledger, order: str) -> None:
    attempt = AttemptId("attempt-1")
    _intend(ledger, attempt, order)
    ledger.step(attempt, State.SENT)
    proof = Evidence(outcome=Outcome.APPROVED_FINAL, code="ok", attempt_id=attempt, receipt_no=1)
    with ledger.journal.write() as connection:
        ledger._step(connection, attempt, State.CONFIRMED, proof)
        ledger.journal.append(
            connection,
            Sale(
                op="77" * 16,
                at="2026-11-23T03:00:00+00:00",
                order=order,
                number="K2-1123-0001",
                language="ja",
                currency="JPY",
                total_minor=1800,
                lines=(SoldLine(variant=1, count=1, unit_minor=1800, tax_bp=1000, slot=None),),
                tax=(TaxAmount(tax_bp=1000, gross_minor=1800, tax_minor=163),),
                paid=Paid(tender="card", attempt=attempt, receipt="1"),
                tickets=(
                    SoldTicket(
                        ticket="cc" * 10,
                        kid=KID.hex(),
                        variant=1,
                        uses=1,
                        language="ja",
                        not_before=1_795_000_000,
                        expires=1_796_000_000,
                        short_id="418001",
                        line=0,
                        slot=None,
                    ),
                ),
            ),
        )
        connection.exec_driver_sql(
            "INSERT INTO print_job (id, kind, boot, state, created_at, ruled) VALUES (?, 'tickets', 'previous', 'queued', ?, 1)",
            (f"{order}-tickets", "2026-11-23T03:00:00+00:00"),
        )
        connection.exec_driver_sql(
            "INSERT INTO print_part (job, seq, document, sha256, state, try) VALUES (?, 1, '{}', '', 'queued', 1)",
            (f"{order}-tickets",),
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
