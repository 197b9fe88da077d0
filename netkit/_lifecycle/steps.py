"""Resources that are made by messages: one by one, or many at once with their messages in common sends.

What a resource sends is a generator of steps. Each step is what may travel together: requests by
namespace, in order. The generator gets the outcomes back, one for each request, and goes on or raises.
"""

from __future__ import annotations

from netkit._netlink.batch import LARGEST_BATCH
from netkit._runtime import Runtime
from netkit._system.signals import admit_signals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Sequence

    from netkit._netlink.wire import Request
    from netkit.errors import KernelError

    Step = Sequence[tuple[Runtime, Sequence[Request]]]
    Outcomes = Sequence[KernelError | None]
    Steps = Generator[Step, Outcomes, None]


def take_steps(steps: Steps) -> None:
    """Go through the steps of one resource: one send for each namespace of a step."""
    try:
        step = next(steps)
        while True:
            step = steps.send([outcome for runtime, requests in step for outcome in _send(runtime, requests)])
    except StopIteration:
        return


def take_steps_together(
    steps: Iterable[Steps], patient: Iterable[Steps], progress: Callable[[int], object]
) -> None:
    """Go through the steps of many: for each namespace one send takes what the n-th steps of all want.

    The order of the resources is kept within a send. ``patient`` have one step each, which goes ahead of
    the first send that others make to that namespace. ``progress`` is told how many requests were answered.
    """
    waiting = {step[0][0]: (each, step) for each, step in [(each, next(each)) for each in patient]}
    going = [(each, step) for each in steps if (step := next(each, None)) is not None]
    while going or waiting:
        named = {runtime for _, step in going for runtime, requests in step if requests}
        if not going:
            named.update(waiting)
        ready = [waiting.pop(runtime) for runtime in named if runtime in waiting]
        going = _advance([*ready, *going], progress)


def _advance(
    going: Sequence[tuple[Steps, Step]], progress: Callable[[int], object]
) -> list[tuple[Steps, Step]]:
    """Send the steps, and hand each its outcomes; those that have a next step, with it."""
    queues: dict[Runtime, list[Request]] = {}
    for _, step in going:
        for runtime, requests in step:
            queues.setdefault(runtime, []).extend(requests)
    answers: dict[Runtime, Iterator[KernelError | None]] = {}
    for runtime, queue in queues.items():
        answers[runtime] = iter(_send_in_parts(runtime, queue, progress))
    following: list[tuple[Steps, Step]] = []
    for each, step in going:
        outcomes = [next(answers[runtime]) for runtime, requests in step for _ in requests]
        try:
            following.append((each, each.send(outcomes)))
        except StopIteration:
            continue
    return following


def _send_in_parts(
    runtime: Runtime, requests: Sequence[Request], progress: Callable[[int], object]
) -> list[KernelError | None]:
    """In the parts that a batch would be cut into anyway, to tell how far it is."""
    outcomes: list[KernelError | None] = []
    for start in range(0, len(requests), LARGEST_BATCH):
        part = requests[start : start + LARGEST_BATCH]
        admit_signals()
        outcomes += runtime.route.batch(part)
        progress(len(part))
    return outcomes


def _send(runtime: Runtime, requests: Sequence[Request]) -> Outcomes:
    admit_signals()
    return runtime.route.batch(requests) if requests else ()


def raise_first(outcomes: Iterable[KernelError | None]) -> None:
    """Raise the first refusal, if there is one."""
    for outcome in outcomes:
        if outcome is not None:
            raise outcome
