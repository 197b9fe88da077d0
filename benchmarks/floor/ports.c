#define _GNU_SOURCE
#include "ports.h"
#include "namespace.h"
#include "netlink.h"
#include "nft.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_conntrack_common.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static const char TABLE[] = "floor", MAP[] = "ports";

/* inet_proto and inet_service, ipv4_addr and inet_service: numbers of nft's types, six bits each. */
enum { KEY_TYPE = 12 << 6 | 13, DATA_TYPE = 7 << 6 | 13, KEY_BYTES = 8, DATA_BYTES = 8 };
/* As in contestants/published.py. */
enum { OWN_PORT = 20000, FIRST_PORT = 10000, PER_SUBNET = 250, TARGET_PORTS = 1000 };
/* The length of an attribute has 16 bits, an element 36 bytes. */
enum { ELEMENTS = 1700, SEND_BYTES = 1 << 20 };

static int nft = -1;

void ports_open(const char *path)
{
    int size = SEND_BYTES;

    nft = namespace_socket(path, NETLINK_NETFILTER, 0);
    if (setsockopt(nft, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size) < 0)
        fail("SO_SNDBUFFORCE", errno);
}

static void map_new(struct batch *batch)
{
    struct nlattr *counter;

    nft_message(batch, NFT_MSG_NEWSET, 0);
    attribute_string(batch, NFTA_SET_TABLE, TABLE);
    attribute_string(batch, NFTA_SET_NAME, MAP);
    attribute_be32(batch, NFTA_SET_FLAGS, NFT_SET_MAP);
    attribute_be32(batch, NFTA_SET_KEY_TYPE, KEY_TYPE);
    attribute_be32(batch, NFTA_SET_KEY_LEN, KEY_BYTES);
    attribute_be32(batch, NFTA_SET_DATA_TYPE, DATA_TYPE);
    attribute_be32(batch, NFTA_SET_DATA_LEN, DATA_BYTES);
    attribute_be32(batch, NFTA_SET_ID, 1);
    counter = nest_begin(batch, NFTA_SET_EXPR);
    attribute_string(batch, NFTA_EXPR_NAME, "counter");
    nest_end(batch, nest_begin(batch, NFTA_EXPR_DATA));
    nest_end(batch, counter);
}

static void fib_is_local(struct batch *batch)
{
    uint32_t local = RTN_LOCAL;
    struct expression expression = expression_begin(batch, "fib");

    attribute_be32(batch, NFTA_FIB_DREG, NFT_REG_1);
    attribute_be32(batch, NFTA_FIB_RESULT, NFT_FIB_RESULT_ADDRTYPE);
    attribute_be32(batch, NFTA_FIB_FLAGS, NFTA_FIB_F_DADDR);
    expression_end(batch, expression);
    equals(batch, &local, sizeof local);
}

