#define _GNU_SOURCE
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

void fail(const char *what, int error)
{
    printf("{\"error\": \"%s: %s\"}\n", what, strerror(error));
    fflush(stdout);
    exit(1);
}

static void set_option(int fd, int option)
{
    int on = 1;

    if (setsockopt(fd, SOL_NETLINK, option, &on, sizeof on) < 0)
        fail("setsockopt(SOL_NETLINK)", errno);
}

/* The options every careful library sets: short answers, words in errors, strict filters. */
int netlink_open(int protocol, unsigned groups)
{
    struct sockaddr_nl address = { .nl_family = AF_NETLINK, .nl_groups = groups };
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);

    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0)
        fail("netlink socket", errno);
    set_option(fd, NETLINK_CAP_ACK);
    set_option(fd, NETLINK_EXT_ACK);
    if (protocol == NETLINK_ROUTE)
        set_option(fd, NETLINK_GET_STRICT_CHK);
    return fd;
}

void batch_begin(struct batch *batch)
{
    batch->length = 0;
    batch->message = NULL;
    batch->acknowledged = 0;
}

/* Zeroed room at the end of the batch; the message's length grows with it. */
static void *extend(struct batch *batch, size_t length)
{
    char *room = batch->data + batch->length;
    size_t aligned = NLMSG_ALIGN(length);

    if (batch->length + aligned > sizeof batch->data)
        fail("batch", ENOBUFS);
    memset(room, 0, aligned);
    batch->length += aligned;
    if (batch->message)
        batch->message->nlmsg_len = (uint32_t)(batch->data + batch->length - (char *)batch->message);
    return room;
}

/* Messages that ask for an answer are numbered from one, so the answers can be matched to them. */
void *message_begin(struct batch *batch, uint16_t type, uint16_t flags, size_t header_length)
{
    batch->message = NULL;
    batch->message = extend(batch, NLMSG_HDRLEN);
    batch->message->nlmsg_len = NLMSG_HDRLEN;
    batch->message->nlmsg_type = type;
    batch->message->nlmsg_flags = NLM_F_REQUEST | flags;
    if (flags & NLM_F_ACK)
        batch->message->nlmsg_seq = ++batch->acknowledged;
    return extend(batch, header_length);
}

void attribute(struct batch *batch, uint16_t type, const void *value, size_t length)
{
    struct nlattr *header = extend(batch, NLA_HDRLEN + length);

    header->nla_type = type;
    header->nla_len = (uint16_t)(NLA_HDRLEN + length);
    memcpy((char *)header + NLA_HDRLEN, value, length);
}

void attribute_u32(struct batch *batch, uint16_t type, uint32_t value)
{
    attribute(batch, type, &value, sizeof value);
}

void attribute_be32(struct batch *batch, uint16_t type, uint32_t value)
{
    attribute_u32(batch, type, htonl(value));
}

void attribute_string(struct batch *batch, uint16_t type, const char *text)
{
    attribute(batch, type, text, strlen(text) + 1);
}

struct nlattr *nest_begin(struct batch *batch, uint16_t type)
{
    struct nlattr *nest = extend(batch, NLA_HDRLEN);

    nest->nla_type = type | NLA_F_NESTED;
    return nest;
}

/* A fixed structure inside a nest, as the ifinfomsg in VETH_INFO_PEER. */
void *nest_header(struct batch *batch, size_t length)
{
    return extend(batch, length);
}

void nest_end(struct batch *batch, struct nlattr *nest)
{
    nest->nla_len = (uint16_t)(batch->data + batch->length - (char *)nest);
}

void batch_send(int fd, const struct batch *batch)
{
    struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };
    ssize_t sent = sendto(fd, batch->data, batch->length, 0, (struct sockaddr *)&kernel, sizeof kernel);

    if (sent != (ssize_t)batch->length)
        fail("send", errno);
}

static void check_answer(const struct nlmsghdr *answer, uint32_t expected, const char *what)
{
    const struct nlmsgerr *body = NLMSG_DATA(answer);

    if (answer->nlmsg_type != NLMSG_ERROR)
        fail(what, EPROTO);
    if (body->error)
        fail(what, -body->error);
    if (answer->nlmsg_seq != expected)
        fail(what, EBADMSG);
}

/* Reads one answer for each message that asked for one, and insists on success, in order. */
void batch_check(int fd, const struct batch *batch, const char *what)
{
    static char buffer[RECEIVE_BYTES];
    uint32_t seen = 0;

    while (seen < batch->acknowledged) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        struct nlmsghdr *answer = (struct nlmsghdr *)buffer;

        if (got < 0)
            fail(what, errno);
        for (; NLMSG_OK(answer, got); answer = NLMSG_NEXT(answer, got))
            check_answer(answer, ++seen, what);
    }
}
