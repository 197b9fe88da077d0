/* Published ports in a map of nf_tables; and datagrams, each of which begins a connection. */
#ifndef FLOOR_PORTS_H
#define FLOOR_PORTS_H

void ports_open(const char *path);
void ports_publish(unsigned count);
void ports_unpublish(void);
void ports_add(unsigned number);
void ports_remove(unsigned number);
unsigned ports_list(void);

void datagrams_send(const char *where, unsigned count);

#endif
