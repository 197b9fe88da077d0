#include "nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_nat.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netinet/in.h>
#include <stddef.h>
#include <string.h>

#ifndef NFT_TABLE_F_OWNER
#define NFT_TABLE_F_OWNER 0x2
#endif

static const char TABLE[] = "floor";

enum { OFFSET_SADDR = 12, OFFSET_DPORT = 2, INTERFACE_BYTES = 16 };

void header(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource)
{
    struct nfgenmsg *body = message_begin(batch, type, flags, sizeof *body);

    *body = (struct nfgenmsg){ .nfgen_family = family, .version = NFNETLINK_V0, .res_id = htons(resource) };
}

void nft_message(struct batch *batch, uint16_t type, uint16_t flags)
{
    header(batch, (NFNL_SUBSYS_NFTABLES << 8) | type, NLM_F_ACK | NLM_F_CREATE | flags, NFPROTO_IPV4, 0);
}

void data(struct batch *batch, uint16_t type, const void *value, size_t length)
{
    struct nlattr *nest = nest_begin(batch, type);

    attribute(batch, NFTA_DATA_VALUE, value, length);
    nest_end(batch, nest);
}

struct expression expression_begin(struct batch *batch, const char *name)
{
    struct expression expression;

    expression.element = nest_begin(batch, NFTA_LIST_ELEM);
    attribute_string(batch, NFTA_EXPR_NAME, name);
    expression.data = nest_begin(batch, NFTA_EXPR_DATA);
    return expression;
}

void expression_end(struct batch *batch, struct expression expression)
{
    nest_end(batch, expression.data);
    nest_end(batch, expression.element);
}

void payload_into(struct batch *batch, uint32_t base, uint32_t offset, uint32_t length, uint32_t target)
{
    struct expression expression = expression_begin(batch, "payload");

    attribute_be32(batch, NFTA_PAYLOAD_DREG, target);
    attribute_be32(batch, NFTA_PAYLOAD_BASE, base);
    attribute_be32(batch, NFTA_PAYLOAD_OFFSET, offset);
    attribute_be32(batch, NFTA_PAYLOAD_LEN, length);
    expression_end(batch, expression);
}

static void payload(struct batch *batch, uint32_t base, uint32_t offset, uint32_t length)
{
    payload_into(batch, base, offset, length, NFT_REG_1);
}

void meta_into(struct batch *batch, uint32_t key, uint32_t target)
{
    struct expression expression = expression_begin(batch, "meta");

    attribute_be32(batch, NFTA_META_KEY, key);
    attribute_be32(batch, NFTA_META_DREG, target);
    expression_end(batch, expression);
}

static void meta(struct batch *batch, uint32_t key)
{
    meta_into(batch, key, NFT_REG_1);
}

void equals(struct batch *batch, const void *value, size_t length)
{
    struct expression expression = expression_begin(batch, "cmp");

    attribute_be32(batch, NFTA_CMP_SREG, NFT_REG_1);
    attribute_be32(batch, NFTA_CMP_OP, NFT_CMP_EQ);
    data(batch, NFTA_CMP_DATA, value, length);
    expression_end(batch, expression);
}

static void immediate(struct batch *batch, uint32_t target, const void *value, size_t length)
{
    struct expression expression = expression_begin(batch, "immediate");

    attribute_be32(batch, NFTA_IMMEDIATE_DREG, target);
    data(batch, NFTA_IMMEDIATE_DATA, value, length);
    expression_end(batch, expression);
}

static void dnat(struct batch *batch)
{
    struct expression expression = expression_begin(batch, "nat");

    attribute_be32(batch, NFTA_NAT_TYPE, NFT_NAT_DNAT);
    attribute_be32(batch, NFTA_NAT_FAMILY, NFPROTO_IPV4);
    attribute_be32(batch, NFTA_NAT_REG_ADDR_MIN, NFT_REG_1);
    attribute_be32(batch, NFTA_NAT_REG_PROTO_MIN, NFT_REG_2);
    expression_end(batch, expression);
}

void table(struct batch *batch)
{
    nft_message(batch, NFT_MSG_NEWTABLE, NLM_F_EXCL);
    attribute_string(batch, NFTA_TABLE_NAME, TABLE);
    attribute_be32(batch, NFTA_TABLE_FLAGS, NFT_TABLE_F_OWNER);
}

void chain(struct batch *batch, const char *name, uint32_t hook, int priority)
{
    struct nlattr *nest;

    nft_message(batch, NFT_MSG_NEWCHAIN, NLM_F_EXCL);
    attribute_string(batch, NFTA_CHAIN_TABLE, TABLE);
    attribute_string(batch, NFTA_CHAIN_NAME, name);
    attribute_string(batch, NFTA_CHAIN_TYPE, "nat");
    nest = nest_begin(batch, NFTA_CHAIN_HOOK);
    attribute_be32(batch, NFTA_HOOK_HOOKNUM, hook);
    attribute_be32(batch, NFTA_HOOK_PRIORITY, (uint32_t)priority);
    nest_end(batch, nest);
}

struct nlattr *rule_begin(struct batch *batch, const char *chain_name)
{
    nft_message(batch, NFT_MSG_NEWRULE, NLM_F_APPEND);
    attribute_string(batch, NFTA_RULE_TABLE, TABLE);
    attribute_string(batch, NFTA_RULE_CHAIN, chain_name);
    return nest_begin(batch, NFTA_RULE_EXPRESSIONS);
}

/* ip saddr 172.18.0.0/24 oifname "enp1s0" masquerade; a /24 is the first three bytes. */
static void masquerade_rule(struct batch *batch)
{
    static const unsigned char network[3] = { 172, 18, 0 };
    static const char uplink[INTERFACE_BYTES] = "enp1s0";
    struct nlattr *expressions = rule_begin(batch, "postrouting");

    payload(batch, NFT_PAYLOAD_NETWORK_HEADER, OFFSET_SADDR, sizeof network);
    equals(batch, network, sizeof network);
    meta(batch, NFT_META_OIFNAME);
    equals(batch, uplink, sizeof uplink);
    expression_end(batch, expression_begin(batch, "masq"));
    nest_end(batch, expressions);
}

/* tcp dport 80 dnat to 172.18.0.2:80 */
static void dnat_rule(struct batch *batch)
{
    static const unsigned char address[4] = { 172, 18, 0, 2 };
    uint8_t protocol = IPPROTO_TCP;
    uint16_t port = htons(80);
    struct nlattr *expressions = rule_begin(batch, "prerouting");

    meta(batch, NFT_META_L4PROTO);
    equals(batch, &protocol, sizeof protocol);
    payload(batch, NFT_PAYLOAD_TRANSPORT_HEADER, OFFSET_DPORT, sizeof port);
    equals(batch, &port, sizeof port);
    immediate(batch, NFT_REG_1, address, sizeof address);
    immediate(batch, NFT_REG_2, &port, sizeof port);
    dnat(batch);
    nest_end(batch, expressions);
}

/* One transaction: all of it or nothing. */
void nat_rules(struct batch *batch)
{
    header(batch, NFNL_MSG_BATCH_BEGIN, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
    table(batch);
    chain(batch, "prerouting", NF_INET_PRE_ROUTING, -100);
    chain(batch, "postrouting", NF_INET_POST_ROUTING, 100);
    masquerade_rule(batch);
    dnat_rule(batch);
    header(batch, NFNL_MSG_BATCH_END, 0, AF_UNSPEC, NFNL_SUBSYS_NFTABLES);
}
