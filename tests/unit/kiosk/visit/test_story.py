"""A visit told as stories: what a guest touches, what the engine says, what stands on the screen."""

import pytest

from kiosk.locale import words
from kiosk.visit import event as e
from kiosk.visit.effect import BeginPayment, CallStaff, CancelPayment, ClearGuest, HoldStock, PrintReceipt, Sound, Tone
from kiosk.visit.present import present
from kiosk.visit.route import (
    Attract,
    Basket,
    Change,
    Method,
    OwedTickets,
    Paying,
    PaymentNotice,
    People,
    Printing,
    Products,
    Receipt,
    Slots,
    Take,
    Thanks,
    UnknownPayment,
)
from kiosk.visit.situation import BlockReason, Situation, Tender, TenderState, TenderTrouble
from kiosk.visit.state import Overlay, lines_now, order_of_lines, start
from kiosk.visit.views import BlockedView, Mark, PeopleView, SlotsView, StubKind, TakeView
from tests.unit.kiosk.visit.guest import Guest, slot_stock
from tickets.language import Language

FAMILY = (e.Start(Language.JA), e.ChooseProduct("admission"), e.Plus(1), e.Plus(2), e.Next())
RIDES = (e.AddAnother(), e.ChooseProduct("rides"), e.Next())


def view_of(guest):
    return present(guest.visit, guest.context, words(guest.visit.language))


def paying(guest):
    """At the terminal, with two adults and a child."""
    guest.does(*FAMILY, e.Next(), e.Pay(Tender.CARD))
    return guest.took(BeginPayment)[0].turn


def printing(guest):
    turn = paying(guest)
    guest.does(e.Paid(turn))
    return turn


