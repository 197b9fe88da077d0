/* Single operations on a socket that is open already: one address added, one route added and removed. */
#define _GNU_SOURCE
#include "operate.h"
#include "namespace.h"
#include "rtnl.h"

#include <arpa/inet.h>
#include <linux/rtnetlink.h>

enum { PREFIX = 32, NETWORK_PREFIX = 24 };

static int rtnl = -1, device;

void operate_open(const char *path, int index)
{
    rtnl = namespace_netlink(path, 0);
    device = index;
}

static void send_and_check(const struct batch *batch, const char *what)
{
    batch_send(rtnl, batch);
    batch_check(rtnl, batch, what);
}

/* As in contestants/__main__.py: 10.99.0.0/16, one after the other. */
static struct in_addr address(unsigned number)
{
    return (struct in_addr){ htonl(0x0a630000 + number) };
}

void operate_add_address(unsigned number)
{
    static struct batch batch;

    batch_begin(&batch);
    address_add(&batch, device, address(number), PREFIX);
    send_and_check(&batch, "address add");
}

void operate_remove_address(unsigned number)
{
    static struct batch batch;

    batch_begin(&batch);
    address_delete(&batch, device, address(number), PREFIX);
    send_and_check(&batch, "address delete");
}

void operate_route(const char *network)
{
    static struct batch batch;

    batch_begin(&batch);
    route_add(&batch, device, network, NETWORK_PREFIX);
    send_and_check(&batch, "route add");
    batch_begin(&batch);
    route_delete(&batch, device, network, NETWORK_PREFIX);
    send_and_check(&batch, "route delete");
}
