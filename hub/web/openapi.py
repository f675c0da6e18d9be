"""The protocol as OpenAPI 3.1, for those who write a device or a hub in another language: every call under /v1, kept by hand beside the code.

docs/protocol.md says what the calls mean; this says their shapes. Tests hold each message class's real JSON against its schema here and
every route of the application against this list, so neither can drift alone. Readers ignore keys that they do not know, which is why no
schema forbids more of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hub.web.access import Who
from sync import protocol
from sync.chain import SEGMENT_OPERATIONS_MAX
from sync.claim import PLACE_CHARS_MAX, UNITS_MAX
from sync.operation import BODY_BYTES_MAX, ReleaseReason
from sync.protocol import (
    BLOCK_LENGTHS,
    CURSOR_CHARS_MAX,
    LEASE_UNITS_MAX,
    LENDERS_MAX,
    MEMBERS_MAX,
    PAGE_ROWS_MAX,
    WAIT_S_MAX,
    Status,
)
from sync.snapshot import CONTENT_BYTES_MAX, MANIFEST_CHARS_MAX, PACKED_BYTES_MAX, SNAPSHOT, NoSnapshot
from sync.snapshot import WAIT_S_MAX as SNAPSHOT_WAIT_S_MAX
from sync.state import Role
from tickets.admission import Passage, Reason
from tickets.code import CODE_CHARS_MAX

PATH = "/v1/openapi.json"
Schema = dict[str, Any]


_PLACE = r"^[^\u0000-\u001f\u007f-\u009f]*$"
"""No control characters."""


def _text(most: int | None = None, **more: Any) -> Schema:
    return {"type": "string"} | ({} if most is None else {"maxLength": most}) | more


def _hex(size: int, about: str = "") -> Schema:
    made: Schema = {"type": "string", "pattern": f"^[0-9a-f]{{{size * 2}}}$"}
    return made | ({"description": about} if about else {})


def _count(most: int = (1 << 63) - 1, least: int = 0) -> Schema:
    return {"type": "integer", "minimum": least, "maximum": most}


def _maybe(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _list(items: Schema, most: int | None = None) -> Schema:
    return {"type": "array", "items": items} | ({} if most is None else {"maxItems": most})


def _object(required: Mapping[str, Schema], optional: Mapping[str, Schema] | None = None, about: str = "") -> Schema:
    made: Schema = {"type": "object", "required": list(required), "properties": dict(required) | dict(optional or {})}
    return made | ({"description": about} if about else {})


def _ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


UNITS = _count(LEASE_UNITS_MAX)
INSTANT = _text(format="date-time", description="ISO 8601 with a zone")
VERSION: Schema = {"const": protocol.VERSION}
DEVICE, OP, TICKET = _hex(16, "a device's id"), _hex(16, "an operation's id"), _hex(10, "a ticket's id")

RELAYED = _object(
    {"device": DEVICE, "received_at": INSTANT},
    about="Added by a venue node: whose message this is, and when it had it.",
)
ANSWER = _object({"op": OP, "status": {"enum": [str(status) for status in Status]}, "reason": _text()})

SCHEMAS: dict[str, Schema] = {
    "Problem": _object(
        {"protocol": VERSION, "error": _text(), "detail": _text()},
        {"known_seq": _maybe(_count()), "epoch": _count()},
        "A refusal. `error` is stable, `detail` one line for people, `known_seq` where the hub's copy of a chain ends (chain_gap), "
        "`epoch` the newest that the answerer knows (epoch).",
    ),
    "Done": _object({"protocol": VERSION}),
    "EnrolRequest": _object(
        {
            "protocol": VERSION,
            "token": _text(128),
            "device": DEVICE,
            "identity": _hex(32, "Ed25519 public key"),
            "selling": _hex(32, "Ed25519 public key"),
            "software": _text(64),
            "proof": _hex(64, "by the identity key over 'kaisatsu/enrol/1' || token || device || identity || selling"),
        }
    ),
    "SignedText": _object(
        {"protocol": VERSION, "text": _text(8192), "signature": _hex(64)},
        about="`text` is an Enrolled as JSON; the signature is the hub key's over 'kaisatsu/enrolled/1' || text.",
    ),
    "Enrolled": _object(
        {
            "device": DEVICE,
            "identity": _hex(32),
            "role": {"enum": [str(role) for role in Role]},
            "label": _text(64),
            "gate": _maybe(_text(64)),
            "kid": _maybe(_hex(4)),
            "certificate": _maybe(_text()),
            "certificate_signature": _maybe(_hex(64)),
            "at": INSTANT,
        }
    ),
    "Page": _object(
        {
            "protocol": VERSION,
            "cursor": _text(CURSOR_CHARS_MAX),
            "more": {"type": "boolean"},
            "at": INSTANT,
            "schema": _count(1_000, 1),
            "tables": _list(
                _object(
                    {
                        "table": _text(64),
                        "columns": _list(_text()),
                        "rows": _list(_list({})),
                        "deletes": _list(_text()),
                    }
                )
            ),
        },
        {
            "checksum": _maybe(_text(64)),
            "schema": _count(least=1),
            "relay": _object(
                {
                    "cursor": _maybe(_text(CURSOR_CHARS_MAX)),
                    "acknowledged": _maybe(_object({"incarnation": _count((1 << 32) - 1), "seq": _count()})),
                    "answers": _list(ANSWER, 10_000),
                    "at": _maybe(INSTANT),
                },
                about="What a venue node says of its hub: the hub's cursor for who has read this page to the end, and the hub's own copy of "
                "the caller's chain where that is news.",
            ),
        },
        "Rows in their latest form, each as long as `columns`. `more`: ask again at once. `schema`: the form of cursor and rows; 1 if missing.",
    ),
    "Segment": _object(
        {
            "protocol": VERSION,
            "device": DEVICE,
            "incarnation": _count((1 << 32) - 1, 1),
            "first": _count(least=1),
            "last": _count(least=1),
            "before": _hex(32),
            "head": _hex(32),
            "signature": _hex(64),
            "bodies": _list(_text(BODY_BYTES_MAX), SEGMENT_OPERATIONS_MAX),
        },
        {"relayed": RELAYED},
    ),
    "Answers": _object(
        {
            "protocol": VERSION,
            "answers": _list(ANSWER),
        },
        optional={"cursor": _maybe(_text(CURSOR_CHARS_MAX))},
        about="One an operation, in order. Who has reached `cursor` in the feed has what these operations changed.",
    ),
    "Claim": _object(
        {
            "op": OP,
            "kind": {"enum": [str(passage) for passage in Passage]},
            "ticket": TICKET,
            "code": _maybe(_text(CODE_CHARS_MAX)),
            "units": _count(UNITS_MAX),
            "window": _text(PLACE_CHARS_MAX, pattern=_PLACE),
            "gate": _text(PLACE_CHARS_MAX, pattern=_PLACE),
            "epoch": _count(),
        }
    ),
    "ClaimAnswer": _object(
        {
            "op": OP,
            "answer": {"enum": ["granted", "denied"]},
            "epoch": _count(),
            "left": _maybe(_count()),
            "reason": _maybe({"enum": [str(reason) for reason in Reason]}),
            "first": _maybe(_object({"at": INSTANT, "gate": _text()})),
        }
    ),
    "Reign": _object(
        {"protocol": VERSION, "epoch": _count(), "rules": {"type": "boolean"}},
        about="The newest epoch known there, 0 for none, and whether the answerer rules in it.",
    ),
    "Release": _object(
        {
            "protocol": VERSION,
            "op": OP,
            "of": OP,
            "reason": {"enum": [str(reason) for reason in ReleaseReason]},
            "gate": _text(PLACE_CHARS_MAX, pattern=_PLACE),
            "at": INSTANT,
        }
    ),
    "LeaseRequest": _object(
        {
            "protocol": VERSION,
            "incarnation": _count((1 << 32) - 1),
            "slots": _list(_ref("SlotWish"), 2_000),
            "blocks": _list(_object({"length": {"enum": list(BLOCK_LENGTHS)}, "count": _count(1_000)}), 2),
        },
        {"members": _list(DEVICE, MEMBERS_MAX), "relayed": RELAYED},
        "`members`: the kiosks that a venue node lends on to.",
    ),
    "SlotWish": _object(
        {"slot": _text(64)},
        {
            "more": UNITS,
            "lent": {"type": "object", "additionalProperties": UNITS, "maxProperties": LENDERS_MAX},
            "returned": {"type": "object", "additionalProperties": UNITS, "maxProperties": LENDERS_MAX},
            "urgent": {"type": "boolean"},
        },
        "What a device was lent and has returned in total, by lender; `more`: so many on top. `urgent`: a guest stands there.",
    ),
    "LeaseAnswer": _object(
        {
            "protocol": VERSION,
            "at": INSTANT,
            "slots": _list(
                _object(
                    {"slot": _text(), "quantity": _count(), "free": _count()}, {"returned": _count(), "back": _count()}
                )
            ),
            "blocks": _list(_ref("Block")),
        },
        {"lender": _text(64)},
        "`quantity` and `returned` are this lender's totals; `back`: so many a person took back, to be returned.",
    ),
    "Block": _object({"length": _count(), "first": _count(), "last": _count()}, {"until": _maybe(INSTANT)}),
    "CertificateAnswer": _object({"protocol": VERSION, "certificate": _text(8192), "signature": _hex(64)}),
    "Rejoin": _object(
        {
            "protocol": VERSION,
            "incarnation": _count((1 << 32) - 1),
            "acknowledged": _count(),
            "slots": _list(_ref("SlotWish"), 5_000),
            "blocks": _list(_ref("Block"), 2_000),
        },
        {"relayed": RELAYED, "arbiter": _text(), "whole": {"type": "boolean"}},
        "All that a device was lent in this incarnation, and the last of its operations that was ever acknowledged.",
    ),
    "Heads": _object(
        {
            "protocol": VERSION,
            "heads": _list(_object({"incarnation": _count((1 << 32) - 1), "seq": _count(), "hash": _hex(32)})),
        },
        about="Where the hub's copy of each incarnation of a device's chain ends.",
    ),
    "Telemetry": _object(
        {
            "protocol": VERSION,
            "at": INSTANT,
            "software": _text(64),
            "unsent": _count(),
            "parts": _list(
                _object(
                    {
                        "part": _text(64),
                        "state": _text(32),
                        "at": INSTANT,
                        "stops": _text(64),
                        "facts": {"type": "object"},
                    }
                ),
                64,
            ),
        },
        {"sequence": _count(), "relayed": RELAYED},
        "The latest is the one with the highest (`at`, `sequence`); a device that counts none sends 0.",
    ),
    "Rejoined": _object(
        {"protocol": VERSION, "known_seq": _count()},
        about="The last of the incarnation's operations that the hub has; the device sends again what comes after it.",
    ),
    "SnapshotAnswer": _object(
        {"protocol": VERSION, "text": _maybe(_text(MANIFEST_CHARS_MAX)), "signature": _maybe(_hex(64))},
        {"why": {"enum": [str(why) for why in NoSnapshot]}},
        "`text` is a SnapshotManifest as JSON, the signature the hub key's over 'kaisatsu/snapshot/1' || text; without them, `why`.",
    ),
    "SnapshotManifest": _object(
        {
            "schema": _count(),
            "cursor": _text(CURSOR_CHARS_MAX),
            "size": _count(PACKED_BYTES_MAX),
            "sha256": _hex(32, "of the file as it travels: zstd"),
            "content_size": _count(CONTENT_BYTES_MAX),
            "content_sha256": _hex(32, "of the SQLite file in it"),
            "url": _text(128, pattern=f"^{SNAPSHOT}/[0-9a-f]{{64}}$"),
            "built_at": INSTANT,
            "tickets": _count(),
            "uses": _count(),
        },
        about="What the file of a snapshot is, and where in the feed its rows stand.",
    ),
}

HEADERS: dict[str, Schema] = {
    "Kaisatsu-Time": {
        "description": "The hub's clock, milliseconds since 1970",
        "schema": _text(pattern="^[0-9]{1,15}$"),
    },
    "Kaisatsu-Nonce": {"description": "Sign the next request over this", "schema": _text(64)},
}
RETRY_AFTER: Schema = {"Retry-After": {"description": "Whole seconds", "schema": {"type": "integer", "minimum": 1}}}
ERRORS: dict[str, str] = {
    "400": "message, bad_request: a bug on one side",
    "401": "unsigned, signature, device_unknown, revoked, replayed; nonce: sign again over the one in this answer",
    "403": "token (enrolment), not_allowed (another role's call)",
    "404": "not_found: also where a venue node names a device that the hub does not know; snapshot_gone: ask for the newest",
    "409": "chain_gap (known_seq), chain_fork, epoch; unreported: this hub was restored, say first what you hold; "
    "of a venue node: behind, hub_away",
    "410": "cursor_gone: begin again without a cursor",
    "413": "too_large",
    "422": "segment: its chain or signature does not hold",
    "429": "busy: this device calls too often",
    "503": "busy: too much waits for this hub",
}


def _call(
    summary: str,
    *,
    who: Who,
    answer: str,
    body: str | None = None,
    roles: tuple[Role, ...] = tuple(Role),
    errors: str = "",
    parameters: list[Schema] | None = None,
) -> Schema:
    statuses = ["400", "413", "429", "503", *errors.split(), *(["401", "403"] if who is Who.DEVICE else [])]
    made: Schema = {
        "summary": summary,
        "x-who": str(who),
        "responses": {"200": _answer("done", answer)}
        | {status: _answer(ERRORS[status], "Problem") for status in sorted(set(statuses))},
    }
    if who is Who.DEVICE:
        made |= {"x-roles": [str(role) for role in roles], "security": [{"hop": []}]}
    if body is not None:
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": _ref(body)}}}
    if parameters:
        made["parameters"] = parameters
    for status in ("429", "503"):
        made["responses"][status]["headers"] = HEADERS | RETRY_AFTER
    return made


def _answer(about: str, schema: str) -> Schema:
    return {"description": about, "headers": HEADERS, "content": {"application/json": {"schema": _ref(schema)}}}


def _query(name: str, schema: Schema, about: str) -> Schema:
    return {"name": name, "in": "query", "required": False, "schema": schema, "description": about}


def _file_call() -> Schema:
    """The one answer that is no JSON."""
    made = _call("A snapshot's file, whole or from a byte on", who=Who.DEVICE, answer="Done", errors="404")
    packed = {"application/zstd": {"schema": {"type": "string", "contentMediaType": "application/zstd"}}}
    tag = {"ETag": {"description": "The digest in quotes", "schema": _text()}}
    made["responses"]["200"] = {"description": "the whole file", "headers": HEADERS | tag, "content": packed}
    made["responses"]["206"] = {"description": "from that byte on", "headers": HEADERS | tag, "content": packed}
    made["parameters"] = [
        {"name": "sha256", "in": "path", "required": True, "schema": _hex(32)},
        {"name": "Range", "in": "header", "required": False, "schema": _text(pattern="^bytes=[0-9]+-$")},
        {
            "name": "If-Range",
            "in": "header",
            "required": False,
            "schema": _text(),
            "description": "the ETag; else all of it",
        },
    ]
    return made


CALLS: dict[str, dict[str, Schema]] = {
    protocol.ENROL: {
        "post": _call(
            "Redeem a one-time token: a device with keys of its own",
            who=Who.ANYONE,
            body="EnrolRequest",
            answer="SignedText",
            errors="403",
        )
    },
    protocol.CHANGES: {
        "get": _call(
            "The next page of the change feed",
            who=Who.DEVICE,
            answer="Page",
            errors="409 410",
            parameters=[
                _query("cursor", _text(CURSOR_CHARS_MAX), "the last page's; without one, everything"),
                _query(
                    "wait",
                    {"type": "number", "minimum": 0, "maximum": WAIT_S_MAX},
                    "seconds to hold an empty page back",
                ),
                _query("limit", _count(PAGE_ROWS_MAX, 1), "rows a page has at most"),
                _query("schema", _count(least=1), "the newest form of the feed that the device reads; 1 if missing"),
                _query("seen", _text(CURSOR_CHARS_MAX), "to a venue node: the hub's cursor that the caller holds"),
                _query("acknowledged", _text(32), "to a venue node: INCARNATION.SEQ that the hub is known to have"),
            ],
        )
    },
    protocol.OPERATIONS: {
        "post": _call(
            "Upload a segment of the caller's own journal; a venue node hands on those of others",
            who=Who.DEVICE,
            body="Segment",
            answer="Answers",
            errors="404 409 422",
        )
    },
    protocol.CLAIM: {
        "post": _call(
            "Ask the arbiter for a use",
            who=Who.DEVICE,
            roles=(Role.GATE,),
            body="Claim",
            answer="ClaimAnswer",
            errors="409",
        )
    },
    protocol.ARBITER: {
        "get": _call(
            "Whether the answerer rules, and in which epoch", who=Who.DEVICE, roles=(Role.GATE,), answer="Reign"
        )
    },
    protocol.RELEASE: {
        "post": _call("Give a use back", who=Who.DEVICE, roles=(Role.GATE,), body="Release", answer="Done")
    },
    protocol.LEASE: {
        "post": _call(
            "Hold stock and short ids, as totals",
            who=Who.DEVICE,
            roles=(Role.KIOSK, Role.VENUE),
            body="LeaseRequest",
            answer="LeaseAnswer",
            errors="404 409",
        )
    },
    protocol.CERTIFICATE: {
        "post": _call(
            "The caller's selling key, certified anew where its certificate comes to an end",
            who=Who.DEVICE,
            roles=(Role.KIOSK, Role.VENUE),
            answer="CertificateAnswer",
            errors="404 409",
        )
    },
    protocol.REJOIN: {
        "post": _call(
            "Say what a device holds, to a hub that was restored",
            who=Who.DEVICE,
            body="Rejoin",
            answer="Rejoined",
            errors="404 409",
        )
    },
    protocol.HEADS: {
        "get": _call(
            "Where the hub's copies of a device's chains end",
            who=Who.DEVICE,
            roles=(Role.VENUE,),
            answer="Heads",
            parameters=[_query("device", DEVICE, "whose")],
        )
    },
    protocol.TELEMETRY: {
        "post": _call(
            "How a device is; the latest counts",
            who=Who.DEVICE,
            body="Telemetry",
            answer="Done",
            errors="404 409",
        )
    },
    SNAPSHOT: {
        "get": _call(
            "The newest snapshot of what this device's role may have, or why there is none",
            who=Who.DEVICE,
            answer="SnapshotAnswer",
            parameters=[
                _query(
                    "wait",
                    {"type": "number", "minimum": 0, "maximum": SNAPSHOT_WAIT_S_MAX},
                    "seconds to hold the answer back while the first one is built",
                )
            ],
        )
    },
    SNAPSHOT + "/{sha256}": {"get": _file_call()},
    PATH: {
        "get": {
            "summary": "This document",
            "x-who": str(Who.ANYONE),
            "responses": {
                "200": {
                    "description": "OpenAPI 3.1",
                    "headers": HEADERS,
                    "content": {"application/json": {"schema": {"type": "object"}}},
                }
            },
        }
    },
}


def document() -> dict[str, Any]:
    """The whole description, ready to be written as JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Kaisatsu: between device and hub",
            "version": str(protocol.VERSION),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            "description": "What the calls mean, how requests are signed and TLS keys are pinned: docs/protocol.md.",
        },
        "paths": CALLS,
        "components": {
            "schemas": SCHEMAS,
            "securitySchemes": {
                "hop": {
                    "type": "http",
                    "scheme": "signature",
                    "description": (
                        'RFC 9421 by the device\'s Ed25519 identity key, label hop, over ("@method" "@authority" "@path" "@query" '
                        '"content-digest");created;keyid;alg="ed25519";nonce;tag="kaisatsu-1"'
                    ),
                }
            },
        },
    }
