"""Why a venue node says no where a hub would not."""

from __future__ import annotations

from hub.errors import HubError


class Behind(HubError):
    """The device has seen more of the hub than this node: it must not be shown an older picture. It stays at the hub and asks again."""

    error = "behind"
    status = 409


class HubAway(HubError):
    """What only the hub can answer, while there is no line to it. No failure of the node's: whoever asked stays here and asks again."""

    error = "hub_away"
    status = 409