/* fib daddr type local dnat ip to meta l4proto . th dport map @ports */
static void translation(struct batch *batch, const char *chain_name)
{
    struct nlattr *expressions = rule_begin(batch, chain_name);
    struct expression expression;

    fib_is_local(batch);
    meta_into(batch, NFT_META_L4PROTO, NFT_REG32_00);
    payload_into(batch, NFT_PAYLOAD_TRANSPORT_HEADER, 2, 2, NFT_REG32_01);
    expression = expression_begin(batch, "lookup");
    attribute_string(batch, NFTA_LOOKUP_SET, MAP);
    attribute_be32(batch, NFTA_LOOKUP_SET_ID, 1);
    attribute_be32(batch, NFTA_LOOKUP_SREG, NFT_REG32_00);
    attribute_be32(batch, NFTA_LOOKUP_DREG, NFT_REG32_00);
    expression_end(batch, expression);
    expression = expression_begin(batch, "nat");
    attribute_be32(batch, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    attribute_be32(batch, NFTA_NAT_FAMILY, NFPROTO_IPV4);
    attribute_be32(batch, NFTA_NAT_REG_ADDR_MIN, NFT_REG32_00);
    attribute_be32(batch, NFTA_NAT_REG_PROTO_MIN, NFT_REG32_01);
    expression_end(batch, expression);
    nest_end(batch, expressions);
}

/* ip saddr 172.18.0.0/16 ip daddr 172.18.0.0/16 masquerade; a /16 is the first two bytes. */
static void masquerading(struct batch *batch)
{
    static const unsigned char network[2] = { 172, 18 };
    struct nlattr *expressions = rule_begin(batch, "postrouting");

    payload_into(batch, NFT_PAYLOAD_NETWORK_HEADER, 12, sizeof network, NFT_REG_1);
    equals(batch, network, sizeof network);
    payload_into(batch, NFT_PAYLOAD_NETWORK_HEADER, 16, sizeof network, NFT_REG_1);
    equals(batch, network, sizeof network);
    expression_end(batch, expression_begin(batch, "masq"));
    nest_end(batch, expressions);
}

static void foundation(struct batch *batch)
{
    table(batch);
    map_new(batch);
    chain(batch, "prerouting", NF_INET_PRE_ROUTING, -100);
    chain(batch, "output", NF_INET_LOCAL_OUT, -100);
    chain(batch, "postrouting", NF_INET_POST_ROUTING, 100);
    translation(batch, "prerouting");
    translation(batch, "output");
    masquerading(batch);
}

static void element(struct batch *batch, unsigned number)
{
    unsigned char key[KEY_BYTES] = { IPPROTO_TCP };
    unsigned char target[DATA_BYTES] = { 172, 18, number / PER_SUBNET + 1, number % PER_SUBNET + 2 };
    uint16_t port = htons(FIRST_PORT + number), target_port = htons(number % TARGET_PORTS + 1);
    struct nlattr *nest = nest_begin(batch, NFTA_LIST_ELEM);

    memcpy(key + 4, &port, sizeof port);
    memcpy(target + 4, &target_port, sizeof target_port);
    data(batch, NFTA_SET_ELEM_KEY, key, sizeof key);
    data(batch, NFTA_SET_ELEM_DATA, target, sizeof target);
    nest_end(batch, nest);
}

static void elements(struct batch *batch, uint16_t type, unsigned first, unsigned count)
{
    struct nlattr *list;

    nft_message(batch, type, type == NFT_MSG_NEWSETELEM ? NLM_F_EXCL : 0);
    attribute_string(batch, NFTA_SET_ELEM_LIST_TABLE, TABLE);
    attribute_string(batch, NFTA_SET_ELEM_LIST_SET, MAP);
    list = nest_begin(batch, NFTA_SET_ELEM_LIST_ELEMENTS);
    for (unsigned i = 0; i < count; i++)
        element(batch, first + i);
    nest_end(batch, list);
}

static void transact(struct batch *batch, const char *what)
{
    header(batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    batch_send(nft, batch);
    batch_check(nft, batch, what);
}

static struct batch *transaction(void)
{
    static struct batch batch;

    batch_begin(&batch);
    header(&batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    return &batch;
}

void ports_publish(unsigned count)
{
    struct batch *batch = transaction();

    foundation(batch);
    for (unsigned first = 0; first < count; first += ELEMENTS)
        elements(batch, NFT_MSG_NEWSETELEM, first, count - first < ELEMENTS ? count - first : ELEMENTS);
    transact(batch, "publish");
}

void ports_unpublish(void)
{
    struct batch *batch = transaction();

    nft_message(batch, NFT_MSG_DELTABLE, 0);
    attribute_string(batch, NFTA_TABLE_NAME, TABLE);
    transact(batch, "unpublish");
}

void ports_add(unsigned number)
{
    struct batch *batch = transaction();

    elements(batch, NFT_MSG_NEWSETELEM, number, 1);
    transact(batch, "add");
}

void ports_remove(unsigned number)
{
    struct batch *batch = transaction();

    elements(batch, NFT_MSG_DELSETELEM, number, 1);
    transact(batch, "remove");
}

static unsigned count_elements(const struct nlmsghdr *message)
{
    unsigned count = 0;
    int left = (int)message->nlmsg_len - NLMSG_HDRLEN - NLMSG_ALIGN(sizeof(struct nfgenmsg));
    const char *at = (const char *)message + NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(struct nfgenmsg));

    while (left >= NLA_HDRLEN) {
        const struct nlattr *each = (const struct nlattr *)at;
        int length = NLA_ALIGN(each->nla_len);

        if ((each->nla_type & NLA_TYPE_MASK) == NFTA_SET_ELEM_LIST_ELEMENTS) {
            const char *element_at = at + NLA_HDRLEN;

            for (int rest = each->nla_len - NLA_HDRLEN; rest >= NLA_HDRLEN; count++) {
                int size = NLA_ALIGN(((const struct nlattr *)element_at)->nla_len);

                element_at += size;
                rest -= size;
            }
        }
        at += length;
        left -= length;
    }
    return count;
}

/* How many elements the map has: reads them all. */
unsigned ports_list(void)
{
    static char buffer[RECEIVE_BYTES];
    static struct batch batch;
    unsigned count = 0;

    batch_begin(&batch);
    header(&batch, (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETSETELEM, NLM_F_DUMP, NFPROTO_IPV4, 0);
    attribute_string(&batch, NFTA_SET_ELEM_LIST_TABLE, TABLE);
    attribute_string(&batch, NFTA_SET_ELEM_LIST_SET, MAP);
    batch_send(nft, &batch);
    for (;;) {
        ssize_t got = recv(nft, buffer, sizeof buffer, 0);

        if (got < 0)
            fail("list", errno);
        for (struct nlmsghdr *answer = (struct nlmsghdr *)buffer; NLMSG_OK(answer, got);
             answer = NLMSG_NEXT(answer, got)) {
            if (answer->nlmsg_type == NLMSG_DONE)
                return count;
            if (answer->nlmsg_type == NLMSG_ERROR)
                fail("list", EPROTO);
            count += count_elements(answer);
        }
    }
}

/* Each from a socket of its own, and so from a port of its own: connection tracking sees as many connections. */
void datagrams_send(const char *where, unsigned count)
{
    char address[INET_ADDRSTRLEN] = "";
    unsigned port = 0;
    struct sockaddr_in target = { .sin_family = AF_INET };

    sscanf(where, "%15[0-9.]:%u", address, &port);
    if (inet_pton(AF_INET, address, &target.sin_addr) != 1)
        fail(where, EINVAL);
    target.sin_port = htons((uint16_t)port);
    for (unsigned i = 0; i < count; i++) {
        struct sockaddr_in own = { .sin_family = AF_INET, .sin_port = htons(OWN_PORT + i) };
        int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&own, sizeof own) < 0
            || sendto(fd, "x", 1, 0, (struct sockaddr *)&target, sizeof target) != 1)
            fail("datagram", errno);
        close(fd);
    }
}
