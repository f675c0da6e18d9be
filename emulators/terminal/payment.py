"""06 01: from the card to the proof of charge, with the hold in between.

The order of ledger and line is the point: what is written to the ledger is true whatever happens to the next
message. A payment is final only when the till has acknowledged 04 0F *and* every line of the receipt.
"""

from dataclasses import dataclass
from typing import assert_never

from emulators.terminal import fields, messages
from emulators.terminal.apdu import ACK, Apdu, nak
from emulators.terminal.faults import Personality
from emulators.terminal.ledger import State, Transaction
from emulators.terminal.line import LineLost
from emulators.terminal.talk import Act, Customer, Talk, Terminal

CANCELLED = 0x6C
WRONG_CURRENCY = 0x6F
IMPOSSIBLE = 0x83
NEEDS_EOD = 0xF0
HOLD_S_DEFAULT = 30  # field 01
ORDER_MAX = 25
COMPARE_ORDERS = 0x04
DUPLICATE = 0xB4
CARD_S = 60.0  # how long an attended terminal waits for its customer

# Intermediate status: insert card, please wait, waiting for the host, sending auto-reversal, approved (take goods), declined.
INSERT_CARD, WAIT, ASKING_HOST, REVERSING, APPROVED, DECLINED = 0x0A, 0x0E, 0x04, 0x05, 0x1C, 0x1D


@dataclass(frozen=True, slots=True)
class Wanted:
    """A parsed 06 01. `last_seen`: the receipt number in TLV 1F1F; None without the tag, "" when it came empty.

    `order` (1F0D, ASCII) is compared with the last successful payment's where `guards` (1F15 with bit 04) asks for it.
    """

    amount: int
    currency: int
    hold_s: float
    repeats_max: int | None
    last_seen: int | str | None
    order: str = ""
    guards: bool = False


def parse(data: bytes, registered_currency: int) -> Wanted:
    """Raises BadField for what cannot be parsed or has no amount."""
    found = fields.decode(data)
    if 0x04 not in found:
        raise fields.BadField("no amount (04)")
    last_seen: int | str | None = None
    order, guards = "", False
    for tag in fields.tags(found.get(fields.TLV_FIELD, b"")):
        match tag.tag:
            case 0x1F1F:
                last_seen = fields.number(tag.value) if tag.value else ""
            case 0x1F0D if tag.value.isalnum() and len(tag.value) <= ORDER_MAX:
                order = tag.value.decode("ascii")  # anything else is passed over, the payment goes on
            case 0x1F15 if tag.value:
                guards = bool(tag.value[-1] & COMPARE_ORDERS)
    return Wanted(
        amount=fields.number(found[0x04]),
        currency=fields.number(found[0x49]) if 0x49 in found else registered_currency,
        hold_s=float(found[0x01][0]) if 0x01 in found else float(HOLD_S_DEFAULT),
        repeats_max=found[0x02][0] if 0x02 in found else None,
        last_seen=last_seen,
        order=order,
        guards=guards,
    )


