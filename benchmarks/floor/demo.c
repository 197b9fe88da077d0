/* Scenes 1, 3, 4 and 5 of the demo as one build: five namespaces, three veth pairs, a bridge, NAT. */
#define _GNU_SOURCE
#include "demo.h"
#include "namespace.h"
#include "nft.h"
#include "rtnl.h"

#include <stdio.h>
#include <unistd.h>

enum { NS1, NS2, HOST, BOX, OUTSIDE, NAMESPACES };
enum { LOOPBACK = 1, BRIDGE = 100, UPLINK, PORT, FAR };  /* indexes: the namespaces are ours alone */

static const char *const NAMES[NAMESPACES] = { "ns1", "ns2", "host", "box", "outside" };

static struct place { int fd, rtnl; struct batch batch; } places[NAMESPACES];
static int nft_socket;

static struct end end(const char *name, int index, int master)
{
    return (struct end){ .name = name, .index = index, .master = master };
}

static void namespace_create(struct place *place)
{
    place->fd = namespace_new();
    place->rtnl = netlink_open(NETLINK_ROUTE, 0);
    skip_duplicate_detection();
    batch_begin(&place->batch);
    link_up(&place->batch, LOOPBACK);
}

static void namespaces_create(void)
{
    int home = namespace_current();

    for (int i = 0; i < NAMESPACES; i++) {
        namespace_create(&places[i]);
        if (i == HOST) {
            sysctl_write("/proc/sys/net/ipv4/ip_forward", "1");
            nft_socket = netlink_open(NETLINK_NETFILTER, 0);
        }
    }
    namespace_enter(home);
    close(home);
}

/* The kernel has done the work when send returns; the answers are looked at once, at the end. */
static void send_place(int which)
{
    batch_send(places[which].rtnl, &places[which].batch);
}

static void scene_veth(void)
{
    struct batch *ns1 = &places[NS1].batch, *ns2 = &places[NS2].batch;

    link_veth(ns1, end("veth0", PORT, 0), end("veth1", FAR, 0), places[NS2].fd);
    address_add(ns1, PORT, ipv4("172.18.0.2"), 24);
    route_add(ns1, PORT, NULL, 0);
    link_up(ns2, FAR);
    address_add(ns2, FAR, ipv4("172.18.0.3"), 24);
    route_add(ns2, FAR, NULL, 0);
    send_place(NS1);
    send_place(NS2);
}

static void scene_host(void)
{
    struct batch *host = &places[HOST].batch;

    link_bridge(host, "br0", BRIDGE, 0, 0);
    link_veth(host, end("enp1s0", UPLINK, 0), end("eth0", FAR, 0), places[OUTSIDE].fd);
    address_add(host, UPLINK, ipv4("192.168.122.220"), 24);
    link_veth(host, end("veth0", PORT, BRIDGE), end("veth1", FAR, 0), places[BOX].fd);
    route_add(host, BRIDGE, "172.18.0.0", 24);
    send_place(HOST);
}

/*
 * box's only route is by device, so it asks for every address by ARP: the host is to answer for those
 * it can forward to, and at once. The keys exist once the bridge does, and are seen from inside only.
 */
static void proxy_arp(void)
{
    int home = namespace_current();

    namespace_enter(places[HOST].fd);
    sysctl_write("/proc/sys/net/ipv4/conf/br0/proxy_arp", "1");
    sysctl_write("/proc/sys/net/ipv4/neigh/br0/proxy_delay", "0");
    namespace_enter(home);
    close(home);
}

static void scene_far_ends(void)
{
    struct batch *box = &places[BOX].batch, *outside = &places[OUTSIDE].batch;

    link_up(box, FAR);
    address_add(box, FAR, ipv4("172.18.0.2"), 24);
    route_add(box, FAR, NULL, 0);
    link_up(outside, FAR);
    address_add(outside, FAR, ipv4("192.168.122.1"), 24);
    send_place(BOX);
    send_place(OUTSIDE);
}

static void scene_nat(void)
{
    static struct batch batch;

    batch_begin(&batch);
    nat_rules(&batch);
    batch_send(nft_socket, &batch);
    batch_check(nft_socket, &batch, "nft");
}

void demo_build(void)
{
    namespaces_create();
    scene_veth();
    scene_host();
    proxy_arp();
    scene_far_ends();
    scene_nat();
    for (int i = 0; i < NAMESPACES; i++)
        batch_check(places[i].rtnl, &places[i].batch, NAMES[i]);
}

void demo_print_namespaces(void)
{
    for (int i = 0; i < NAMESPACES; i++)
        printf("%s\"%s\": \"/proc/%d/fd/%d\"", i ? ", " : "{", NAMES[i], getpid(), places[i].fd);
    printf("}\n");
}

/* The last reference gone, the kernel takes the namespace and its links down by itself. */
void demo_teardown(void)
{
    close(nft_socket);
    for (int i = 0; i < NAMESPACES; i++) {
        close(places[i].rtnl);
        close(places[i].fd);
    }
}
