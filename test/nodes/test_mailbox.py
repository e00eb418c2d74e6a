"""The mailbox between the subscriptions and the worker."""

import threading
import time

from anomaly_seg_ros.nodes.mailbox import Mailbox

ONE = ("a",)


def test_the_slot_keeps_the_newest_and_counts_what_it_loses() -> None:
    slot: Mailbox[str, int] = Mailbox(ONE)
    assert [slot.put("a", number) for number in range(4)] == [0, 1, 1, 1]
    assert slot.take() == {"a": 3}
    assert slot.put("a", 9) == 0


def test_the_queue_keeps_the_order_and_refuses_what_has_no_room() -> None:
    queue: Mailbox[str, int] = Mailbox(ONE, 3, keep_all=True)
    assert [queue.put("a", number) for number in range(5)] == [0, 0, 0, 1, 1]
    assert [queue.take() for _ in range(3)] == [{"a": 0}, {"a": 1}, {"a": 2}]


def test_a_full_queue_waits_for_room() -> None:
    queue: Mailbox[str, int] = Mailbox(ONE, 1, keep_all=True)
    queue.put("a", 1)
    taker = threading.Timer(0.05, queue.take)
    taker.start()
    assert queue.put("a", 2, patience=30) == 0
    taker.join()
    assert queue.take() == {"a": 2}


def test_closing_wakes_who_waits_and_tells_what_was_left() -> None:
    slot: Mailbox[str, int] = Mailbox(ONE)
    got: list[dict[str, int]] = []
    taker = threading.Thread(target=lambda: got.append(slot.take()))
    taker.start()
    time.sleep(0.02)
    assert slot.close() == {"a": 0}
    taker.join(30)
    assert got == [{}]

    queue: Mailbox[str, int] = Mailbox("ab", 5, keep_all=True)
    queue.put("a", 1)
    queue.put("a", 2)
    queue.put("b", 3)
    assert queue.close() == {"a": 2, "b": 1}
    assert queue.take() == {}
    assert queue.put("a", 4, patience=30) == 1


def test_a_producer_faster_than_the_consumer_loses_exactly_what_is_counted() -> None:
    slot: Mailbox[str, int] = Mailbox(ONE)
    taken: list[int] = []

    def consume() -> None:
        while items := slot.take():
            taken.append(items["a"])

    consumer = threading.Thread(target=consume)
    consumer.start()
    lost = sum(slot.put("a", number) for number in range(5000))
    lost += slot.close()["a"]
    consumer.join(30)
    assert len(taken) + lost == 5000
    assert taken == sorted(taken)


def test_who_was_served_longest_ago_comes_first() -> None:
    slots: Mailbox[str, int] = Mailbox("abc")
    served = []
    for number in range(6):
        for sender in "abc" if number < 4 else "ab":
            slots.put(sender, number)
        served += slots.take()
    assert served == ["a", "b", "c", "a", "b", "c"]


def test_a_sender_of_many_items_gets_no_more_than_its_turn() -> None:
    queues: Mailbox[str, int] = Mailbox("abc", 100, keep_all=True)
    for number in range(20):
        queues.put("a", number)
    for number in range(2):
        queues.put("b", number)
        queues.put("c", number)
    served = [list(queues.take()) for _ in range(8)]
    assert served == [[name] for name in "abcabcaa"]


def test_a_batch_has_one_item_of_each_sender_that_has_one() -> None:
    queues: Mailbox[str, int] = Mailbox("abc", 5, keep_all=True)
    for sender, number in (("a", 1), ("a", 2), ("c", 3), ("c", 4)):
        queues.put(sender, number)
    assert queues.take(most=3) == {"a": 1, "c": 3}
    queues.put("b", 5)
    assert queues.take(most=2) == {"b": 5, "a": 2}
    assert queues.take(most=2) == {"c": 4}


def test_gathering_waits_for_the_others_and_no_longer_than_until_all_are_there() -> None:
    slots: Mailbox[str, int] = Mailbox("ab")
    slots.put("a", 1)
    later = threading.Timer(0.05, slots.put, ("b", 2))
    later.start()
    assert slots.take(most=2, gather=3600) == {"a": 1, "b": 2}
    later.join()
    slots.put("b", 3)
    assert slots.take(most=2, gather=0.01) == {"b": 3}
    slots.put("b", 4)
    assert slots.take(most=1, gather=3600) == {"b": 4}


def test_closing_ends_the_gathering() -> None:
    slots: Mailbox[str, int] = Mailbox("ab")
    slots.put("a", 1)
    closer = threading.Timer(0.05, slots.close)
    closer.start()
    assert slots.take(most=2, gather=3600) == {}
    closer.join()