class TestBuying:
    def test_two_adults_a_child_and_a_ride_book_by_card(self):
        guest = Guest()
        guest.does(*FAMILY)
        assert guest.here == Basket()
        guest.does(*RIDES)
        assert [(line.variant, line.count) for line in guest.visit.basket] == [(1, 2), (2, 1), (10, 1)]
        guest.does(e.Next())
        assert guest.here == Method()
        guest.does(e.Pay(Tender.CARD))
        assert guest.here == Paying(Tender.CARD)
        (begun,) = guest.took(BeginPayment)
        assert begun.order.total.minor == 7_500
        assert begun.order.ticket_count == 13
        assert begun.tender is Tender.CARD
        assert begun.language is Language.JA
        guest.does(e.PaymentProgress(begun.turn, e.PaymentStage.PRESENT_CARD, cancellable=True))
        guest.does(e.Paid(begun.turn), e.Printing(begun.turn, 5, 13, (e.PrintedPart("admission", 3, 3),)))
        assert guest.here == Printing(Tender.CARD, 5, 13, (e.PrintedPart("admission", 3, 3),))
        guest.does(e.Printed(begun.turn))
        assert guest.here == Take(Tender.CARD, Receipt.OFFERED)
        guest.does(e.WantReceipt())
        assert guest.took(PrintReceipt) == [PrintReceipt(begun.turn)]
        guest.does(e.ReceiptPrinted(begun.turn))
        assert guest.here == Thanks()
        guest.does(e.Continue())
        assert guest.here == Attract()
        assert guest.took(ClearGuest) == [ClearGuest()]

    def test_two_adults_and_a_child_take_eight_taps(self):
        """The language is one; no tap is spent on what is already so."""
        taps = (*FAMILY, e.Next(), e.Pay(Tender.CARD))
        guest = Guest().does(*taps)
        assert guest.here == Paying(Tender.CARD)
        assert len(taps) <= 8

    def test_the_first_person_type_starts_at_one(self):
        guest = Guest().does(e.Start(Language.JA), e.ChooseProduct("admission"))
        assert dict(guest.here.draft.counts) == {1: 1, 2: 0, 3: 0, 4: 0}

    def test_choosing_a_product_again_changes_its_counts(self):
        guest = Guest().does(*FAMILY, e.AddAnother(), e.ChooseProduct("admission"))
        assert dict(guest.here.draft.counts) == {1: 2, 2: 1, 3: 0, 4: 0}
        guest.does(e.Minus(2), e.Next())
        assert [(line.variant, line.count) for line in guest.visit.basket] == [(1, 2)]

    def test_all_at_none_takes_a_product_out(self):
        guest = Guest().does(*FAMILY, *RIDES, e.ChangeLines())
        assert guest.here == Change()
        guest.does(e.EditLine("rides", ""), e.Minus(10))
        assert view_of(guest).frame.bar.stub.kind is StubKind.ONWARD
        guest.does(e.Next())
        assert [line.variant for line in guest.visit.basket] == [1, 2]

    def test_none_of_a_new_product_leads_nowhere(self):
        guest = Guest().does(e.Start(Language.JA), e.ChooseProduct("admission"), e.Minus(1), e.Next())
        assert isinstance(guest.here, People)
        assert view_of(guest).frame.bar.stub.kind is StubKind.HINT

    def test_counts_end_where_the_catalogue_says(self):
        guest = Guest().does(e.Start(Language.JA), e.ChooseProduct("rides"), *[e.Plus(10)] * 9)
        assert dict(guest.here.draft.counts) == {10: 5}
        assert view_of(guest).counters[0].plus.touch is None

    def test_an_order_never_becomes_more_paper_than_it_may(self):
        guest = Guest().does(e.Start(Language.JA), e.ChooseProduct("rides"), *[e.Plus(10)] * 9, e.Next())
        for product, variants in (("admission", (1, 2, 3, 4)), ("ramune", (30,))):
            guest.does(e.AddAnother(), e.ChooseProduct(product))
            guest.does(*[e.Plus(variant) for variant in variants for _ in range(25)], e.Next())
        order = order_of_lines(guest.visit.sold, lines_now(guest.visit))
        assert order.ticket_count == 100

    def test_toddlers_alone_pay_nothing_and_meet_no_terminal(self):
        guest = Guest().does(e.Start(Language.EN), e.ChooseProduct("admission"), e.Minus(1), e.Plus(4), e.Next())
        guest.does(e.Next())
        (begun,) = guest.took(BeginPayment)
        assert begun.tender is None
        assert guest.here == Paying(None)
        guest.does(e.Paid(begun.turn), e.Printed(begun.turn))
        assert guest.here == Take(None, Receipt.NOT_OFFERED)
        assert view_of(guest).receipt is None
        guest.does(e.NoReceipt())
        assert guest.here == Thanks()

    def test_back_leads_the_way_it_came(self):
        guest = Guest().does(*FAMILY, *RIDES)
        for kind in (People, Products):
            guest.does(e.Back())
            assert isinstance(guest.here, kind)
        guest.does(e.Back())
        assert guest.here == Attract()

    def test_back_from_one_more_product_leads_to_the_basket(self):
        guest = Guest().does(*FAMILY, e.AddAnother(), e.Back())
        assert guest.here == Basket()
        assert len(guest.visit.basket) == 2

    def test_another_language_keeps_the_basket(self):
        guest = Guest().does(*FAMILY, e.ChooseLanguage(Language.EN))
        assert guest.visit.language is Language.EN
        assert view_of(guest).frame.question == "Is this right?"
        assert len(guest.visit.basket) == 2

    def test_a_language_that_is_not_spoken_here_changes_nothing(self):
        guest = Guest().does(*FAMILY, e.ChooseLanguage(Language.KO))
        assert guest.visit.language is Language.JA

    def test_the_guest_pays_the_prices_that_were_shown(self):
        guest = Guest().does(*FAMILY)
        dearer = Situation(None, (), guest.situation.tenders, None)
        before = view_of(guest).frame.bar.total
        guest.situation = Situation(guest.situation.catalogue, (), guest.situation.tenders, None)
        assert view_of(guest).frame.bar.total == before
        assert dearer.block_reason is BlockReason.NO_CATALOGUE


