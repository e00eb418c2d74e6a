"""The mailbox between the subscription and the worker."""

import threading
import time

from anomaly_seg_ros.nodes.mailbox import Mailbox


def test_the_slot_keeps_the_newest_and_counts_what_it_loses() -> None:
    slot: Mailbox[int] = Mailbox()
    assert [slot.put(number) for number in range(4)] == [0, 1, 1, 1]
    assert slot.take() == 3
    assert slot.take(patience=0) is None
    assert slot.put(9) == 0


def test_the_queue_keeps_the_order_and_refuses_what_has_no_room() -> None:
    queue: Mailbox[int] = Mailbox(3, keep_all=True)
    assert [queue.put(number) for number in range(5)] == [0, 0, 0, 1, 1]
    assert [queue.take() for _ in range(3)] == [0, 1, 2]


def test_a_full_queue_waits_for_room() -> None:
    queue: Mailbox[int] = Mailbox(1, keep_all=True)
    queue.put(1)
    taker = threading.Timer(0.05, queue.take)
    taker.start()
    assert queue.put(2, patience=30) == 0
    taker.join()
    assert queue.take() == 2


def test_closing_wakes_who_waits_and_tells_what_was_left() -> None:
    slot: Mailbox[int] = Mailbox()
    got: list[int | None] = []
    taker = threading.Thread(target=lambda: got.append(slot.take()))
    taker.start()
    time.sleep(0.02)
    assert slot.close() == 0
    taker.join(30)
    assert got == [None]

    queue: Mailbox[int] = Mailbox(5, keep_all=True)
    queue.put(1)
    queue.put(2)
    assert queue.close() == 2
    assert queue.take() is None
    assert queue.put(3, patience=30) == 1


def test_a_producer_faster_than_the_consumer_loses_exactly_what_is_counted() -> None:
    slot: Mailbox[int] = Mailbox()
    taken: list[int] = []

    def consume() -> None:
        while (item := slot.take()) is not None:
            taken.append(item)

    consumer = threading.Thread(target=consume)
    consumer.start()
    lost = sum(slot.put(number) for number in range(5000))
    lost += slot.close()
    consumer.join(30)
    assert len(taken) + lost == 5000
    assert taken == sorted(taken)
