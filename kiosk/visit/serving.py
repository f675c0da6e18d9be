"""Views from the payment on: method, terminal, printer, tickets, and the two bad days. The same rules as `present`."""

from __future__ import annotations

from kiosk.locale import Words
from kiosk.visit.event import Cancel, Continue, NoReceipt, Pay, WantReceipt
from kiosk.visit.framing import NO_STUB, choosing_bar, frame_of, mine, paid_amount, stub_hint
from kiosk.visit.route import OwedTickets, Paying, Printing, Receipt, Take, UnknownPayment
from kiosk.visit.situation import Context, Tender, TenderState
from kiosk.visit.state import Visit, order_of_lines, pieces
from kiosk.visit.views import (
    Amount,
    Bar,
    ClaimView,
    Key,
    MethodView,
    PartView,
    PayingView,
    PrintingView,
    StationState,
    Stub,
    StubKind,
    TakeView,
    TenderView,
    ThanksView,
)
from kiosk.visit.wording import amount_of, clock_text, heads
from tickets.language import text_in

TENDER_ICONS = {Tender.CARD: "card", Tender.TRANSIT_IC: "tap", Tender.EMONEY: "yen", Tender.CODE: "phone"}


def method_view(visit: Visit, context: Context, words: Words) -> MethodView:
    order = order_of_lines(visit.sold, visit.basket)
    assert order is not None
    taxes = words("tax.join").join(
        words("tax.short", rate=f"{tax.rate_bp / 100:g}", tax=amount_of(tax.tax, words.language).plain)
        for tax in order.tax
    )
    people = heads(visit.sold, visit.basket)
    return MethodView(
        frame=frame_of(
            visit,
            context,
            words,
            question=words("method.question"),
            help_line=words("method.help"),
            bar=choosing_bar(visit, words, stub_hint(words, "method.hint")),
        ),
        amount_label=words("method.amount"),
        amount=paid_amount(visit, words),
        tax=words("tax.sentence", taxes=taxes),
        pieces_label=words("method.tickets"),
        pieces=str(order.ticket_count),
        pieces_unit=words.count("unit.tickets", order.ticket_count),
        people=words.count("method.people", people) if people else "",
        tenders=tuple(_tender(state, visit, words) for state in context.situation.tenders),
    )


def _tender(state: TenderState, visit: Visit, words: Words) -> TenderView:
    trouble = ""
    if state.trouble is not None and state.since is not None:
        trouble = words(f"trouble.{state.trouble}.since", time=clock_text(state.since, visit.sold))
    elif state.trouble is not None:
        trouble = words(f"trouble.{state.trouble}")
    note = words(f"tender.{state.tender}.note")
    if state.limit is not None:
        note = words("tender.limit", limit=amount_of(state.limit, words.language).plain)
    return TenderView(
        name=f"pay.{state.tender}",
        title=words(f"tender.{state.tender}"),
        note=note,
        icon=TENDER_ICONS[state.tender],
        trouble=trouble,
        unusable=words("method.unusable"),
        touch=Pay(state.tender) if state.trouble is None else None,
    )


def paying_view(visit: Visit, here: Paying, context: Context, words: Words) -> PayingView | PrintingView:
    """What the terminal wants. An order of 0 asks no terminal: its tickets are being made."""
    if here.tender is None:
        of = pieces(visit.sold, visit.basket)
        return printing_view(visit, Printing(None, done=0, of=of), context, words)
    if here.cancelling:
        stub = stub_hint(words, "paying.cancelling", short="hint.wait")
    elif here.cancellable:
        stub = Stub(StubKind.PLAIN, words("paying.cancel"), "cross", "cancel", Cancel())
    else:
        stub = stub_hint(words, "paying.wait", short="hint.wait")
    title, text = mine(visit.sold, visit.basket, words)
    tender = words(f"tender.{here.tender}")
    amount = paid_amount(visit, words)
    return PayingView(
        frame=frame_of(
            visit,
            context,
            words,
            bar=Bar(title, text, "", words("bar.total"), amount, stub),
        ),
        stage=here.stage,
        title=words(f"paying.{here.stage}"),
        text=words(f"paying.{here.stage}.text"),
        text_bold=words(f"paying.{here.stage}.bold"),
        amount=amount.plain,
        status=words("paying.cancelling_status" if here.cancelling else f"paying.{here.stage}.status"),
        status_note=words("paying.status_note", tender=tender),
    )


def _paid_bar(visit: Visit, words: Words, *, title: str, text: str, stub: Stub) -> Bar:
    total = paid_amount(visit, words)
    free = order_is_free(visit)
    return Bar(title, text, "tick", "" if free else words("bar.paid"), None if free else total, stub)


def order_is_free(visit: Visit) -> bool:
    order = order_of_lines(visit.sold, visit.basket)
    return order is None or order.total.minor == 0