class TestSlots:
    def to_people(self, slot="few"):
        return Guest().does(e.Start(Language.JA), e.ChooseProduct("athletics"), e.ChooseSlot(slot))

    def test_a_slot_says_how_much_is_left_and_what_is_over_is_not_shown(self):
        guest = Guest().does(e.Start(Language.JA), e.ChooseProduct("athletics"))
        view = view_of(guest)
        assert isinstance(view, SlotsView)
        assert [(slot.name, slot.left.mark) for slot in view.slots] == [
            ("slot.gone", Mark.SOLD_OUT),
            ("slot.few", Mark.FEW),
            ("slot.plenty", Mark.PLENTY),
            ("slot.unknown", Mark.UNKNOWN),
        ]

    @pytest.mark.parametrize("slot", ["gone", "over", "nonsense"])
    def test_what_cannot_be_had_cannot_be_chosen(self, slot):
        assert isinstance(self.to_people(slot).here, Slots)

    def test_stock_is_held_before_the_basket(self):
        guest = self.to_people().does(e.Plus(21), e.Next())
        (hold,) = guest.took(HoldStock)
        assert hold.wanted == (("few", 2),)
        assert guest.here.awaiting
        guest.does(e.Plus(20))
        assert guest.here.draft.people == 2, "nothing moves while the engine is asked"
        guest.does(e.StockHeld(hold.turn))
        assert guest.here == Basket()
        assert guest.visit.held == (("few", 2),)

    def test_no_more_than_is_left_can_be_counted(self):
        guest = self.to_people().does(*[e.Plus(20)] * 5)
        assert guest.here.draft.people == 3
        assert "残り 3名分" in view_of(guest).frame.help

    def test_what_this_guest_holds_counts_as_theirs(self):
        guest = self.to_people().does(*[e.Plus(20)] * 5, e.Next())
        guest.does(e.StockHeld(guest.took(HoldStock)[0].turn))
        guest.finds(slots=(slot_stock("few", 11, 0, 0),))
        guest.does(e.ChangeLines())
        assert guest.here.draft.people == 3
        guest.does(e.Minus(20), e.Plus(20))
        assert guest.here.draft.people == 3
        guest.does(e.Plus(20))
        assert guest.here.draft.people == 3

    def test_fewer_left_than_wanted_is_said_and_can_be_mended(self):
        guest = self.to_people().does(*[e.Plus(20)] * 2, e.Next())
        guest.does(e.StockRefused(guest.took(HoldStock)[0].turn, "few", 1))
        view = view_of(guest)
        assert isinstance(view, PeopleView)
        assert "残り 1名分" in view.frame.help
        assert view.frame.bar.stub.kind is StubKind.HINT
        guest.does(e.Minus(20), e.Minus(20), e.Next())
        assert guest.took(HoldStock)[0].wanted == (("few", 1),)

    def test_sold_out_in_between_leads_back_to_the_times(self):
        guest = self.to_people().does(e.Next())
        guest.does(e.StockRefused(guest.took(HoldStock)[0].turn, "few", 0))
        assert guest.here == Slots("athletics", lost=True)
        assert "売り切れました" in view_of(guest).frame.help

    def test_a_hold_lost_later_takes_its_lines_out(self):
        guest = self.to_people().does(e.Next())
        turn = guest.took(HoldStock)[0].turn
        guest.does(e.StockHeld(turn), e.AddAnother(), e.ChooseProduct("rides"), e.Next(), e.Next())
        assert guest.here == Method()
        guest.does(e.StockRefused(turn, "few", 0))
        assert guest.here == Slots("athletics", lost=True)
        assert [line.variant for line in guest.visit.basket] == [10]

    def test_taking_the_slot_out_gives_it_back(self):
        guest = self.to_people().does(e.Next())
        guest.does(e.StockHeld(guest.took(HoldStock)[0].turn), e.ChangeLines(), e.Minus(20), e.Next())
        assert guest.took(HoldStock)[0].wanted == ()
        assert guest.here == Products()

    def test_an_answer_to_an_older_question_does_nothing(self):
        guest = self.to_people().does(e.Next())
        old = guest.took(HoldStock)[0].turn
        guest.does(e.Back(), e.StockHeld(old))
        assert isinstance(guest.here, Slots)
        assert guest.visit.basket == ()


