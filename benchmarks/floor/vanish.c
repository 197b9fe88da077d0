/*
 * When the names in a namespace are free: whoever only drops the other ends of its veths leaves that
 * to the kernel. One look; if there is something left, another after every event.
 */
#define _GNU_SOURCE
#include "star.h"
#include "namespace.h"
#include "netlink.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { DEADLINE_MS = 600000 };

static char buffer[RECEIVE_BYTES];

static void ask(int rtnl)
{
    static struct batch request;

    batch_begin(&request);
    message_begin(&request, RTM_GETLINK, NLM_F_DUMP, sizeof(struct ifinfomsg));
    batch_send(rtnl, &request);
}

/* The start of a dump is enough; the rest goes with the socket. */
static int only_loopback(const char *path)
{
    int rtnl = namespace_netlink(path, 0), links = 0;
    struct nlmsghdr *message = (struct nlmsghdr *)buffer;
    ssize_t got;

    ask(rtnl);
    got = recv(rtnl, buffer, sizeof buffer, 0);
    if (got < 0)
        fail("dump", errno);
    for (; NLMSG_OK(message, got); message = NLMSG_NEXT(message, got))
        links += message->nlmsg_type == RTM_NEWLINK;
    close(rtnl);
    return links == 1;
}

static void next_event(int events)
{
    struct pollfd ready = { .fd = events, .events = POLLIN };

    if (poll(&ready, 1, DEADLINE_MS) != 1)
        fail("waiting until the names are free", ETIMEDOUT);
    while (recv(events, buffer, sizeof buffer, MSG_DONTWAIT) > 0 || errno == ENOBUFS)
        ;
}

int vanish(const char *path)
{
    int events = namespace_netlink(path, RTMGRP_LINK), waited = 0;

    for (; !only_loopback(path); waited = 1)
        next_event(events);
    close(events);
    return waited;
}
