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