class TestPaying:
    @pytest.mark.parametrize("reason", list(e.DeclineReason))
    def test_declined_leads_back_to_the_basket_with_a_calm_word(self, reason):
        guest = Guest()
        guest.does(e.Declined(paying(guest), reason))
        assert guest.here == Basket(PaymentNotice(reason.value))
        view = view_of(guest)
        assert "料金はいただいていません。" in view.notice
        assert view.frame.bar.stub.kind is StubKind.ONWARD

    def test_cancel_is_a_wish_until_the_terminal_answers(self):
        guest = Guest()
        turn = paying(guest)
        guest.does(e.Cancel())
        assert guest.took(CancelPayment) == [], "nothing to cancel at before the terminal says so"
        guest.does(e.PaymentProgress(turn, e.PaymentStage.PRESENT_CARD, cancellable=True), e.Cancel(), e.Cancel())
        assert guest.took(CancelPayment) == [CancelPayment(turn)]
        assert guest.here.cancelling
        guest.does(e.Cancelled(turn))
        assert guest.here == Basket(PaymentNotice.CANCELLED)

    def test_paid_after_a_cancel_is_paid(self):
        guest = Guest()
        turn = paying(guest)
        guest.does(e.PaymentProgress(turn, e.PaymentStage.PRESENT_CARD, cancellable=True), e.Cancel(), e.Paid(turn))
        assert isinstance(guest.here, Printing)

    @pytest.mark.parametrize("touch", [e.Back(), e.StartOver(), e.Next(), e.AddAnother(), e.Pay(Tender.CARD)])
    def test_nothing_leads_away_while_the_terminal_works(self, touch):
        guest = Guest()
        paying(guest)
        before = guest.here
        guest.does(touch)
        assert guest.here == before
        assert guest.took(BeginPayment) == []
        assert guest.took(ClearGuest) == []

    def test_a_second_attempt_hears_nothing_of_the_first(self):
        guest = Guest()
        first = paying(guest)
        guest.does(e.Declined(first, e.DeclineReason.DECLINED), e.Next(), e.Pay(Tender.CARD))
        (second,) = guest.took(BeginPayment)
        assert second.turn > first
        guest.does(e.Paid(first), e.Cancelled(first), e.Unknown(first, "X"))
        assert isinstance(guest.here, Paying)

    def test_unknown_shows_a_number_and_is_still_resolved(self):
        guest = Guest()
        turn = paying(guest)
        guest.does(e.Unknown(turn, "K2-4172"))
        assert guest.here == UnknownPayment("K2-4172", Tender.CARD)
        view = view_of(guest)
        assert view.claim == "K2-4172"
        assert view.frame.stations == ()
        guest.does(e.StartOver())
        assert isinstance(guest.here, UnknownPayment)
        guest.does(e.Paid(turn))
        assert isinstance(guest.here, Printing)

    def test_unknown_and_not_paid_lets_the_guest_pay_again(self):
        guest = Guest()
        turn = paying(guest)
        guest.does(e.Unknown(turn, "K2-4172"), e.Declined(turn, e.DeclineReason.NO_CARD))
        assert guest.here == Basket(PaymentNotice.NO_CARD)
        guest.does(e.Next(), e.Pay(Tender.CARD))
        assert guest.took(BeginPayment)

    def test_who_has_noted_the_number_may_go(self):
        guest = Guest()
        turn = paying(guest)
        guest.does(e.Unknown(turn, "K2-4172"), e.Continue())
        assert guest.here == Attract()
        guest.does(e.Paid(turn), e.Printed(turn))
        assert guest.here == Attract(), "what follows belongs to staff, not to the next guest's screen"

    def test_a_tender_in_trouble_says_why_and_cannot_be_taken(self):
        guest = Guest().does(*FAMILY, e.Next())
        trouble = TenderState(Tender.CODE, TenderTrouble.NOT_CONNECTED, guest.context.now)
        guest.finds(tenders=(TenderState(Tender.CARD), trouble))
        row = view_of(guest).tenders[1]
        assert row.touch is None
        assert "10:18から" in row.trouble
        guest.does(e.Pay(Tender.CODE))
        assert guest.here == Method()


class TestPrinting:
    def test_paper_out_and_paper_again(self):
        guest = Guest()
        turn = printing(guest)
        guest.does(e.PaperOut(turn, 1, 3))
        assert guest.here.paper_out
        assert "残り 2枚" in view_of(guest).status
        guest.does(e.Printing(turn, 1, 3, ()))
        assert not guest.here.paper_out

    def test_what_is_not_printed_is_owed_under_a_number(self):
        guest = Guest()
        turn = printing(guest)
        guest.does(e.PaperOut(turn, 1, 3), e.Owed(turn, "K2-4173", 1, 3))
        assert guest.here == OwedTickets("K2-4173", 1, 3)
        assert view_of(guest).fact.plain == "2枚"

    def test_a_receipt_that_fails_can_be_asked_for_again(self):
        guest = Guest()
        turn = printing(guest)
        guest.does(e.Printed(turn), e.WantReceipt(), e.ReceiptFailed(turn))
        view = view_of(guest)
        assert isinstance(view, TakeView)
        assert "きっぷはそのままお使いいただけます。" in view.note
        guest.does(e.WantReceipt())
        assert len(guest.took(PrintReceipt)) == 2

    def test_start_over_waits_for_the_receipt(self):
        guest = Guest()
        turn = printing(guest)
        guest.does(e.Printed(turn), e.WantReceipt(), e.StartOver())
        assert guest.here == Take(Tender.CARD, Receipt.PRINTING)


