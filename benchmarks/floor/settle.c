/*
 * Dropped namespaces are taken down in the background, which would disturb whoever is measured next.
 * The kernel does it in one ordered queue. So: drop one more that holds the far end of a veth, and
 * wait for the event that the near end is gone. Twice: the second cannot begin before the queue's
 * whole first batch, what follows the event included, is done.
 *
 * What that frees, the kernel gives back later still, on any processor (kfree_rcu, per-CPU pages): who
 * uses several would be disturbed, and who uses one would not. So: until all of them are idle.
 */
#define _GNU_SOURCE
#include "demo.h"
#include "namespace.h"
#include "rtnl.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CANARY = 1 << 20, DEADLINE_MS = 60000, LOOK_MS = 50, MOST_LOOKS = 40 };

static void create_canary(void)
{
    static struct batch batch;
    int home = namespace_current(), rtnl = netlink_open(NETLINK_ROUTE, 0), far = namespace_new();

    namespace_enter(home);
    batch_begin(&batch);
    struct end end = { .name = "canary", .index = CANARY };
    link_veth(&batch, end, end, far);
    batch_send(rtnl, &batch);
    batch_check(rtnl, &batch, "canary");
    close(far);
    close(rtnl);
    close(home);
}

static int announces_end(char *buffer, ssize_t got)
{
    struct nlmsghdr *message = (struct nlmsghdr *)buffer;

    for (; NLMSG_OK(message, got); message = NLMSG_NEXT(message, got))
        if (message->nlmsg_type == RTM_DELLINK &&
            ((struct ifinfomsg *)NLMSG_DATA(message))->ifi_index == CANARY)
            return 1;
    return 0;
}

static void wait_for_end(int events)
{
    static char buffer[RECEIVE_BYTES];
    struct pollfd ready = { .fd = events, .events = POLLIN };
    ssize_t got = 0;

    do {
        if (poll(&ready, 1, DEADLINE_MS) != 1)
            fail("waiting for dropped namespaces", ETIMEDOUT);
        got = recv(events, buffer, sizeof buffer, 0);
        if (got < 0)
            fail("link events", errno);
    } while (!announces_end(buffer, got));
}

/* Of all processors together, in the ticks of proc_stat(5). */
static long long busy_ticks(void)
{
    long long user, nice, system, idle, waiting, interrupts, deferred;
    FILE *stat = fopen("/proc/stat", "re");

    if (!stat || fscanf(stat, "cpu %lld %lld %lld %lld %lld %lld %lld", &user, &nice, &system, &idle, &waiting,
                        &interrupts, &deferred) != 7)
        fail("/proc/stat", errno);
    fclose(stat);
    return user + nice + system + interrupts + deferred;
}

/* On a machine that is never idle, go on after two seconds. */
static void wait_until_idle(void)
{
    struct timespec look = { .tv_nsec = LOOK_MS * 1000000L };
    long long before = busy_ticks(), now;

    for (int looks = 0; looks < MOST_LOOKS; looks++, before = now) {
        nanosleep(&look, NULL);
        now = busy_ticks();
        if (now == before)
            return;
    }
}

void settle(void)
{
    for (int turn = 0; turn < 2; turn++) {
        int events = netlink_open(NETLINK_ROUTE, RTMGRP_LINK);

        create_canary();
        wait_for_end(events);
        close(events);
    }
    wait_until_idle();
}
