"""Resources that are made by messages: one by one, or many at once with their messages in common sends.

What a resource sends is a generator of steps. Each step is what may travel together: a namespace, and
requests to it, one at least, in order. The generator gets the outcomes back, one for each request, and goes
on or raises.
"""

from __future__ import annotations

from netkit._netlink.batch import LARGEST_BATCH
from netkit._netlink.many import batch_many
from netkit._runtime import Runtime
from netkit._system.signals import admit_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Mapping, Sequence

    from netkit._netlink.wire import Request
    from netkit.errors import KernelError

    Step = tuple[Runtime, Sequence[Request]]
    Outcomes = Sequence[KernelError | None]
    Steps = Generator[Step, Outcomes, None]
    Going = tuple[Steps, Outcomes]  # a resource, and what came of the step that it waits for


def take_steps(steps: Steps) -> None:
    """Go through the steps of one resource, a send for each."""
    try:
        runtime, requests = next(steps)
        while True:
            admit_signals()
            runtime, requests = steps.send(runtime.route.batch(requests))
    except StopIteration:
        return


def take_steps_together(
    steps: Iterable[Steps], ahead: dict[Runtime, Sequence[Request]], progress: Callable[[int], object]
) -> None:
    """Go through the steps of many: for each namespace one send takes what the n-th steps of all want.

    The order of the resources is kept within a send. ``ahead`` is what goes ahead of the first send to a
    namespace. ``progress`` is told how many requests were answered. Requests are made when it is their turn:
    those of a thousand resources at once would be most of the memory that a build takes.
    """
    going: list[Going] = [(each, ()) for each in steps]
    while going:
        following: list[Going] = []
        for start in range(0, len(going), LARGEST_BATCH):
            following += _advance(going[start : start + LARGEST_BATCH], ahead, progress)
        following.sort(key=_was_refused, reverse=True)  # before others go on in vain
        going = following
    alone = list(ahead.items())
    for start in range(0, len(alone), LARGEST_BATCH):
        for answer in _send_all(dict(alone[start : start + LARGEST_BATCH]), progress).values():
            raise_first(answer)


def _was_refused(going: Going) -> bool:
    return any(going[1])


def _advance(
    going: Sequence[Going], ahead: dict[Runtime, Sequence[Request]], progress: Callable[[int], object]
) -> list[Going]:
    """Hand each its outcomes and send what it wants next; back come those that did, with what came of it."""
    queues: dict[Runtime, list[Request]] = {}
    leading: dict[Runtime, int] = {}
    shares: list[tuple[Steps, Runtime, int, int]] = []
    for each, outcomes in going:
        try:
            runtime, requests = each.send(outcomes) if outcomes else next(each)
        except StopIteration:
            continue
        queue = queues.get(runtime)
        if queue is None:
            queue = queues[runtime] = [*ahead.pop(runtime, ())]
            leading[runtime] = len(queue)
        begin = len(queue)
        queue += requests
        shares.append((each, runtime, begin, len(queue)))
    answers = _send_all(queues, progress)
    for runtime, answer in answers.items():
        raise_first(answer[: leading[runtime]])
    return [(each, answers[runtime][begin:end]) for each, runtime, begin, end in shares]


def _send_all(
    queues: Mapping[Runtime, Sequence[Request]], progress: Callable[[int], object]
) -> dict[Runtime, Outcomes]:
    """What each namespace answers. What one of them is sent need not wait for another."""
    small = [each for each in queues.items() if len(each[1]) <= LARGEST_BATCH]
    admit_signals()
    outcomes = batch_many([(runtime.route, queue) for runtime, queue in small])
    progress(sum([len(queue) for _, queue in small]))
    answers = dict(zip([runtime for runtime, _ in small], outcomes, strict=True))
    for runtime, queue in queues.items():
        if runtime not in answers:
            answers[runtime] = _send_in_parts(runtime, queue, progress)
    return answers


def _send_in_parts(
    runtime: Runtime, requests: Sequence[Request], progress: Callable[[int], object]
) -> Outcomes:
    """In the parts that a batch would be cut into anyway, to tell how far it is."""
    if len(requests) <= LARGEST_BATCH:
        admit_signals()
        answer = runtime.route.batch(requests)
        progress(len(requests))
        return answer
    outcomes: list[KernelError | None] = []
    for start in range(0, len(requests), LARGEST_BATCH):
        outcomes += _send_in_parts(runtime, requests[start : start + LARGEST_BATCH], progress)
    return outcomes


def raise_first(outcomes: Iterable[KernelError | None]) -> None:
    """Raise the first refusal, if there is one."""
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
