/* Reading all links with their addresses, and one link by name, with as few system calls as it takes. */
#define _GNU_SOURCE
#include "demo.h"
#include "namespace.h"
#include "netlink.h"

#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINKS_LIMIT = 1 << 16, ADDRESSES_LIMIT = 8 };

/* What the claim asks for, kept: name and addresses of each link. */
static struct link {
    char name[16];
    unsigned addresses;
    struct { unsigned char family, prefix, value[16]; } address[ADDRESSES_LIMIT];
} links[LINKS_LIMIT];

static int rtnl = -1;
static char buffer[RECEIVE_BYTES];

void read_open(const char *path)
{
    rtnl = namespace_netlink(path, 0);
}

static const struct rtattr *find(const struct rtattr *attribute, int length, unsigned short type)
{
    for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length))
        if (attribute->rta_type == type)
            return attribute;
    fail("attribute missing", EPROTO);
}

static struct link *slot(int index)
{
    if (index < 0 || index >= LINKS_LIMIT)
        fail("index", ERANGE);
    return &links[index];
}

static void take_link(const struct nlmsghdr *message)
{
    const struct ifinfomsg *body = NLMSG_DATA(message);
    const struct rtattr *name = find(IFLA_RTA(body), (int)IFLA_PAYLOAD(message), IFLA_IFNAME);
    struct link *link = slot(body->ifi_index);

    strncpy(link->name, RTA_DATA(name), sizeof link->name - 1);
    link->addresses = 0;
}

static void take_address(const struct nlmsghdr *message)
{
    const struct ifaddrmsg *body = NLMSG_DATA(message);
    const struct rtattr *value = find(IFA_RTA(body), (int)IFA_PAYLOAD(message), IFA_ADDRESS);
    struct link *link = slot((int)body->ifa_index);

    if (link->addresses == ADDRESSES_LIMIT)
        fail("addresses of one link", E2BIG);
    link->address[link->addresses].family = body->ifa_family;
    link->address[link->addresses].prefix = body->ifa_prefixlen;
    memcpy(link->address[link->addresses++].value, RTA_DATA(value), RTA_PAYLOAD(value));
}

/* 1: the dump is at its end. */
static int take(ssize_t got, void (*each)(const struct nlmsghdr *), unsigned *count)
{
    struct nlmsghdr *message = (struct nlmsghdr *)buffer;

    for (; NLMSG_OK(message, got); message = NLMSG_NEXT(message, got)) {
        if (message->nlmsg_type == NLMSG_DONE)
            return 1;
        if (message->nlmsg_type == NLMSG_ERROR || message->nlmsg_flags & NLM_F_DUMP_INTR)
            fail("dump", EPROTO);
        each(message);
        ++*count;
    }
    return 0;
}

static unsigned dump(const struct batch *request, void (*each)(const struct nlmsghdr *))
{
    unsigned count = 0;
    ssize_t got;

    batch_send(rtnl, request);
    do {
        got = recv(rtnl, buffer, sizeof buffer, 0);
        if (got < 0)
            fail("dump", errno);
    } while (!take(got, each, &count));
    return count;
}

unsigned read_all(unsigned *addresses)
{
    static struct batch request;
    unsigned count;

    batch_begin(&request);
    message_begin(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
    attribute_u32(&request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    count = dump(&request, take_link);
    batch_begin(&request);
    message_begin(&request, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));
    *addresses = dump(&request, take_address);
    return count;
}

/* One request, one answer: its index. */
int read_one(const char *name)
{
    static struct batch request;
    struct nlmsghdr *answer = (struct nlmsghdr *)buffer;

    batch_begin(&request);
    message_begin(&request, RTM_GETLINK, 0, sizeof(struct ifinfomsg));
    attribute_string(&request, IFLA_IFNAME, name);
    attribute_u32(&request, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    batch_send(rtnl, &request);
    if (recv(rtnl, buffer, sizeof buffer, 0) < 0)
        fail(name, errno);
    if (answer->nlmsg_type != RTM_NEWLINK)
        fail(name, ENODEV);
    take_link(answer);
    return ((struct ifinfomsg *)NLMSG_DATA(answer))->ifi_index;
}
