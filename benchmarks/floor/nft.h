/* The demo's two NAT rules, in a table that dies with the socket that made it. */
#ifndef FLOOR_NFT_H
#define FLOOR_NFT_H

#include "netlink.h"

void nat_rules(struct batch *batch);

#endif