class TestTime:
    def test_quiet_is_warned_of_then_ends_the_visit(self):
        guest = Guest().does(*FAMILY)
        guest.waits(59)
        assert guest.visit.overlay is None
        guest.waits(1)
        assert guest.visit.overlay is Overlay.IDLE
        assert Sound(Tone.WARN) in guest.effects
        guest.waits(24)
        assert guest.here == Basket()
        guest.waits(1)
        assert guest.here == Attract()
        assert guest.took(ClearGuest) == [ClearGuest()]

    def test_continue_keeps_everything_as_often_as_wanted(self):
        guest = Guest().does(*FAMILY)
        for _ in range(12):
            guest.waits(70)
            assert guest.visit.overlay is Overlay.IDLE
            guest.does(e.Continue())
            assert guest.visit.overlay is None
        assert len(guest.visit.basket) == 2

    def test_a_touch_under_the_warning_does_nothing_but_stay(self):
        guest = Guest().does(*FAMILY).waits(61)
        guest.does(e.Next())
        assert guest.here == Basket()
        assert guest.visit.overlay is None

    @pytest.mark.parametrize("busy", ["paying", "printing", "paper", "receipt"])
    def test_no_time_runs_while_terminal_or_printer_work(self, busy):
        guest = Guest()
        turn = paying(guest)
        if busy != "paying":
            guest.does(e.Paid(turn))
        if busy == "paper":
            guest.does(e.PaperOut(turn, 1, 3))
        if busy == "receipt":
            guest.does(e.Printed(turn), e.WantReceipt())
        before = guest.visit
        guest.waits(900)
        assert guest.visit == before

    def test_tickets_left_are_called_for_twice_then_the_screen_is_cleared(self):
        guest = Guest()
        guest.does(e.Printed(printing(guest)))
        guest.effects.clear()
        guest.waits(29)
        assert guest.took(Sound) == [Sound(Tone.TAKE), Sound(Tone.TAKE_LOUDER)]
        assert isinstance(guest.here, Take)
        guest.waits(1)
        assert guest.here == Attract()

    def test_a_number_to_write_down_stays_five_minutes(self):
        guest = Guest()
        guest.does(e.Unknown(paying(guest), "K2-4172")).waits(299)
        assert guest.visit.overlay is None
        guest.waits(1)
        assert guest.visit.overlay is Overlay.IDLE

    def test_the_attract_screen_forgets_a_touch(self):
        guest = Guest().does(e.Lower(), e.CallStaff()).waits(30)
        assert guest.visit.lowered is False
        assert guest.visit.overlay is None


class TestNotSelling:
    @pytest.mark.parametrize("reason", list(BlockReason))
    def test_a_blocked_kiosk_says_why_and_takes_no_guest(self, reason):
        guest = Guest().finds(blocked=reason)
        assert isinstance(view_of(guest), BlockedView)
        guest.does(e.Start(Language.JA))
        assert guest.here == Attract()

    def test_without_catalogue_it_still_speaks(self):
        guest = Guest(situation=Situation())
        view = view_of(guest)
        assert isinstance(view, BlockedView)
        assert view.title

    def test_no_way_to_pay_is_a_reason(self):
        guest = Guest().finds(tenders=(TenderState(Tender.CARD, TenderTrouble.OUT_OF_ORDER),))
        assert guest.situation.block_reason is BlockReason.TERMINAL

    def test_a_guest_who_is_choosing_is_told_at_once(self):
        guest = Guest().does(*FAMILY).finds(blocked=BlockReason.JOURNAL).does(e.Tick())
        assert isinstance(view_of(guest), BlockedView)
        assert guest.took(ClearGuest) == [ClearGuest()]

    def test_who_has_paid_is_served_to_the_end(self):
        guest = Guest()
        turn = printing(guest)
        guest.finds(blocked=BlockReason.TERMINAL).does(e.Tick(), e.Printed(turn))
        assert isinstance(guest.here, Take)


class TestStaff:
    def test_staff_can_be_called_from_everywhere_and_the_guest_is_told(self):
        guest = Guest().does(*FAMILY, e.CallStaff())
        assert guest.took(CallStaff) == [CallStaff("Basket")]
        assert guest.visit.overlay is Overlay.STAFF
        guest.does(e.Continue())
        assert guest.here == Basket()


def test_home_leaves_nothing_of_the_guest():
    guest = Guest().does(*FAMILY, e.Lower(), e.ChooseLanguage(Language.EN), e.StartOver())
    assert guest.visit == start()
