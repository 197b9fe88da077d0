"""Whether NAT with nf_tables works in a namespace, found by trying; nothing is changed."""

from __future__ import annotations

from errno import EOPNOTSUPP, EPERM

from netkit._nat.nftables_compile import CHAINS, compiled
from netkit._netlink import nft
from netkit._netlink.nft import NFPROTO_INET, NFPROTO_IPV4
from netkit._spec.nat import dnat, masquerade, redirect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from netkit._netlink.socket import NetlinkSocket
    from netkit._netlink.wire import Request
    from netkit.errors import KernelError

_TABLE = "netkit-probe"


def probe(socket: NetlinkSocket) -> str | None:
    """None if NAT with nf_tables can be used, else why not: the kernel option, module or capability.

    It sends a transaction without its end, which the kernel checks and undoes (``nft --check``).
    """
    reason = _attempt(socket, NFPROTO_INET)
    if reason is not None and "NF_TABLES_INET" in reason and _attempt(socket, NFPROTO_IPV4) is None:
        return None  # tables of the families ip and ip6 do as well
    return reason


def _attempt(socket: NetlinkSocket, family: int) -> str | None:
    tried = _requests(family)
    outcomes = socket.batch(nft.rehearsal([request for request, _ in tried]))
    needs = ["CONFIG_NF_TABLES (module nf_tables)", *[need for _, need in tried]]
    for outcome, need in zip(outcomes, needs, strict=True):
        if outcome is not None:
            return _reason(outcome, need)
    return None


def _requests(family: int) -> list[tuple[Request, str]]:
    """Each request, and what the kernel lacks if it refuses it."""
    table_option = "CONFIG_NF_TABLES_INET" if family == NFPROTO_INET else "CONFIG_NF_TABLES_IPV4"
    tried = [
        (nft.new_table(family, _TABLE), f"{table_option} (module nf_tables)"),
        (nft.new_table(family, _TABLE + "-owner", owner=True), "the table flag owner (Linux 5.12)"),
    ]
    chain_option = "CONFIG_NFT_NAT (module nft_chain_nat)"
    for chain, place in CHAINS.items():
        tried.append((nft.new_nat_chain(family, _TABLE, chain, *place), chain_option))
    for spec, need in (
        (masquerade(family=4), "CONFIG_NFT_MASQ (module nft_masq)"),
        (dnat(to="192.0.2.1"), "CONFIG_NFT_NAT (module nft_nat)"),
        (redirect(family=4), "CONFIG_NFT_REDIR (module nft_redir)"),
    ):
        for _, chain, content in compiled(spec, (family,)):
            rule = nft.new_rule(family, _TABLE, chain, content, b"", f"try NAT rule '{spec}'")
            tried.append((rule, need))
    return tried


def _reason(problem: KernelError, need: str) -> str:
    if problem.errno == EPERM:
        return f"nf_tables refuses this process: {problem}"
    if problem.errno == EOPNOTSUPP or problem.errno is None:
        return f"the kernel lacks {need}: {problem}"
    return f"the kernel probably lacks {need}: {problem}"
