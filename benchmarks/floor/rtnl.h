/* The route netlink messages the demo network is made of. */
#ifndef FLOOR_RTNL_H
#define FLOOR_RTNL_H

#include "netlink.h"

#include <netinet/in.h>

/* One end of a veth pair. The far end is never up at birth: the kernel refuses that with ENOTCONN. */
struct end {
    const char *name;
    int index;
    int master;      /* 0: not a bridge port */
    unsigned group;  /* 0: the default group */
};

void link_up(struct batch *batch, int index);
void link_up_as_port(struct batch *batch, int index, int master);
void link_veth(struct batch *batch, struct end near, struct end far, int far_namespace);
/* A quiet bridge is down and without snooping, until bridge_loud. */
void link_bridge(struct batch *batch, const char *name, int index, unsigned group, int quiet);
void bridge_loud(struct batch *batch, int index);
void link_delete_group(struct batch *batch, unsigned group);
struct in_addr ipv4(const char *text);
void address_add(struct batch *batch, int index, struct in_addr address, unsigned char prefix);
void address_delete(struct batch *batch, int index, struct in_addr address, unsigned char prefix);
void route_add(struct batch *batch, int index, const char *network, unsigned char prefix);
void route_delete(struct batch *batch, int index, const char *network, unsigned char prefix);
void route_default(struct batch *batch, int index, struct in_addr gateway);

#endif
