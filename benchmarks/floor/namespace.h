/* Network namespaces of the calling thread, and what is set in them before anything else. */
#ifndef FLOOR_NAMESPACE_H
#define FLOOR_NAMESPACE_H

/* A new namespace, entered by this thread: its fd. */
int namespace_new(void);
int namespace_current(void);
void namespace_enter(int fd);
int namespace_netlink(const char *path, unsigned groups);
int namespace_socket(const char *path, int protocol, unsigned groups);
void namespace_go(const char *path);

void sysctl_write(const char *path, const char *value);
void skip_duplicate_detection(void);

#endif
