"""The story of the main job, played by a real pointer and real paper: sold, printed, admitted once; with the hub, without it, and
with it again.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import zxingcpp
from PIL import Image, ImageGrab

from scanner.view import GateView
from script.story.office import Office
from script.story.pointer import Pointer
from script.story.processes import StoryError
from script.story.report import Report
from script.story.staff import Staff
from script.story.venue import Display, Placed, Venue
from sync import cache, granted
from sync.state import StateDir
from sync.store import open_engine, reading
from tickets.admission import Reason, VerdictKind
from tickets.code import parse, public_key, verify
from tickets.ids import ticket_id
from tickets.life_cycle import TicketState

KIOSK = Placed(left=0, top=0, width=1080, height=1920)
GATE = Placed(left=1080, top=0, width=720, height=1280)
FIRST_SALE = 13
CANCEL_S_MAX = 2.0
SMALL, ATHLETICS_ADULT = 4, 20
"""The small slot's places; the variant sold of it."""


class Story:
    """Everything the steps share. Each method below `play` is one step: it returns what happened, in the words of `expected`."""

    def __init__(self, out: Path) -> None:
        self.out = out
        for name in ("screens", "tickets"):
            shutil.rmtree(out / name, ignore_errors=True)
            (out / name).mkdir(parents=True)
        self._work = out / "venue"
        shutil.rmtree(self._work, ignore_errors=True)
        self._work.mkdir()
        self.display = Display(width=KIOSK.width + GATE.width, height=KIOSK.height, logs=self._work)
        self.venue = Venue(self._work, display=self.display.name, kiosk=KIOSK, gate=GATE, headless=True)
        self.pointer = Pointer(self.display.name, self.venue.targets, left=KIOSK.left, top=KIOSK.top)
        self.report = Report()
        self._shots = 0
        self._staff: Staff | None = None
        self._office: Office | None = None
        self._codes: dict[Path, str] = {}
        self._admitted = 0
        self._second_opens: threading.Thread | None = None
        self._second_failed: Exception | None = None

    def play(self) -> bool:
        """All steps; True when each went as expected."""
        step = self.report.step
        try:
            step(
                "the hub opens with a made-up venue",
                "links for a kiosk and a gate, an office account",
                self.open_hub,
                vital=True,
            )
            step("kiosk and gate enrol with one-time links", "kiosk K2, gate A", self.enrol, vital=True)
            step("a link is good once", "a second use is refused in one line", self.enrol_again)
            step(
                "kiosk, printer, terminal and gate open",
                "attract on the kiosk, ready at the gate",
                self.open_devices,
                vital=True,
            )
            step(
                "a guest buys 2 adults, 1 child and a ride book by card", "paid 7500, tickets to take", self.first_sale
            )
            step("a receipt on request", "13 tickets and a receipt, each cut", self.first_papers)
            step("every code on paper is signed by this kiosk", "13 codes, 13 verify", self.verify_codes)
            step("the gate admits the three admissions", "admit, admit, admit", self.admit_three)
            step("a second try", "refuse already_used, says when and where", self.second_try)
            step("a coupon of the ride book", "admit", lambda: self.hold_up(self.first[3]))
            step("the line to the hub is cut", "the hub hears nothing", self.cut_line)
            step("another sale meanwhile", "paid 2016, 2 tickets", self.second_sale)
            step(
                "the gate admits what no server has seen",
                "admit, and the hub does not know the ticket",
                self.admit_unseen,
            )
            step("the line is back", "the hub shows both sales and 5 admissions", self.mend_line)
            step("a ticket cancelled at the hub", "refuse cancelled within 2 s", self.cancel)
            step("the money adds up", "terminal 9516, hub 9516", self.money)
            step(
                "a second kiosk opens, and a small slot",
                "4 places, 2 held by each kiosk",
                self.open_small_slot,
            )
            step(
                "both sell it with the line cut, until it is gone",
                "2 and 2 sold, the next guest is told at each: sold out",
                self.sell_small_slot,
            )
            step("the line is back: sold out exactly", "4 of 4 sold, 0 oversold", self.mend_small_slot)
        finally:
            self.close()
        return self.report.ok

    # --- steps

    def open_hub(self) -> str:
        self.venue.open_hub()
        seeded = self.venue.seeded
        office = seeded["office"]
        self._office = Office(self.venue.hub_url, user=office["user"], password=office["password"])
        return (
            "links for a kiosk and a gate, an office account"
            if set(seeded["links"]) == {"kiosk", "gate"}
            else str(seeded)
        )

    def enrol(self) -> str:
        said = []
        for role in ("kiosk", "gate"):
            done = self.venue.enrol(role)
            if done.returncode != 0:
                return done.stderr.strip()
            said.append(f"{role} {json.loads(done.stdout)['label']}")
        return ", ".join(said)

    def enrol_again(self) -> str:
        shutil.copytree(self._work / "gate-state", self._work / "gate-state-kept")
        shutil.rmtree(self._work / "gate-state")
        done = self.venue.enrol("gate")
        shutil.rmtree(self._work / "gate-state", ignore_errors=True)
        (self._work / "gate-state-kept").rename(self._work / "gate-state")
        lines = done.stderr.strip().splitlines()
        return "a second use is refused in one line" if done.returncode == 2 and len(lines) == 1 else repr(done)

    def open_devices(self) -> str:
        self.venue.open_counter(terminal=["--pause-ms", "900", "--host-ms", "300"], printer=[])
        self.venue.open_kiosk()
        self.venue.open_gate()
        self.pointer.wait_screen("attract", timeout_s=60)
        self._until(lambda: bool(self.pointer.shown()["enabled"].get("language.ja")), "the kiosk sells")
        self._staff = Staff(self._work / "gate-run" / "gate-screen.sock")
        self._until(self._gate_knows_the_venue, "the gate has the catalogue and the kiosk's key")
        self.shoot("attract")
        self.shoot("gate-ready", GATE)
        self._second_opens = threading.Thread(target=self._open_second_kiosk, name="second kiosk")
        self._second_opens.start()
        return "attract on the kiosk, ready at the gate"

    def _open_second_kiosk(self) -> None:
        """While the first guest chooses: its programs take their time to start, and nobody needs it yet."""
        try:
            self.second_kiosk = self.venue.open_second_kiosk("K3")
        except Exception as error:  # noqa: BLE001 said by the step that needs it
            self._second_failed = error

    def _second_is_open(self) -> None:
        if self._second_opens is not None:
            self._second_opens.join(60)

    def first_sale(self) -> str:
        touch, screen = self.pointer.touch, self.pointer.wait_screen
        touch("language.ja")
        screen("products")
        self.shoot("products")
        touch("product.admission")
        screen("people")
        touch("plus.1")
        touch("plus.2")
        self.shoot("people")
        touch("next")
        screen("basket")
        touch("another")
        screen("products")
        touch("product.rides")
        screen("people")
        self.shoot("rides")
        touch("next")
        screen("basket")
        self.shoot("basket")
        touch("next")
        screen("method")
        self.shoot("method")
        touch("pay.card")
        screen("paying")
        self.shoot("paying")
        screen("printing")
        self._until(lambda: len(self.venue.papers()) >= 4, "four coupons are out")
        self.shoot("printing")
        screen("take", timeout_s=60)
        self.shoot("take")
        return f"paid {self._charged_minor()}, tickets to take"

    def first_papers(self) -> str:
        self.pointer.touch("receipt.yes")
        papers = self.venue.wait_papers(FIRST_SALE + 1)
        self.pointer.wait_screen("thanks", "attract")
        self.shoot("thanks")
        self.first = papers[:FIRST_SALE]
        cuts = [code for paper in papers if (code := self.read(paper))]
        receipt = not self.read(papers[-1])
        what = f"{len(cuts)} tickets and {'a receipt' if receipt else 'no receipt'}, each cut"
        return what if len(papers) == FIRST_SALE + 1 else f"{len(papers)} papers: {what}"

    def verify_codes(self) -> str:
        keys = self._keys()
        (self.out / "keys.json").write_text(json.dumps(keys, indent=1) + "\n", encoding="utf-8")
        codes = {self.read(paper) for paper in self.first}
        good = 0
        for code in codes:
            signed = parse(code)
            good += verify(signed, public_key(bytes.fromhex(keys[signed.ticket.kid.hex()])))
        return f"{len(codes)} codes, {good} verify"

    def admit_three(self) -> str:
        said = [self.hold_up(paper) for paper in self.first[:3]]
        self.shoot("gate-admit", GATE)
        return ", ".join(said)

    def second_try(self) -> str:
        view = self.look(self.first[0])
        self.shoot("gate-used", GATE)
        told = bool(view.when and view.when_label)
        return f"{view.verdict} {view.reason}, {'says when and where' if told else 'says neither when nor where'}"

    def cut_line(self) -> str:
        assert self.venue.line is not None
        self._second_is_open()
        self.venue.line.cut()
        before = self._office_is().admitted()
        time.sleep(1.0)
        return "the hub hears nothing" if self._office_is().admitted() == before else "the hub still hears"

    def second_sale(self) -> str:
        touch, screen = self.pointer.touch, self.pointer.wait_screen
        self._until(lambda: self.pointer.shown()["screen"] == "attract", "the kiosk is free", timeout_s=60)
        touch("language.en")
        screen("products")
        self.shoot("products-en")
        touch("product.admission")
        screen("people")
        self.shoot("people-en")
        touch("next")
        screen("basket")
        touch("another")
        screen("products")
        touch("product.ramune")
        screen("people")
        touch("next")
        screen("basket")
        self.shoot("basket-en")
        touch("next")
        screen("method")
        charged = self._charged_minor()
        count = len(self.venue.papers())
        touch("pay.card")
        screen("take", timeout_s=60)
        self.shoot("take-en")
        papers = self.venue.wait_papers(count + 2)
        self.second = papers[count:]
        touch("receipt.no")
        return f"paid {self._charged_minor() - charged}, {len(self.second)} tickets"

    def admit_unseen(self) -> str:
        said = self.hold_up(self.second[0])
        ticket = parse(self.read(self.second[0])).ticket.ticket_id.hex()
        known = ticket in self._office_is().today()
        return f"{said}, and the hub {'knows' if known else 'does not know'} the ticket"

    def mend_line(self) -> str:
        assert self.venue.line is not None
        self.venue.line.mend()
        office = self._office_is()
        self._until(
            lambda: len(office.sale_numbers()) == 2 and office.admitted() == self._admitted,
            "both are there",
            timeout_s=40,
        )
        office.picture(Path("/today"), target=self.out / "screens" / "office-today.png")
        return f"the hub shows {'both sales' if len(office.sale_numbers()) == 2 else 'not both sales'} and {office.admitted()} admissions"

    def cancel(self) -> str:
        """A fresh ticket: a coupon that was never shown. The time runs from the office's click to the gate's refusal."""
        paper = self.first[5]
        ticket = parse(self.read(paper)).ticket.ticket_id.hex()
        started = time.monotonic()
        self._office_is().cancel(ticket, reason="rain")
        self._until(lambda: self._gate_has_cancelled(ticket), "the gate has heard", timeout_s=10)
        heard_s = time.monotonic() - started
        view = self.look(paper)
        self.shoot("gate-cancelled", GATE)
        limit = "within 2 s" if heard_s <= CANCEL_S_MAX else f"after {heard_s:.1f} s"
        return f"{view.verdict} {view.reason} {limit}"

    def money(self) -> str:
        page = self._office_is().today()
        shown = f"{self._charged_minor():,}" in page
        return f"terminal {self._charged_minor()}, hub {self._charged_minor() if shown else 'says otherwise'}"

    def open_small_slot(self) -> str:
        """It starts in two minutes, whatever time it is: then it is the first on the kiosk's screen."""
        self._second_is_open()
        if self._second_failed is not None:
            raise self._second_failed
        self._until(lambda: self._office_is().heard("K3"), "the hub has heard of the second kiosk")
        starts = self._local(datetime.now(UTC) + timedelta(minutes=2))
        self._office_is().open_slot("athletics", starts=f"{starts:%H:%M}", minutes=60, capacity=SMALL)
        self.small = f"athletics-{starts:%Y-%m-%d}-{starts:%H%M}"
        while self.second_kiosk.wait_line("stock", timeout_s=20)["slot"] != self.small:
            pass
        held = [self._wait_held(state) for state in ("kiosk-state", "kiosk-K3-state")]
        return f"{sum(held)} places, {' and '.join(map(str, sorted(set(held))))} held by each kiosk"

    def sell_small_slot(self) -> str:
        """K2 by its screen, two at once; K3 one by one, by the program in place of its screen."""
        assert self.venue.line is not None
        self.venue.line.cut()
        self.second_kiosk.tell({"buy": self.small, "count": 1})
        touch, screen = self.pointer.touch, self.pointer.wait_screen
        self._until(lambda: self.pointer.shown()["screen"] == "attract", "the kiosk is free", timeout_s=60)
        touch("language.ja")
        touch("product.athletics")
        touch(f"slot.{self.small}")
        touch(f"plus.{ATHLETICS_ADULT}")
        self.shoot("small-slot")
        touch("next")
        screen("basket")
        touch("next")
        count = len(self.venue.papers())
        touch("pay.card")
        screen("take", timeout_s=60)
        sold = len(self.venue.wait_papers(count + 2)) - count
        touch("receipt.no")
        ended = [self._at_second_kiosk()]
        for _ in range(2):
            self.second_kiosk.tell({"buy": self.small, "count": 1})
            ended.append(self._at_second_kiosk())
        other = ended.count("printed")
        self._until(lambda: self.pointer.shown()["screen"] == "attract", "the kiosk is free", timeout_s=60)
        touch("language.ja")
        touch("product.athletics")
        screen("slots")
        key = f"slot.{self.small}"
        self._until(lambda: key in self.pointer.shown()["targets"], "the slot is still shown")
        told = not self.pointer.shown()["enabled"].get(key)
        self.shoot("small-slot-sold-out")
        touch("start_over")
        said = (
            "the next guest is told at each: sold out"
            if told and ended[-1] == "refused"
            else "the next guest could buy"
        )
        return f"{sold} and {other} sold, {said}"

    def _at_second_kiosk(self) -> str:
        """How its guest's visit ended."""
        return str(self.second_kiosk.wait_line("ended", timeout_s=30)["how"])

    def mend_small_slot(self) -> str:
        assert self.venue.line is not None
        self.venue.line.mend()
        office = self._office_is()
        self._until(lambda: office.slot(self.small)[1] >= SMALL, "all sales are there", timeout_s=20)
        stock, sold, oversold = office.slot(self.small)
        office.picture(Path("/stock"), target=self.out / "screens" / "office-stock.png")
        return f"{sold} of {stock} sold, {oversold} oversold"

    # --- hands and eyes

    def hold_up(self, paper: Path) -> str:
        """Show paper to the camera; the verdict's word, with its reason if it has one."""
        view = self.look(paper)
        if view.verdict in (VerdictKind.ADMIT, VerdictKind.ADMIT_AGAIN, VerdictKind.ATTENTION):
            self._admitted += 1
        return str(view.verdict) if view.reason is None else f"{view.verdict} {Reason(view.reason)}"

    def look(self, paper: Path) -> GateView:
        assert self._staff is not None
        self._staff.look_away()
        self.venue.camera.show(paper)
        return self._staff.verdict()

    def read(self, paper: Path) -> str:
        """The code on a piece of paper; empty for one without."""
        if paper not in self._codes:
            picture = cv2.imread(str(paper))
            found = [] if picture is None else zxingcpp.read_barcodes(picture)
            self._codes[paper] = found[0].text if found else ""
        return self._codes[paper]

    def shoot(self, name: str, place: Placed = KIOSK) -> None:
        """A picture of a window, as it stands on the display now, once what was asked for has been drawn."""
        time.sleep(0.35)
        self._shots += 1
        box = (place.left, place.top, place.left + place.width, place.top + place.height)
        grabbed: Image.Image = ImageGrab.grab(bbox=box, xdisplay=self.display.name)
        grabbed.save(self.out / "screens" / f"{self._shots:02d}-{name}.png")

    def close(self) -> None:
        """Stop everything, then put what it left where the reader of `--out` looks for it."""
        self._second_is_open()
        if self._staff is not None:
            self._staff.close()
        self.venue.close()
        self.display.close()
        for paper in self.venue.papers():
            shutil.copy(paper, self.out / "tickets" / paper.name)
        raw = self.venue.paper / "printer.bin"
        if raw.exists():
            shutil.copy(raw, self.out / "printer.bin")
        self.report.write(self.out / "summary.json")

    def _until(self, so: Callable[[], bool], what: str, *, timeout_s: float = 30) -> None:
        deadline = time.monotonic() + timeout_s
        while not so():
            if time.monotonic() > deadline:
                raise StoryError(f"not so after {timeout_s:.0f} s: {what}")
            time.sleep(0.03)

    def _wait_held(self, state: str) -> int:
        """What a kiosk holds of the small slot, once it holds some."""

        def held() -> int:
            with reading(open_engine(self._work / state / "journal.db")) as connection:
                leases = granted.slot_leases(connection)
            return sum(lease.quantity for lease in leases if lease.slot.slot == self.small)

        self._until(lambda: held() > 0, f"{state} holds some of it", timeout_s=15)
        return held()

    def _local(self, at: datetime) -> datetime:
        with reading(open_engine(self._work / "kiosk-state" / "journal.db")) as connection:
            catalogue = granted.catalogue(connection)
        assert catalogue is not None
        return catalogue.venue.day.local(at)

    def _office_is(self) -> Office:
        assert self._office is not None
        return self._office

    def _charged_minor(self) -> int:
        """By the terminal's own ledger: what it stored."""
        rows = [json.loads(line) for line in self.venue.ledger.read_text(encoding="utf-8").splitlines()]
        return sum(row["amount"] for row in rows if row["event"] == "stored")

    def _keys(self) -> dict[str, str]:
        """Public keys as the gate was granted them: {kid hex: key hex}."""
        with reading(open_engine(self._work / "gate-state" / "journal.db")) as connection:
            return {kid.hex(): key.public.hex() for kid, key in granted.keys(connection).items()}

    def _gate_knows_the_venue(self) -> bool:
        with reading(open_engine(self._work / "gate-state" / "journal.db")) as connection:
            return granted.catalogue_text(connection) is not None and bool(granted.keys(connection))

    def _gate_has_cancelled(self, ticket: str) -> bool:
        """Whether the gate's own cache says so: what its next scan of the ticket will look up."""
        state = StateDir(self._work / "gate-state")
        with reading(open_engine(state.journal)) as connection:
            generation = granted.generation(connection)
        if generation is None:
            return False
        held = cache.Cache.open(state.cache(generation))
        try:
            with held.engine.begin() as connection:
                found = cache.find(connection, ticket_id(ticket))
        finally:
            held.close()
        return found is not None and found.state is TicketState.CANCELLED
