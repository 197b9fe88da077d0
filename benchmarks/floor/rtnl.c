#include "rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>

/* Queues per veth end; one builds faster than the kernel's default of one per processor. 0: default. */
unsigned veth_queues = 1;

static struct ifinfomsg up(int index)
{
    return (struct ifinfomsg){ .ifi_index = index, .ifi_flags = IFF_UP, .ifi_change = IFF_UP };
}

static void link_message(struct batch *batch, uint16_t flags, struct ifinfomsg header)
{
    *(struct ifinfomsg *)message_begin(batch, RTM_NEWLINK, NLM_F_ACK | flags, sizeof header) = header;
}

void link_up(struct batch *batch, int index)
{
    link_message(batch, 0, up(index));
}

/* For a far end: the kernel ignores a master in the message that creates it. */
void link_up_as_port(struct batch *batch, int index, int master)
{
    link_up(batch, index);
    attribute_u32(batch, IFLA_MASTER, (uint32_t)master);
}

static void end_attributes(struct batch *batch, struct end end)
{
    attribute_string(batch, IFLA_IFNAME, end.name);
    if (end.master)
        attribute_u32(batch, IFLA_MASTER, (uint32_t)end.master);
    if (end.group)
        attribute_u32(batch, IFLA_GROUP, end.group);
    if (veth_queues) {
        attribute_u32(batch, IFLA_NUM_TX_QUEUES, veth_queues);
        attribute_u32(batch, IFLA_NUM_RX_QUEUES, veth_queues);
    }
}

static void peer(struct batch *batch, struct end far, int far_namespace)
{
    struct nlattr *nest = nest_begin(batch, VETH_INFO_PEER);
    struct ifinfomsg *header = nest_header(batch, sizeof *header);

    header->ifi_index = far.index;
    end_attributes(batch, far);
    if (far_namespace >= 0)
        attribute_u32(batch, IFLA_NET_NS_FD, (uint32_t)far_namespace);
    nest_end(batch, nest);
}

/*
 * Both ends, each in its namespace with its index, the near one up and a port: one message.
 * A negative far namespace: that of the socket, as for the near end.
 */
void link_veth(struct batch *batch, struct end near, struct end far, int far_namespace)
{
    struct nlattr *info, *data;

    link_message(batch, NLM_F_CREATE | NLM_F_EXCL, up(near.index));
    end_attributes(batch, near);
    info = nest_begin(batch, IFLA_LINKINFO);
    attribute_string(batch, IFLA_INFO_KIND, "veth");
    data = nest_begin(batch, IFLA_INFO_DATA);
    peer(batch, far, far_namespace);
    nest_end(batch, data);
    nest_end(batch, info);
}

static void bridge_info(struct batch *batch, int snooping)
{
    struct nlattr *info = nest_begin(batch, IFLA_LINKINFO), *data;
    unsigned char value = (unsigned char)snooping;

    attribute_string(batch, IFLA_INFO_KIND, "bridge");
    if (snooping >= 0) {
        data = nest_begin(batch, IFLA_INFO_DATA);
        attribute(batch, IFLA_BR_MCAST_SNOOPING, &value, sizeof value);
        nest_end(batch, data);
    }
    nest_end(batch, info);
}

/* With a MAC given at birth: otherwise the bridge's MAC changes as ports join. */
void link_bridge(struct batch *batch, const char *name, int index, unsigned group, int quiet)
{
    static const unsigned char mac[6] = { 0x02, 0, 0, 0, 0, 0x01 };

    link_message(batch, NLM_F_CREATE | NLM_F_EXCL, quiet ? (struct ifinfomsg){ .ifi_index = index } : up(index));
    attribute_string(batch, IFLA_IFNAME, name);
    attribute(batch, IFLA_ADDRESS, mac, sizeof mac);
    if (group)
        attribute_u32(batch, IFLA_GROUP, group);
    bridge_info(batch, quiet ? 0 : -1);
}

void bridge_loud(struct batch *batch, int index)
{
    link_message(batch, 0, up(index));
    bridge_info(batch, 1);
}

/* All links of a group go in one message; for one alone the kernel waits as long. */
void link_delete_group(struct batch *batch, unsigned group)
{
    message_begin(batch, RTM_DELLINK, NLM_F_ACK, sizeof(struct ifinfomsg));
    attribute_u32(batch, IFLA_GROUP, group);
}

struct in_addr ipv4(const char *text)
{
    struct in_addr address;

    if (inet_pton(AF_INET, text, &address) != 1)
        fail(text, EINVAL);
    return address;
}

static void address_message(struct batch *batch, uint16_t type, uint16_t flags, int index,
                            struct in_addr address, unsigned char prefix)
{
    struct ifaddrmsg *header = message_begin(batch, type, NLM_F_ACK | flags, sizeof *header);

    *header = (struct ifaddrmsg){ .ifa_family = AF_INET, .ifa_prefixlen = prefix, .ifa_index = (uint32_t)index };
    attribute(batch, IFA_LOCAL, &address, sizeof address);
    attribute(batch, IFA_ADDRESS, &address, sizeof address);
}

void address_add(struct batch *batch, int index, struct in_addr address, unsigned char prefix)
{
    address_message(batch, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, index, address, prefix);
}

void address_delete(struct batch *batch, int index, struct in_addr address, unsigned char prefix)
{
    address_message(batch, RTM_DELADDR, 0, index, address, prefix);
}

static void route_message(struct batch *batch, uint16_t type, uint16_t flags, unsigned char prefix,
                          unsigned char scope)
{
    struct rtmsg *header = message_begin(batch, type, NLM_F_ACK | flags, sizeof *header);

    *header = (struct rtmsg){
        .rtm_family = AF_INET, .rtm_dst_len = prefix, .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC, .rtm_scope = scope, .rtm_type = RTN_UNICAST,
    };
}

void route_default(struct batch *batch, int index, struct in_addr gateway)
{
    route_message(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, 0, RT_SCOPE_UNIVERSE);
    attribute(batch, RTA_GATEWAY, &gateway, sizeof gateway);
    attribute_u32(batch, RTA_OIF, (uint32_t)index);
}

static void route_by_device(struct batch *batch, int index, const char *network)
{
    if (network) {
        struct in_addr value = ipv4(network);
        attribute(batch, RTA_DST, &value, sizeof value);
    }
    attribute_u32(batch, RTA_OIF, (uint32_t)index);
}

/* By device only, so of scope link; a null network is the default route. */
void route_add(struct batch *batch, int index, const char *network, unsigned char prefix)
{
    route_message(batch, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, prefix, RT_SCOPE_LINK);
    route_by_device(batch, index, network);
}

void route_delete(struct batch *batch, int index, const char *network, unsigned char prefix)
{
    route_message(batch, RTM_DELROUTE, 0, prefix, RT_SCOPE_LINK);
    route_by_device(batch, index, network);
}
