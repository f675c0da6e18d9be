"""Every command but the payment itself: registration, status, repeat receipt, reversal, totals, end of day."""

import asyncio
from collections.abc import Awaitable, Callable

from emulators.terminal import fields, messages, sequence
from emulators.terminal.apdu import ACK, Apdu, nak
from emulators.terminal.fields import BadField, bcd, encode
from emulators.terminal.ledger import State, Transaction
from emulators.terminal.line import LineLost
from emulators.terminal.payment import IMPOSSIBLE, NEEDS_EOD, WRONG_CURRENCY, authorise
from emulators.terminal.talk import Registration, Talk

NOT_REGISTERED = 0x6B
ALREADY_REVERSED = 0xB4
REVERSAL_IMPOSSIBLE = 0xB5
VENDING_MODE = 0x10
TEXT_BLOCKS = bytes.fromhex("0A 02 06 D3")
CONFIG_RESERVED = 0x01
VERSION_ASKED = 0x04
GOES_AWAY = 0xFC  # behind 06 0F of an end of day: an update or a restart follows
NO_PAPER = 0xCC


class WrongPassword(Exception):
    """The three password bytes are not ours."""


def password(talk: Talk, data: bytes) -> bytes:
    """The data behind the password. Raises BadField or WrongPassword."""
    if len(data) < 3:
        raise BadField("no password")
    if data[:3].hex() != talk.terminal.password:
        raise WrongPassword
    return data[3:]


async def registration(talk: Talk, command: Apdu) -> None:
    terminal = talk.terminal
    rest = password(talk, command.data)
    if not rest:
        raise BadField("no config byte")
    config, rest = rest[0], rest[1:]
    currency = terminal.currencies[0]
    # The currency has no tag of its own; two bytes that begin with 03 (yen is 03 92) are a currency all the same.
    if len(rest) >= 2 and rest[0] != fields.TLV_FIELD:
        currency, rest = fields.number(rest[:2]), rest[2:]
    found = fields.decode(rest)
    offered = fields.tags(found.get(fields.TLV_FIELD, b""))
    text_blocks = any(tag.tag == 0x26 and TEXT_BLOCKS in tag.value for tag in offered)
    numbered = any(tag.tag == sequence.TAG and fields.number(tag.value) == 0 for tag in offered)
    numbered = numbered and not terminal.faults.lasting("no-sequence")
    terminal.registration = None  # the old agreement ends here, whatever comes of the new one
    await talk.answer(ACK)
    if config & CONFIG_RESERVED:
        await talk.fail(IMPOSSIBLE)
        return
    if currency not in terminal.currencies:
        await talk.fail(WRONG_CURRENCY)
        return
    told = encode((0x19, bytes([VENDING_MODE])), (0x29, bcd(terminal.who.tid, 4)), (0x49, bcd(currency, 2)))
    if numbered:
        told += encode((fields.TLV_FIELD, fields.tlv((sequence.TAG, bcd(0, 3)))))
    await talk.complete(told)
    terminal.registration = Registration(config, currency, text_blocks, numbered)  # ids from the next command on


async def log_off(talk: Talk, _command: Apdu) -> None:
    await talk.answer(ACK)
    talk.terminal.registration = None


async def reset(talk: Talk, _command: Apdu) -> None:
    await talk.answer(ACK)
    talk.terminal.registration = None
    await talk.complete()


async def plain(talk: Talk, _command: Apdu) -> None:
    """Diagnosis: an exchange with the host that always goes well."""
    await talk.answer(ACK)
    await talk.tell(0x17)
    await talk.pause(talk.terminal.host_s)
    await talk.complete()


async def initialisation(talk: Talk, command: Apdu) -> None:
    password(talk, command.data)
    await plain(talk, command)


async def status_enquiry(talk: Talk, command: Apdu) -> None:
    """00 ready, F0 an end of day is needed; with service byte 04 the software version stands before it."""
    service = 0
    if command.data:
        service = fields.decode(password(talk, command.data)).get(0x03, b"\x00")[0]
    await talk.answer(ACK)
    forced = talk.terminal.faults.lasting("status")
    status = NEEDS_EOD if talk.terminal.faults.lasting("needs-eod") else int(forced.value, 16) if forced else 0x00
    version = talk.terminal.who.version.encode()  # an LLLVAR without a field number before it
    shown = fields.prefix(fields.LLL, len(version)) + version if service & VERSION_ASKED else b""
    await talk.complete(shown + bytes([status]))


async def repeat_receipt(talk: Talk, command: Apdu) -> None:
    """The last transaction that reached the host, as it stands now. Service byte: 01 with 04 0F, 02 without paper."""
    terminal = talk.terminal
    service = fields.decode(password(talk, command.data)).get(0x03, b"\x00")[0]
    await talk.answer(ACK)
    found = reported(talk)
    if found is None:
        await talk.fail(IMPOSSIBLE)
        return
    if service & 0x01 and not terminal.faults.lasting("repeat-silent"):
        tid = terminal.who.tid + 1 if terminal.faults.lasting("repeat-wrong-tid") else None
        amount = found.amount + 1 if terminal.faults.lasting("repeat-wrong-amount") else None
        await talk.ask(messages.status_information(found, terminal.who, tid=tid, amount=amount))
    if not service & 0x02 and terminal.registration is not None and terminal.registration.receipts:
        await talk.print_receipt(messages.receipt_lines(found, terminal.who, copy="COPY"), receipt_type=2)
    await talk.complete()


