/* Bytes of netlink: building batches of messages, sending them, checking every answer. */
#ifndef FLOOR_NETLINK_H
#define FLOOR_NETLINK_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

/* More answers than these at once do not fit a socket's default receive buffer; a map's elements need the bytes. */
enum { BATCH_BYTES = 1 << 20, BATCH_MESSAGES = 128, RECEIVE_BYTES = 1 << 16 };

/* Messages that go to the kernel in one send. */
struct batch {
    char data[BATCH_BYTES];
    size_t length;
    struct nlmsghdr *message;  /* the one attributes are added to */
    uint32_t acknowledged;     /* messages that asked for an answer; each one's number is its sequence */
};

/* Prints {"error": ...} as the answer to the harness and ends the program. */
void fail(const char *what, int error) __attribute__((noreturn));

int netlink_open(int protocol, unsigned groups);

void batch_begin(struct batch *batch);
void *message_begin(struct batch *batch, uint16_t type, uint16_t flags, size_t header_length);
void attribute(struct batch *batch, uint16_t type, const void *value, size_t length);
void attribute_u32(struct batch *batch, uint16_t type, uint32_t value);
void attribute_be32(struct batch *batch, uint16_t type, uint32_t value);
void attribute_string(struct batch *batch, uint16_t type, const char *text);
struct nlattr *nest_begin(struct batch *batch, uint16_t type);
void *nest_header(struct batch *batch, size_t length);
void nest_end(struct batch *batch, struct nlattr *nest);

void batch_send(int fd, const struct batch *batch);
void batch_check(int fd, const struct batch *batch, const char *what);

#endif
