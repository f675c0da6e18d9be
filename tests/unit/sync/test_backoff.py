from sync.backoff import FIRST_S, LAST_S, Backoff


def test_full_jitter_between_nothing_and_a_bound_that_doubles() -> None:
    longest = Backoff(lambda size: b"\xff" * size)
    waits = [longest.failed() for _ in range(12)]
    assert waits[0] <= FIRST_S
    assert waits == sorted(waits)
    assert LAST_S * 0.99 < waits[-1] <= LAST_S
    longest.succeeded()
    assert longest.failed() <= FIRST_S
    assert Backoff(lambda size: b"\0" * size).failed() == 0


def test_what_the_hub_asks_for_is_waited_and_not_by_all_at_once() -> None:
    from sync.errors import HubUnreachable

    busy = HubUnreachable("busy", retry_after_s=4.0)
    assert Backoff(lambda size: b"\0" * size).failed(busy) == 4
    assert 7.9 < Backoff(lambda size: b"\xff" * size).failed(busy) <= 8
    assert Backoff(lambda size: b"\0" * size).failed(HubUnreachable("no line")) == 0