def printing_view(visit: Visit, here: Printing, context: Context, words: Words) -> PrintingView:
    """The piece being made is `done + 1`; what is ticked has been confirmed by the printer."""
    parts: list[PartView] = []
    busy = not here.paper_out
    for part in here.parts:
        product = visit.sold.products.get(part.product)
        at = part.done if busy and part.done < part.of else None
        busy = busy and at is None
        title = part.product if product is None else text_in(product.name, words.language)
        parts.append(PartView(title, part.done, part.of, at))
    paid = Amount("", "", unit_first=False) if order_is_free(visit) else paid_amount(visit, words)
    waiting_title = "printer.title" if here.printer_away else "paper.title"
    waiting_status = "printer.status" if here.printer_away else "paper.status"
    if here.paper_out:
        title, text = words("paper.bar"), words("paper.bar_text")
        bar = Bar(title, text, "bell", "", None, NO_STUB)
    elif paid.figures:
        bar = _paid_bar(visit, words, title=words("printing.bar"), text=words("printing.bar_text"), stub=NO_STUB)
    else:
        bar = Bar("", words("printing.bar_text"), "tick", "", None, NO_STUB)
    return PrintingView(
        frame=frame_of(visit, context, words, bar=bar),
        title=words(waiting_title if here.paper_out else "printing.title"),
        figure=str(min(here.done + (0 if here.paper_out else 1), here.of)),
        of=words("printing.of", n=here.of),
        share=here.done / here.of if here.of else 0.0,
        parts=tuple(parts),
        status=words(waiting_status, n=here.of - here.done) if here.paper_out else "",
        status_note=words("paper.status_note") if here.paper_out else "",
        paper_out=here.paper_out and not here.printer_away,
    )


def take_view(visit: Visit, here: Take, context: Context, words: Words) -> TakeView:
    n = pieces(visit.sold, visit.basket)
    receipt: Key | None = None
    question, note = words("receipt.question"), ""
    match here.receipt:
        case Receipt.NOT_OFFERED:
            question = ""
            stub = Stub(StubKind.ONWARD, words("take.done"), "tick", "done", NoReceipt())
        case Receipt.PRINTING:
            note = words("receipt.printing")
            stub = stub_hint(words, "receipt.wait", short="hint.wait")
        case Receipt.OFFERED | Receipt.FAILED:
            if here.receipt is Receipt.FAILED:
                note = words("receipt.failed")
            receipt = Key("receipt.yes", words("receipt.yes"), "receipt", WantReceipt(), words("receipt.yes_note"))
            stub = Stub(StubKind.ONWARD, words("receipt.no"), "tick", "receipt.no", NoReceipt())
    tender = "" if here.tender is None else words(f"tender.{here.tender}")
    title = words("bar.paid") if here.tender is not None else words("take.bar")
    text = tender if here.tender is not None else words("take.bar_text")
    bar = _paid_bar(visit, words, title=title, text=text, stub=stub)
    return TakeView(
        frame=frame_of(visit, context, words, bar=Bar(bar.title, bar.text, bar.icon, "", bar.total, bar.stub)),
        title=words("take.title"),
        text=words.count("take.before", n),
        text_bold=words.count("take.tickets", n),
        text_after=words("take.after"),
        question=question,
        receipt=receipt,
        note=note,
    )


def thanks_view(visit: Visit, context: Context, words: Words) -> ThanksView:
    stub = Stub(StubKind.ONWARD, words("thanks.done"), "tick", "done", Continue())
    bar = Bar(words("thanks.bar"), words("thanks.bar_text"), "", "", None, stub)
    return ThanksView(
        frame=frame_of(visit, context, words, bar=bar), title=words("thanks.title"), text=words("thanks.text")
    )


def unknown_view(visit: Visit, here: UnknownPayment, context: Context, words: Words) -> ClaimView:
    """処理未了: nothing bad has been decided. The number is there to be told or photographed."""
    tender = "" if here.tender is None else words(f"tender.{here.tender}")
    noted = Stub(StubKind.PLAIN, words("claim.noted"), "tick", "continue", Continue())
    return ClaimView(
        frame=frame_of(
            visit, context, words, bar=Bar(words("claim.bar"), words("claim.bar_text"), "bell", "", None, noted)
        ),
        icon="again",
        title=words("unknown.title"),
        text=words("unknown.text"),
        text_bold=words("unknown.bold"),
        claim_label=words("claim.label"),
        claim=here.claim,
        fact_label=words("claim.amount"),
        fact=paid_amount(visit, words),
        fact_note=words("claim.fact", tender=tender, time=clock_text(context.now, visit.sold)),
        steps=(
            (words("unknown.step1"), words("unknown.step1_note"), StationState.PASSED),
            (words("unknown.step2"), words("unknown.step2_note"), StationState.HERE),
            (words("unknown.step3"), words("unknown.step3_note"), StationState.AHEAD),
        ),
    )


def owed_view(visit: Visit, here: OwedTickets, context: Context, words: Words) -> ClaimView:
    """Tickets that paper could not be found for: paid, on record, and handed out by staff under the number."""
    left = here.of - here.done
    noted = Stub(StubKind.ONWARD, words("claim.noted"), "tick", "continue", Continue())
    return ClaimView(
        frame=frame_of(
            visit, context, words, bar=Bar(words("claim.bar"), words("claim.bar_text"), "bell", "", None, noted)
        ),
        icon="ticket",
        title=words("owed.title", n=left),
        text=words("owed.text"),
        text_bold=words("owed.bold"),
        claim_label=words("claim.label"),
        claim=here.claim,
        fact_label=words("owed.left"),
        fact=Amount(str(left), words.count("unit.tickets", left), unit_first=False),
        fact_note=words.count("owed.done", here.done),
        steps=(
            (words("owed.step1"), words("owed.step1_note"), StationState.PASSED),
            (words("owed.step2"), words("owed.step2_note"), StationState.HERE),
            (words("owed.step3"), words("owed.step3_note"), StationState.AHEAD),
        ),
    )
