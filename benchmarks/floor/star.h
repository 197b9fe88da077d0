/* A star: containers around one or more bridges in a hub namespace that outlives them. */
#ifndef FLOOR_STAR_H
#define FLOOR_STAR_H

void star_print_hub(void);
void star_print_place(unsigned container);
void star_build(unsigned size);
void star_teardown(void);

/* Waits until nothing but `lo` is in the namespace: 0 if that was so from the start. */
int vanish(const char *path);

#endif
