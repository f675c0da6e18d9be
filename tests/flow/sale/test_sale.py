"""A sale over real wires: ZVT to the terminal's emulator, ESC/POS to the printer's, rows in a real journal between them."""

from __future__ import annotations

import cv2
import pytest
import zxingcpp

from kiosk.visit import effect, event
from kiosk.visit.event import DeclineReason
from kiosk.visit.situation import BlockReason
from tests.support.counter import FAMILY, counter
from tickets.code import parse, public_key, verify

pytestmark = pytest.mark.flow


def codes(paths) -> list[str]:
    return [found[0].text for path in paths if (found := zxingcpp.read_barcodes(cv2.imread(str(path))))]


def test_a_family_pays_by_card_and_takes_thirteen_tickets_and_a_receipt(tmp_path):
    with counter(tmp_path) as desk:
        desk.start_engine()
        desk.wait_open()
        desk.buy()
        assert isinstance(desk.outcome(), event.Paid)
        assert desk.wait(event.Printed).turn == 1
        desk.engine.perform(effect.PrintReceipt(turn=2))
        desk.wait(event.ReceiptPrinted)
        assert desk.states() == ["intent", "sent", "held", "confirm_sent", "confirmed"]
        assert desk.charged_minor() == desk.sold_minor() == 7500
        papers = desk.papers()
        assert len(papers) == 14, "thirteen tickets and the receipt, each cut"
        texts = codes(papers)
        (sale,) = desk.operations("sale")
        assert [parse(text).ticket.ticket_id.hex() for text in texts] == [row["ticket"] for row in sale["tickets"]]
        key = public_key(desk.device.selling_key.public_key().public_bytes_raw())
        assert all(verify(parse(text), key) for text in texts)


def test_a_declined_card_leaves_nothing_behind_and_the_next_one_pays(tmp_path):
    with counter(tmp_path, terminal=["--fault", "decline=05"]) as desk:
        desk.start_engine()
        desk.wait_open()
        desk.buy()
        declined = desk.outcome()
        assert isinstance(declined, event.Declined)
        assert declined.reason is DeclineReason.DECLINED
        assert (desk.charged_minor(), desk.operations("sale"), desk.papers()) == (0, [], [])
        desk.buy()
        assert isinstance(desk.outcome(), event.Paid)
        desk.wait(event.Printed)
        assert desk.charged_minor() == desk.sold_minor() == 7500


def test_an_order_of_nothing_needs_no_terminal(tmp_path):
    with counter(tmp_path) as desk:
        desk.start_engine()
        desk.wait_open()
        desk.buy([(4, 2, None)], tender=None)
        assert isinstance(desk.outcome(), event.Paid)
        desk.wait(event.Printed)
        assert len(desk.papers()) == 2
        assert desk.operations("sale")[0]["paid"]["tender"] == "none"
        desk.engine.perform(effect.PrintReceipt(turn=2))
        desk.wait(event.ReceiptFailed)


def test_nobody_is_charged_while_the_printer_is_away(tmp_path):
    with counter(tmp_path) as desk:
        desk.start_engine()
        desk.wait_open()
        order = desk.order()
        desk.kill("spool")
        desk.kill("printer")
        while desk.situation.block_reason is None:
            desk.wait(type(desk.situation))
        desk.turn += 1
        from kiosk.visit.situation import Tender
        from tickets.language import Language

        desk.engine.perform(effect.BeginPayment(turn=desk.turn, order=order, tender=Tender.CARD, language=Language.JA))
        declined = desk.outcome()
        assert isinstance(declined, event.Declined)
        assert declined.reason is DeclineReason.NOT_READY
        assert (desk.charged_minor(), desk.states()) == (0, [])


def test_a_lost_completion_is_a_doubt_that_resolves_itself_into_tickets(tmp_path):
    """06 0F never came: the guest is charged, nobody here knows. Asking proves it, and the tickets are printed once."""
    with counter(tmp_path, terminal=["--fault", "lost-before-completion"]) as desk:
        desk.start_engine()
        desk.wait_open()
        desk.buy()
        first = desk.outcome()
        assert isinstance(first, event.Unknown), first
        assert isinstance(desk.outcome(), event.Paid)
        desk.wait(event.Printed)
        assert desk.charged_minor() == desk.sold_minor() == 7500
        assert len(desk.operations("sale")) == 1
        doubts = [row["state"] for row in desk.operations("payment_doubt")]
        assert doubts == ["begun", "unknown", "paid"]
        assert len({row["claim"] for row in desk.operations("payment_doubt")[1:]}) == 1


def test_paper_out_says_so_and_goes_on_with_new_paper(tmp_path):
    with counter(tmp_path, printer=["--fault", "paper-out@cut=4"]) as desk:
        desk.start_engine()
        desk.wait_open()
        desk.buy()
        assert isinstance(desk.outcome(), event.Paid)
        stuck = desk.wait(event.PaperOut)
        assert stuck.done < stuck.of == 13
        desk.program("printer").tell({"do": "load-paper"})
        desk.wait(event.Printed, timeout_s=40)
        (sale,) = desk.operations("sale")
        printed = [parse(text).ticket.ticket_id.hex() for text in codes(desk.papers())]
        assert set(printed) == {row["ticket"] for row in sale["tickets"]}


def test_what_a_guest_leaves_unprinted_is_owed_under_a_claim(tmp_path):
    with counter(tmp_path, printer=["--fault", "paper-out@cut=4"]) as desk:
        desk.start_engine()
        desk.wait_open()
        desk.buy()
        assert isinstance(desk.outcome(), event.Paid)
        stuck = desk.wait(event.PaperOut)
        desk.engine.perform(effect.ClearGuest())
        while not desk.operations("owed"):
            desk.engine.take()
        (owed,) = desk.operations("owed")
        assert len(owed["tickets"]) == stuck.of - stuck.done
        (sale,) = desk.operations("sale")
        assert {row["ticket"] for row in sale["tickets"]} >= set(owed["tickets"])


def test_stock_of_a_slot_is_held_sold_and_refused(tmp_path):
    with counter(tmp_path) as desk:
        desk.start_engine()
        desk.wait_open()
        (stock,) = desk.situation.slots
        assert stock.remaining == 20
        desk.engine.perform(effect.HoldStock(turn=1, wanted=((stock.slot.slot, 19),)))
        assert desk.wait(event.StockHeld, event.StockRefused) == event.StockHeld(turn=1)
        desk.engine.perform(effect.HoldStock(turn=2, wanted=((stock.slot.slot, 21),)))
        assert desk.wait(event.StockHeld, event.StockRefused) == event.StockRefused(
            turn=2, slot=stock.slot.slot, remaining=20
        )
        desk.buy([(20, 2, stock.slot)])
        assert isinstance(desk.outcome(), event.Paid)
        desk.wait(event.Printed)
        while desk.situation.slots[0].remaining != 18:
            desk.wait(type(desk.situation))


def test_a_journal_that_the_hub_contradicts_stops_the_sale_while_it_runs(tmp_path):
    with counter(tmp_path) as desk:
        desk.start_engine()
        desk.wait_open()
        desk.device.journal.mark_forked("operation 1.7 is known to the hub with another hash")
        while desk.situation.block_reason is None:
            desk.wait(type(desk.situation), timeout_s=10)
        assert desk.situation.block_reason is BlockReason.JOURNAL


def test_family_is_what_the_story_says():
    assert sum(count for _, count, _ in FAMILY) == 4
