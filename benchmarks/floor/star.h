/* A star: containers around one or more bridges in a hub namespace that outlives them. */
#ifndef FLOOR_STAR_H
#define FLOOR_STAR_H

void star_print_hub(void);
void star_print_place(unsigned container);

/*
 * `ipv6`: addresses of both families are to be usable at once, as netkit's objects leave a namespace; a
 * topology without IPv6 does not ask for that. `quiet`: a bridge that says nothing until its ports are there.
 */
struct star_options { int ipv6, quiet; };

void star_build(unsigned size, struct star_options options);
void star_teardown(void);

/* Waits until nothing but `lo` is in the namespace: 0 if that was so from the start. */
int vanish(const char *path);

#endif
