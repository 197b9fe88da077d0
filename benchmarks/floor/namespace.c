#define _GNU_SOURCE
#include "namespace.h"
#include "netlink.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

int namespace_current(void)
{
    int fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);

    if (fd < 0)
        fail("open namespace", errno);
    return fd;
}

int namespace_new(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        fail("unshare(CLONE_NEWNET)", errno);
    return namespace_current();
}

void namespace_enter(int fd)
{
    if (setns(fd, CLONE_NEWNET) < 0)
        fail("setns", errno);
}

/* /proc/sys/net is that of the namespace the thread is in. */
void sysctl_write(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);

    if (fd < 0 || write(fd, value, strlen(value)) < 0)
        fail(path, errno);
    close(fd);
}

/* IPv6 addresses are to be usable at once: nobody else has ours in namespaces of our own. `all` is 0 anyway. */
void skip_duplicate_detection(void)
{
    sysctl_write("/proc/sys/net/ipv6/conf/default/accept_dad", "0");
}

/* A netlink socket that speaks to the namespace at this path. */
int namespace_netlink(const char *path, unsigned groups)
{
    return namespace_socket(path, NETLINK_ROUTE, groups);
}

int namespace_socket(const char *path, int protocol, unsigned groups)
{
    int home = namespace_current(), opened;

    namespace_go(path);
    opened = netlink_open(protocol, groups);
    namespace_enter(home);
    close(home);
    return opened;
}

/* Into the namespace at this path. */
void namespace_go(const char *path)
{
    int there = open(path, O_RDONLY | O_CLOEXEC);

    if (there < 0)
        fail(path, errno);
    namespace_enter(there);
    close(there);
}