class Payment:
    """One 06 01."""

    def __init__(self, talk: Talk, wanted: Wanted) -> None:
        self.talk = talk
        self.terminal: Terminal = talk.terminal
        self.wanted = wanted
        self.n = self.terminal.payments
        self.reused_receipt: int | None = None

    def due(self, fault: str) -> bool:
        """Whether a fault of this payment strikes here; it says so as an event."""
        found = self.terminal.faults.of_payment(fault, self.n)
        if found is not None:
            self.terminal.events.say("fault", spec=found.spec, payment=self.n)
        return found is not None

    def break_line(self) -> None:
        self.talk.line.cut()
        raise LineLost

    async def run(self) -> None:
        """The whole payment. Raises LineLost when the till is gone; the ledger is right by then."""
        wanted, terminal = self.wanted, self.terminal
        await self.talk.answer(ACK)
        self.resynchronise()
        if await self.is_duplicate():
            return
        if terminal.faults.lasting("needs-eod"):
            await self.talk.fail(NEEDS_EOD)
            return
        if wanted.currency not in terminal.currencies:
            await self.talk.fail(WRONG_CURRENCY)
            return
        if wanted.amount == 0:
            await self.talk.fail(IMPOSSIBLE)
            return
        if terminal.late is not None:
            late, terminal.late = terminal.late, None
            await self.talk.ask(late)
        customer = await self.card()
        if customer.act is Act.CANCEL:
            await self.cancelled(customer.code)
            return
        if self.due("lost-before-host"):
            self.break_line()
        if (more := terminal.faults.of_payment("more-time", self.n)) is not None:
            await self.talk.ask(messages.intermediate(WAIT, t4_min=int(more.value)))
        self.talk.abortable = False
        await self.talk.tell(ASKING_HOST)
        slow = terminal.faults.of_payment("slow-host", self.n)
        await self.talk.pause(terminal.host_s + (int(slow.value) / 1000 if slow else 0.0))
        if customer.act is Act.DECLINE:
            await self.declined(customer.code)
            return
        await self.approved()

    def resynchronise(self) -> None:
        """TLV 1F1F: a till that has not seen the last receipt takes it back without another word."""
        last = self.terminal.ledger.last
        if not isinstance(self.wanted.last_seen, int) or last is None or last.orig_trace is not None:
            return
        if last.state is State.STORED and self.wanted.last_seen == last.receipt - 1:
            self.terminal.ledger.move(last.trace, State.REVERSED, reason="1F1F", result=CANCELLED)
            self.reused_receipt = last.receipt

    async def is_duplicate(self) -> bool:
        """card complete, 7.2: the order number of the last successful payment again is refused, its receipt told again."""
        terminal, wanted = self.terminal, self.wanted
        if terminal.personality is not Personality.DECLINE or not wanted.guards or not wanted.order:
            return False
        twin = terminal.ledger.successful_order(wanted.order)
        if twin is None:
            return False
        if terminal.registration is not None and terminal.registration.receipts:
            await self.talk.print_receipt(messages.receipt_lines(twin, terminal.who, copy="COPY"), receipt_type=2)
        await self.talk.fail(DUPLICATE)
        return True

    async def card(self) -> Customer:
        """Wait for the customer; the till may abort while we do."""
        talk, terminal = self.talk, self.terminal
        talk.abortable = True
        await talk.tell(INSERT_CARD)
        if (fault := terminal.faults.of_payment("cancel", self.n)) is not None:
            await talk.pause(terminal.pause_s)
            return Customer(Act.CANCEL, int(fault.value or "6C", 16))
        if terminal.attended:
            await talk.pause(CARD_S, until=lambda: not terminal.customer.empty())
        else:
            await talk.pause(terminal.pause_s, until=lambda: not terminal.customer.empty())
        if talk.abort_wanted:
            return Customer(Act.CANCEL, CANCELLED)
        found = Customer(Act.CANCEL, CANCELLED) if terminal.attended else Customer(Act.PRESENT)
        if not terminal.customer.empty():
            found = terminal.customer.get_nowait()
        fault = terminal.faults.of_payment("decline", self.n)
        if fault is not None and found.act is Act.PRESENT:
            return Customer(Act.DECLINE, int(fault.value, 16))
        return found

    async def cancelled(self, code: int) -> None:
        self.terminal.ledger.cancelled(amount=self.wanted.amount, currency=self.wanted.currency, code=code)
        await self.talk.ask(messages.failure(code, self.terminal.who, "CANCELLED"))
        await self.talk.fail(code)

    async def declined(self, code: int) -> None:
        transaction = self.terminal.ledger.refused_by_host(
            amount=self.wanted.amount, currency=self.wanted.currency, brand=self.terminal.brand, code=code
        )
        await self.talk.tell(DECLINED)
        await self.talk.ask(messages.status_information(transaction, self.terminal.who))
        await self.talk.fail(code)

    # -- from the host's yes on, money hangs on every step ---------------------------------------------------------

    async def approved(self) -> None:
        wrong = self.due("wrong-amount")
        transaction = self.terminal.ledger.authorised(
            amount=self.wanted.amount + wrong, currency=self.wanted.currency, brand=self.terminal.brand,
            order=self.wanted.order, receipt=self.reused_receipt,
        )  # fmt: skip
        try:
            await self.held(transaction)
        except LineLost:
            self.fell_silent(self.terminal.ledger.transactions[transaction.trace], self.terminal.personality)
            raise

    async def held(self, transaction: Transaction) -> None:
        terminal, talk, ledger = self.terminal, self.talk, self.terminal.ledger
        if self.due("lost-after-host-before-status"):
            self.break_line()
        status = messages.status_information(transaction, terminal.who, sync=self.wanted.last_seen is not None)
        if self.due("late-status"):
            terminal.late = status
            self.fell_silent(transaction, terminal.personality)
            if ledger.transactions[transaction.trace].state is State.STORED:
                self.break_line()  # it cannot say that it failed
            await talk.fail(CANCELLED)
            return
        ledger.move(transaction.trace, State.HELD)
        impatient = terminal.faults.of_payment("impatient", self.n)
        repeats_max = self.wanted.repeats_max if impatient is None else int(impatient.value)
        repeats = 0
        while True:
            if self.due("lost-after-status"):
                await talk.line.send(status)
                self.break_line()
            answer = await talk.ask(status, self.wanted.hold_s)
            lost = terminal.faults.of_payment("ack-lost", self.n)
            if lost is not None:
                terminal.events.say("fault", spec=lost.spec, payment=self.n)
                self.fell_silent(ledger.transactions[transaction.trace], lost.personality or terminal.personality)
                self.break_line()
            match answer.control if answer is not None else None:
                case None:
                    self.fell_silent(ledger.transactions[transaction.trace], terminal.personality)
                    await self.taken_back(transaction)
                    return
                case 0x8000 | 0x8400:
                    await self.confirmed(ledger.move(transaction.trace, State.CONFIRMED))
                    return
                case 0x849C:
                    repeats += 1
                    if repeats_max is not None and repeats > repeats_max:
                        ledger.move(transaction.trace, State.REVERSED, reason="hold-too-long", result=CANCELLED)
                        await self.taken_back(transaction)
                        return
                    await talk.pause(terminal.repeat_s)
                case 0x849D if answer is not None and (part := self.part(answer.data, transaction.amount)) is not None:
                    await self.confirmed(ledger.move(transaction.trace, State.CONFIRMED, amount=part))
                    return
                case _:
                    ledger.move(transaction.trace, State.REVERSED, reason="refused-by-till", result=CANCELLED)
                    await self.taken_back(transaction)
                    return

    @staticmethod
    def part(data: bytes, whole: int) -> int | None:
        """The amount of a partial issue (84 9D 07 04 ...), or None if it is none."""
        try:
            amount = fields.number(fields.decode(data)[0x04])
        except (fields.BadField, KeyError):
            return None
        return amount if 0 < amount <= whole else None

    async def confirmed(self, transaction: Transaction) -> None:
        """The till has said that the goods are issued. Receipt, then final."""
        terminal, talk = self.terminal, self.talk
        if self.due("lost-before-lines"):
            terminal.ledger.move(transaction.trace, State.REVERSED, reason="line-lost", result=CANCELLED)
            self.break_line()
        await talk.tell(APPROVED)
        if terminal.registration is not None and terminal.registration.receipts:
            for receipt_type, copy in ((1, "MERCHANT COPY"), (2, "CUSTOMER COPY")):
                lines = messages.receipt_lines(transaction, terminal.who, copy=copy)
                trouble = await talk.print_receipt(lines, receipt_type=receipt_type)
                if trouble is not None:
                    terminal.ledger.move(
                        transaction.trace, State.REVERSED, reason=f"receipt: {trouble}", result=CANCELLED
                    )
                    await self.taken_back(transaction, code=0xCC)
                    return
        terminal.ledger.move(transaction.trace, State.STORED)
        if self.due("lost-before-completion"):
            self.break_line()
        await talk.complete()

    def other_till(self) -> None:
        """Somebody else's payment at this terminal, right behind ours."""
        found = self.terminal.faults.of_payment("other-till", self.n)
        if found is not None:
            other = self.terminal.ledger.authorised(
                amount=int(found.value or self.wanted.amount), currency=self.wanted.currency, brand=self.terminal.brand
            )
            self.terminal.ledger.move(other.trace, State.STORED, till="other")

    def fell_silent(self, transaction: Transaction, personality: Personality) -> None:
        """What becomes of an open payment whose till is not there any more."""
        if transaction.state not in {State.AUTHORISED, State.HELD, State.CONFIRMED}:
            return
        settle(self.terminal, transaction, personality, reason="till-silent")

    async def taken_back(self, transaction: Transaction, *, code: int = CANCELLED) -> None:
        """Tell the till of what the ledger already has: not charged (or, kept, charged all the same)."""
        now = self.terminal.ledger.transactions[transaction.trace]
        if now.state is State.STORED:
            await self.talk.complete()
            return
        await self.talk.tell(REVERSING)
        await self.talk.ask(messages.status_information(now, self.terminal.who, result=code))
        await self.talk.fail(code)


def settle(terminal: Terminal, transaction: Transaction, personality: Personality, *, reason: str) -> None:
    """End an open payment by the terminal's personality, in the ledger."""
    match personality:
        case Personality.REVERSE:
            terminal.ledger.move(transaction.trace, State.REVERSED, reason=reason, result=CANCELLED)
        case Personality.DECLINE:
            terminal.ledger.move(transaction.trace, State.DECLINED, reason=reason, result=CANCELLED)
        case Personality.KEEP:
            terminal.ledger.move(transaction.trace, State.STORED, reason=reason)
        case _:
            assert_never(personality)


async def authorise(talk: Talk, command: Apdu) -> None:
    """Do a 06 01."""
    terminal = talk.terminal
    assert terminal.registration is not None
    try:
        wanted = parse(command.data, terminal.registration.currency)
    except fields.BadField as error:
        terminal.events.say("error", why=f"06 01: {error}", code=error.code)
        await talk.answer(nak(0x83))
        return
    terminal.payments += 1
    payment = Payment(talk, wanted)
    try:
        await payment.run()
    finally:
        payment.other_till()
