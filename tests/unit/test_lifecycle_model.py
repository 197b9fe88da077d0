"""Random sequences of lifecycle verbs against a model of a few lines: what is there, and who owns it."""

from __future__ import annotations

import errno
from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from netkit import Bridge, Namespace, Scope, VethPair
from netkit._lifecycle import Resource
from netkit.errors import ExistsError, KernelError, NotFoundError, SpecError, StateError
from netkit.testing import FakeKernel

NAMES = ["one", "two", "three"]
KINDS = ["veth", "bridge", "namespace"]


class Lifecycle(RuleBasedStateMachine):
    """`there` is what the kernel has by name; `state` what each object is to say of itself."""

    resources = Bundle("resources")

    @initialize()
    def begin(self) -> None:
        self.kernel = FakeKernel().__enter__()
        self.red, self.blue = self.kernel.namespace("red"), self.kernel.namespace("blue")
        self.before = self.kernel.state()
        self.scopes: list[Scope] = []
        self.state: dict[Resource, str] = {}
        self.names: dict[Resource, str] = {}
        self.there: dict[str, Resource] = {}
        self.owner: dict[Resource, Scope | None] = {}

    def teardown(self) -> None:
        if not hasattr(self, "kernel"):
            return
        self.kernel.heal()
        for scope in self.scopes[::-1]:
            scope.__exit__(None, None, None)
        for resource in list(self.state):
            if resource.exists and self.state[resource] == "borrowed":
                resource.adopt()
                self.state[resource] = "owned"
            if self.owner.get(resource) is None and self.state[resource] == "owned" and resource.exists:
                resource.delete()
        assert self.kernel.state() == self.before
        self.kernel.__exit__(None, None, None)

    # -- making objects ---------------------------------------------------------------

    @rule(target=resources, name=st.sampled_from(NAMES), kind=st.sampled_from(KINDS))
    def make(self, name: str, kind: str) -> Resource:
        resource: Resource
        if kind == "veth":
            resource = VethPair(self.red, self.blue, name=name, peer_name=name, address="10.0.0.1/24")
        elif kind == "bridge":
            resource = Bridge(self.red, name, address="10.1.0.1/24")
        else:
            resource = Namespace(name, persistent=True)
        self.state[resource] = "new"
        # A namespace's name is in another space than a link's.
        self.names[resource] = f"netns {name}" if kind == "namespace" else name
        return resource

    # -- the verbs ----------------------------------------------------------------------

    @rule(resource=resources)
    def create(self, resource: Resource) -> None:
        self._create(resource, resource.create)

    def _create(self, resource: Resource, verb: Callable[[], object]) -> bool:
        name = self.names[resource]
        if self.state[resource] in ("owned", "borrowed"):
            return not self._refused(verb, StateError)
        if name in self.there:
            assert self._refused(verb, ExistsError)
            return False
        verb()
        self.state[resource] = "owned"
        self.there[name] = resource
        self.owner[resource] = None
        return True

    @rule(resource=resources, n=st.integers(1, 6), number=st.sampled_from([errno.ENOMEM, errno.EBUSY]))
    def create_with_a_fault(self, resource: Resource, n: int, number: int) -> None:
        if self.state[resource] in ("owned", "borrowed") or self.names[resource] in self.there:
            return
        before = self.kernel.state()
        self.kernel.refuse(n, number)
        try:
            resource.create()
        except KernelError:
            self.kernel.heal()
            assert self.kernel.state() == before
            return
        self.kernel.heal()
        self.state[resource] = "owned"
        self.there[self.names[resource]] = resource
        self.owner[resource] = None

    @rule(resource=resources)
    def delete(self, resource: Resource) -> None:
        if self.state[resource] != "owned":
            assert self._refused(resource.delete, StateError)
            return
        resource.delete()
        self._gone(resource)

    @rule(resource=resources)
    def detach(self, resource: Resource) -> None:
        if self.state[resource] != "owned":
            assert self._refused(resource.detach, StateError)
        elif resource.exists:
            resource.detach()
            self.state[resource] = "borrowed"
            self.owner[resource] = None

    @rule(resource=resources)
    def adopt(self, resource: Resource) -> None:
        there = self.there.get(self.names[resource])
        if self.state[resource] == "owned" or there is None or self.state[there] == "owned":
            assert self._refused(resource.adopt, (StateError, SpecError, NotFoundError))
        elif self.state[resource] != "borrowed":
            return  # it would take over what another object has detached, which is no more than borrowed then
        elif resource.exists:
            resource.adopt()
            self.state[resource] = "owned"
            self.owner[resource] = None

    @rule(resource=resources)
    def somebody_deletes_it(self, resource: Resource) -> None:
        """Gone behind our back: the object does not know until it looks."""
        if self.there.get(self.names[resource]) is resource and not isinstance(resource, Namespace):
            resource.link.delete()  # type: ignore[attr-defined]
            del self.there[self.names[resource]]

    # -- scopes -------------------------------------------------------------------------

    @rule()
    def enter_a_scope(self) -> None:
        self.scopes.append(Scope().__enter__())

    @precondition(lambda self: self.scopes)
    @rule(resource=resources)
    def own(self, resource: Resource) -> None:
        scope = self.scopes[-1]
        if self.state[resource] == "borrowed":
            assert self._refused(lambda: scope.own(resource), StateError)
        elif self.state[resource] == "owned" or self._create(resource, lambda: scope.own(resource)):
            scope.own(resource)
            self.owner[resource] = scope

    @precondition(lambda self: self.scopes)
    @rule()
    def leave_a_scope(self) -> None:
        scope = self.scopes.pop()
        scope.__exit__(None, None, None)
        for resource, owner in list(self.owner.items()):
            if owner is scope:
                self._gone(resource)

    @rule(resource=consumes(resources))
    def with_block(self, resource: Resource) -> None:
        if self.state[resource] == "borrowed" or (
            self.state[resource] != "owned" and self.names[resource] in self.there
        ):
            return
        with resource:
            pass
        self._gone(resource)

    # -- what holds at any time -----------------------------------------------------------

    @invariant()
    def what_is_there_exists(self) -> None:
        if not hasattr(self, "kernel"):
            return
        for resource, state in self.state.items():
            here = self.there.get(self.names[resource]) is resource
            assert resource.exists == (here and state in ("owned", "borrowed"))
        links = {name for name in self.there if not name.startswith("netns ")}
        assert {link.name for link in self.red.links} == {"lo", *links}
        netns = {name.removeprefix("netns ") for name in self.there if name.startswith("netns ")}
        assert set(self.kernel.state()["names"]) == netns

    def _gone(self, resource: Resource) -> None:
        self.state[resource] = "deleted"
        self.owner[resource] = None
        if self.there.get(self.names[resource]) is resource:
            del self.there[self.names[resource]]

    def _refused(
        self, verb: Callable[[], object], kind: type[Exception] | tuple[type[Exception], ...]
    ) -> bool:
        before = self.kernel.state()
        try:
            verb()
        except kind:
            assert self.kernel.state() == before
            return True
        return False


TestLifecycle = Lifecycle.TestCase
TestLifecycle.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
