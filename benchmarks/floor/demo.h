/* The demo's network, built and dropped; reading it; waiting until the kernel has really dropped it. */
#ifndef FLOOR_DEMO_H
#define FLOOR_DEMO_H

void demo_build(void);
void demo_print_namespaces(void);
void demo_teardown(void);

void read_open(const char *path);
unsigned read_all(unsigned *addresses);
int read_one(const char *name);

void settle(void);

#endif
