/* Single operations, warm. */
#ifndef FLOOR_OPERATE_H
#define FLOOR_OPERATE_H

void operate_open(const char *path, int index);
void operate_add_address(unsigned number);
void operate_remove_address(unsigned number);
void operate_route(const char *network);

#endif