def reported(talk: Talk) -> Transaction | None:
    terminal = talk.terminal
    if terminal.faults.lasting("repeat-none"):
        return None
    if terminal.faults.lasting("repeat-old"):
        traces = sorted(terminal.ledger.transactions)
        return terminal.ledger.transactions[traces[-2]] if len(traces) > 1 else None
    return terminal.ledger.last


async def reversal(talk: Talk, command: Apdu) -> None:
    """Takes back a stored payment of this business day by its receipt number; the amount must be right if given."""
    terminal = talk.terminal
    found = fields.decode(password(talk, command.data))
    if 0x87 not in found:
        raise BadField("no receipt number (87)")
    receipt = fields.number(found[0x87])
    amount = fields.number(found[0x04]) if 0x04 in found else None
    await talk.answer(ACK)
    refused = terminal.faults.lasting("reversal")
    payment = terminal.ledger.by_receipt(receipt)
    code = 0
    if terminal.faults.lasting("reversal-wrong") and terminal.ledger.charged():
        payment = max(terminal.ledger.charged(), key=lambda charge: charge.trace)
        amount = payment.amount
    if refused is not None:
        code = int(refused.value, 16)
    elif payment is None or payment.closed or (amount is not None and amount != payment.amount):
        code = REVERSAL_IMPOSSIBLE
    elif payment.state is State.REVERSED:
        code = ALREADY_REVERSED
    elif payment.state is not State.STORED:
        code = REVERSAL_IMPOSSIBLE
    if code or payment is None:
        await talk.fail(code)
        return
    await talk.tell(0x04)
    await talk.pause(terminal.host_s)
    done = terminal.ledger.reversal(payment)
    if terminal.faults.lasting("reversal-silent"):
        talk.line.cut()
        return
    await talk.ask(messages.status_information(done, terminal.who))
    if terminal.registration is not None and terminal.registration.receipts:
        await talk.print_receipt(messages.receipt_lines(done, terminal.who, copy="CUSTOMER COPY"), receipt_type=2)
    await talk.complete()


async def totals(talk: Talk, command: Apdu) -> None:
    password(talk, command.data)
    await talk.answer(ACK)
    await talk.ask(messages.totals(talk.terminal.ledger.charged(), talk.terminal.who, talk.terminal.now()))
    await talk.complete()


async def end_of_day(talk: Talk, command: Apdu) -> None:
    """Totals, and the day is closed: nothing before it can be reversed."""
    terminal = talk.terminal
    password(talk, command.data)
    await talk.answer(ACK)
    await talk.tell(0x17)
    await talk.pause(terminal.host_s)
    charged = terminal.ledger.charged()
    total = sum(t.amount for t in charged)
    terminal.ledger.close_day(total=total, count=len(charged))
    terminal.faults.heal("needs-eod")
    await talk.ask(messages.totals(charged, terminal.who, terminal.now()))
    if terminal.registration is not None and terminal.registration.admin_receipts:
        lines = ["END OF DAY", f"TERMINAL {terminal.who.tid:08d}", f"COUNT {len(charged)}", f"TOTAL {total}"]
        await talk.print_receipt(lines, receipt_type=3)
    reboot = terminal.faults.lasting("eod-reboot")
    if reboot is None:
        await talk.complete()
        return
    terminal.faults.heal("eod-reboot")
    await talk.complete(bytes([GOES_AWAY]))
    terminal.registration = None
    terminal.deaf_until_s = asyncio.get_running_loop().time() + int(reboot.value) / 1000
    talk.line.cut()
    raise LineLost


async def abort_idle(talk: Talk, _command: Apdu) -> None:
    """There is nothing to abort, and that is fine."""
    await talk.answer(ACK)


Run = Callable[[Talk, Apdu], Awaitable[None]]
ALWAYS: dict[int, Run] = {
    0x0501: status_enquiry, 0x0600: registration, 0x0602: log_off, 0x0618: reset, 0x06B0: abort_idle,
}  # fmt: skip
REGISTERED: dict[int, Run] = {
    0x0601: authorise, 0x0610: totals, 0x0620: repeat_receipt, 0x0630: reversal, 0x0650: end_of_day, 0x0670: plain,
    0x0693: initialisation,
}  # fmt: skip


async def obey(talk: Talk, command: Apdu) -> None:
    """Do one command of the till, or say why not. Raises LineLost."""
    terminal = talk.terminal
    payment = terminal.payments + 1
    if terminal.faults.of_command("no-answer", command.control, payment):
        return
    if terminal.faults.of_command("busy", command.control, payment):
        await talk.answer(nak(0x9C))
        return
    if command.control == 0x0601 and terminal.faults.of_payment("no-paper", payment):
        await talk.answer(nak(NO_PAPER))
        return
    run = ALWAYS.get(command.control) or REGISTERED.get(command.control)
    if run is None or terminal.faults.of_command("not-supported", command.control, payment):
        await talk.answer(nak(0x83))
        return
    if command.control in REGISTERED and terminal.registration is None:
        await talk.answer(nak(NOT_REGISTERED))
        return
    try:
        await run(talk, command)
    except WrongPassword:
        await talk.answer(ACK)
        await talk.fail(IMPOSSIBLE)
    except BadField as error:
        terminal.events.say("error", why=f"{command.name}: {error}", code=error.code)
        await talk.answer(nak(0x83))
