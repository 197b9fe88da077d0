/* Rules of nf_tables, in a table that dies with the socket that made it: the demo's two. */
#ifndef FLOOR_NFT_H
#define FLOOR_NFT_H

#include "netlink.h"

void nat_rules(struct batch *batch);

/* What it is made of. */
struct expression { struct nlattr *element, *data; };

void header(struct batch *batch, uint16_t type, uint16_t flags, uint8_t family, uint16_t resource);
void nft_message(struct batch *batch, uint16_t type, uint16_t flags);
void data(struct batch *batch, uint16_t type, const void *value, size_t length);
struct expression expression_begin(struct batch *batch, const char *name);
void expression_end(struct batch *batch, struct expression expression);
void payload_into(struct batch *batch, uint32_t base, uint32_t offset, uint32_t length, uint32_t target);
void meta_into(struct batch *batch, uint32_t key, uint32_t target);
void equals(struct batch *batch, const void *value, size_t length);
void table(struct batch *batch);
void chain(struct batch *batch, const char *name, uint32_t hook, int priority);
struct nlattr *rule_begin(struct batch *batch, const char *chain_name);

#endif
