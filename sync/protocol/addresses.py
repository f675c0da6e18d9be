"""The calls, and how much one may carry."""

from __future__ import annotations

VERSION = 1
ENROL, CHANGES, OPERATIONS = "/v1/enrol", "/v1/changes", "/v1/operations"
CLAIM, RELEASE, LEASE, TELEMETRY = "/v1/claim", "/v1/release", "/v1/lease", "/v1/telemetry"
ARBITER, HEADS, REJOIN = "/v1/arbiter", "/v1/heads", "/v1/rejoin"
CERTIFICATE = "/v1/certificate"

REQUEST_BYTES_MAX = 1024 * 1024
PAGE_BYTES_MAX = 16 * 1024 * 1024
PAGE_ROWS_MAX = 10_000
WAIT_S_MAX = 60.0
CURSOR_CHARS_MAX = 512
