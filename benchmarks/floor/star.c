/*
 * Each container is a namespace with `lo` up, a veth to a bridge in the hub, an address and a default
 * route by the bridge. Created in place, by indexes chosen here; deleted by group.
 *
 * In stages: were some containers up while others are made, what their IPv6 sends by itself (MLD,
 * router solicitations) would be flooded to a thousand ports meanwhile, in twice the time.
 */
#define _GNU_SOURCE
#include "star.h"
#include "namespace.h"
#include "rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

enum {
    LIMIT = 1 << 14,     /* containers */
    PORTS = 1000,        /* of one bridge: the kernel takes 1023, and bridges are linked by some */
    LOOPBACK = 1, BRIDGE = 100, UPLINK = 200, DOWNLINK = 300, CONTAINER = 1000,  /* indexes */
    GROUP = 4711, PREFIX = 16,
};

static int home = -1, hub = -1, hub_rtnl;
static struct container { int fd, rtnl; } containers[LIMIT];
static unsigned size;
static struct star_options options;

/* Each in the same /16: the gateway is its first address, the containers have those that follow. */
static struct in_addr address(unsigned number)
{
    return (struct in_addr){ htonl(0x0a400001 + number) };
}

static void open_hub(void)
{
    if (hub >= 0)
        return;
    home = namespace_current();
    hub = namespace_new();
    hub_rtnl = netlink_open(NETLINK_ROUTE, 0);
    skip_duplicate_detection();
    namespace_enter(home);
}

void star_print_hub(void)
{
    open_hub();
    printf("{\"path\": \"/proc/%d/fd/%d\"}\n", getpid(), hub);
}

void star_print_place(unsigned container)
{
    if (container >= size)
        fail("container", ERANGE);
    printf("{\"path\": \"/proc/%d/fd/%d\"}\n", getpid(), containers[container].fd);
}

static void send_and_check(int rtnl, const struct batch *batch, const char *what)
{
    batch_send(rtnl, batch);
    batch_check(rtnl, batch, what);
}

/* A further bridge is joined to the first by a veth within the hub. */
static void add_bridge(struct batch *batch, int number)
{
    char name[16], near[16], far[16];

    snprintf(name, sizeof name, "br%d", number);
    link_bridge(batch, name, BRIDGE + number, GROUP, options.quiet);
    if (number == 0) {
        address_add(batch, BRIDGE, address(0), PREFIX);
        return;
    }
    snprintf(near, sizeof near, "down%d", number);
    snprintf(far, sizeof far, "up%d", number);
    link_veth(batch, (struct end){ near, DOWNLINK + number, BRIDGE, GROUP },
              (struct end){ far, UPLINK + number, 0, GROUP }, -1);
    link_up_as_port(batch, UPLINK + number, BRIDGE + number);
}

static void create_bridges(void)
{
    static struct batch batch;

    batch_begin(&batch);
    for (unsigned first = 0; first < size; first += PORTS)
        add_bridge(&batch, (int)(first / PORTS));
    send_and_check(hub_rtnl, &batch, "bridges");
}

static void create_namespaces(void)
{
    for (unsigned i = 0; i < size; i++) {
        containers[i].fd = namespace_new();
        containers[i].rtnl = netlink_open(NETLINK_ROUTE, 0);
        if (options.ipv6)
            skip_duplicate_detection();
    }
    namespace_enter(home);
}

static int far_index(unsigned container)
{
    return CONTAINER + 2 * (int)container + 1;
}

static void create_links(unsigned first, unsigned end)
{
    static struct batch batch;
    char name[16];

    batch_begin(&batch);
    for (unsigned i = first; i < end; i++) {
        snprintf(name, sizeof name, "port%u", i);
        link_veth(&batch, (struct end){ name, far_index(i) - 1, BRIDGE + (int)(i / PORTS), GROUP },
                  (struct end){ "eth0", far_index(i), 0, GROUP }, containers[i].fd);
    }
    send_and_check(hub_rtnl, &batch, "links");
}

static void configure(unsigned container)
{
    static struct batch batch;

    batch_begin(&batch);
    link_up(&batch, LOOPBACK);
    link_up(&batch, far_index(container));
    address_add(&batch, far_index(container), address(1 + container), PREFIX);
    route_default(&batch, far_index(container), address(0));
    send_and_check(containers[container].rtnl, &batch, "container");
}

static void wake_bridges(void)
{
    static struct batch batch;

    batch_begin(&batch);
    for (unsigned first = 0; first < size; first += PORTS)
        bridge_loud(&batch, BRIDGE + (int)(first / PORTS));
    send_and_check(hub_rtnl, &batch, "bridges");
}

void star_build(unsigned containers_wanted, struct star_options wanted)
{
    if (!containers_wanted || containers_wanted > LIMIT)
        fail("containers", ERANGE);
    open_hub();
    size = containers_wanted;
    options = wanted;
    create_bridges();
    create_namespaces();
    for (unsigned first = 0; first < size; first += BATCH_MESSAGES)
        create_links(first, first + BATCH_MESSAGES < size ? first + BATCH_MESSAGES : size);
    for (unsigned i = 0; i < size; i++)
        configure(i);
    if (options.quiet)
        wake_bridges();
}

/* The names in the hub are free when the answer is there; the namespaces go by themselves. */
void star_teardown(void)
{
    static struct batch batch;

    batch_begin(&batch);
    link_delete_group(&batch, GROUP);
    send_and_check(hub_rtnl, &batch, "deletion");
    for (unsigned i = 0; i < size; i++) {
        close(containers[i].rtnl);
        close(containers[i].fd);
    }
}
