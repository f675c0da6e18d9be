"""Whatever happens, in whatever order: nothing raises, totals are the order's, home leaves nothing, no charge without an order."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from kiosk.locale import words
from kiosk.visit import event as e
from kiosk.visit.effect import BeginPayment, HoldStock
from kiosk.visit.present import present
from kiosk.visit.route import Attract, Basket, Choosing, Paying, Printing
from kiosk.visit.situation import BlockReason, Situation, Tender, TenderState, TenderTrouble
from kiosk.visit.state import Visit, lines_now, order_of_lines, start
from kiosk.visit.views import StubKind
from tests.unit.kiosk.visit.guest import SITUATION, SLOTS, Guest, slot_stock
from tickets.language import Language
from tickets.order import TICKETS_MAX

TURNS = st.integers(0, 6)
PRODUCTS = st.sampled_from(["admission", "rides", "athletics", "ramune", "nothing"])
VARIANTS = st.sampled_from([1, 2, 3, 4, 10, 20, 21, 30, 99])
SLOT_IDS = st.sampled_from(["few", "plenty", "unknown", "gone", "over", "nothing"])
PARTS = st.sampled_from([(), (e.PrintedPart("admission", 1, 2), e.PrintedPart("gone_product", 0, 4))])

EVENTS = st.one_of(
    st.builds(e.Start, st.sampled_from(Language)),
    st.builds(e.ChooseProduct, PRODUCTS),
    st.builds(e.ChooseSlot, SLOT_IDS),
    st.builds(e.TurnPage, st.integers(-1, 3)),
    st.builds(e.Plus, VARIANTS),
    st.builds(e.Minus, VARIANTS),
    st.builds(e.EditLine, PRODUCTS, st.sampled_from(["", "few", "plenty"])),
    st.builds(e.ChooseLanguage, st.sampled_from(Language)),
    st.builds(e.Pay, st.sampled_from(Tender)),
    st.sampled_from(
        [e.Next(), e.AddAnother(), e.ChangeLines(), e.Back(), e.StartOver(), e.Lower(), e.CallStaff(), e.Cancel()]
    ),
    st.sampled_from([e.Next(), e.Next(), e.WantReceipt(), e.NoReceipt(), e.Continue(), e.Tick()]),
    st.builds(e.StockHeld, TURNS),
    st.builds(e.StockRefused, TURNS, SLOT_IDS, st.integers(0, 3)),
    st.builds(e.PaymentProgress, TURNS, st.sampled_from(e.PaymentStage), st.booleans()),
    st.builds(e.Paid, TURNS),
    st.builds(e.Declined, TURNS, st.sampled_from(e.DeclineReason)),
    st.builds(e.Cancelled, TURNS),
    st.builds(e.Unknown, TURNS, st.just("K2-4172")),
    st.builds(e.Printing, TURNS, st.integers(0, 5), st.integers(0, 5), PARTS),
    st.builds(e.PaperOut, TURNS, st.integers(0, 3), st.integers(3, 5)),
    st.builds(e.Printed, TURNS),
    st.builds(e.Owed, TURNS, st.just("K2-4173"), st.integers(0, 3), st.integers(3, 5)),
    st.builds(e.ReceiptPrinted, TURNS),
    st.builds(e.ReceiptFailed, TURNS),
)
SITUATIONS = st.sampled_from(
    [
        SITUATION,
        SITUATION,
        replace(SITUATION, slots=(slot_stock("few", 11, 0, 0),)),
        replace(SITUATION, slots=()),
        replace(SITUATION, tenders=(TenderState(Tender.CARD), TenderState(Tender.CODE, TenderTrouble.OUT_OF_ORDER))),
        replace(SITUATION, blocked=BlockReason.PAPER),
        Situation(),
    ]
)
STEPS = st.lists(st.tuples(EVENTS, st.integers(0, 40)), max_size=60)


def checked(guest: Guest) -> None:
    """What holds in every state."""
    view = present(guest.visit, guest.context, words(guest.visit.language))
    if guest.visit.catalogue is None:
        assert guest.here == Attract()
        assert replace(guest.visit, language=Language.JA, lowered=False, overlay=None, touched_s=0.0, turn=0) == start()
        return
    lines = lines_now(guest.visit)
    order = order_of_lines(guest.visit.sold, lines)
    assert order is None or order.ticket_count <= TICKETS_MAX
    bar = view.frame.bar
    if bar.total is not None and isinstance(guest.here, Choosing | Paying):
        total = 0 if order is None else order.total.minor
        assert bar.total.figures == f"{total:,}"
    if isinstance(guest.here, Basket | Paying | Printing):
        assert guest.visit.basket
    assert len(guest.visit.route) <= 12
    stub = bar.stub
    assert (stub.touch is not None) == (stub.kind in {StubKind.ONWARD, StubKind.PLAIN})


@settings(max_examples=150, deadline=None, derandomize=True)
@given(STEPS, st.lists(SITUATIONS, min_size=1, max_size=4))
def test_nothing_that_happens_breaks_a_visit(steps, situations):
    guest = Guest()
    for index, (event, seconds) in enumerate(steps):
        if index % 15 == 14:
            guest.situation = situations[index // 15 % len(situations)]
        guest.now_s += seconds
        guest.does(event)
        checked(guest)
    guest.does(e.Continue(), e.StartOver(), e.Continue())


WALK = st.lists(
    st.one_of(
        st.builds(e.ChooseProduct, PRODUCTS),
        st.builds(e.ChooseSlot, st.sampled_from(["few", "plenty"])),
        st.builds(e.Plus, VARIANTS),
        st.builds(e.Minus, VARIANTS),
        st.sampled_from([e.Next(), e.Next(), e.AddAnother(), e.Back(), e.ChangeLines(), e.Pay(Tender.CARD)]),
    ),
    max_size=80,
)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(WALK)
def test_what_is_charged_is_what_was_shown_and_what_is_held_is_in_the_basket(events):
    """An engine that holds whatever it is asked for."""
    guest = Guest().does(e.Start(Language.JA))
    for event in events:
        shown = present(guest.visit, guest.context, words(Language.JA))
        guest.does(event)
        for begun in guest.took(BeginPayment):
            assert f"{begun.order.total.minor:,}" == shown.frame.bar.total.figures
            wanted: dict[str, int] = {}
            for line in begun.order.lines:
                if line.slot is not None:
                    wanted[line.slot.slot] = wanted.get(line.slot.slot, 0) + line.count
            assert dict(guest.visit.held) == wanted
            assert (begun.tender is None) == (begun.order.total.minor == 0)
            guest.does(e.Declined(begun.turn, e.DeclineReason.DECLINED))
        for hold in guest.took(HoldStock):
            guest.does(e.StockHeld(hold.turn))
        checked(guest)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(STEPS)
def test_home_is_home(steps):
    """From wherever a guest may leave, nothing is left but the count of turns."""
    guest = Guest()
    for event, seconds in steps:
        guest.now_s += seconds
        guest.does(event)
        before = guest.visit
        after = Guest(visit=before, now_s=guest.now_s)
        after.does(e.Continue()) if before.overlay else None
        after.does(e.StartOver())
        if before.catalogue is not None and after.visit.catalogue is None:
            assert after.visit == Visit(turn=before.turn, touched_s=after.visit.touched_s)


def test_a_slot_that_ends_while_the_guest_looks_cannot_be_chosen_any_more():
    guest = Guest().does(e.Start(Language.JA), e.ChooseProduct("athletics"))
    guest.now_s = 45 * 60 * 60.0
    guest.does(e.ChooseSlot("plenty"))
    assert SLOTS[3].slot.ends_at < guest.context.now
    assert guest.visit.basket == ()
