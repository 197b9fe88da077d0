/* Commands come as lines on stdin, answers go as JSON lines to stdout; time is taken around the work only. */
#define _GNU_SOURCE
#include "demo.h"
#include "netlink.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void print_seconds(double began)
{
    printf("{\"seconds\": %.9f}\n", now() - began);
}

static void timed(void (*work)(void))
{
    double began = now();

    work();
    print_seconds(began);
}

static void command_all(void)
{
    double began = now();
    unsigned addresses, links = read_all(&addresses);

    printf("{\"seconds\": %.9f, \"links\": %u, \"addresses\": %u}\n", now() - began, links, addresses);
}

static void command_one(const char *name, unsigned count)
{
    double began = now();
    int index = 0;

    for (unsigned i = 0; i < count; i++)
        index = read_one(name);
    printf("{\"seconds\": %.9f, \"index\": %d}\n", (now() - began) / count, index);
}

static void obey(const char *verb, const char *first, const char *second)
{
    if (!strcmp(verb, "build"))
        timed(demo_build);
    else if (!strcmp(verb, "teardown"))
        timed(demo_teardown);
    else if (!strcmp(verb, "settle"))
        timed(settle);
    else if (!strcmp(verb, "namespaces"))
        demo_print_namespaces();
    else if (!strcmp(verb, "open")) {
        double began = now();
        read_open(first);
        print_seconds(began);
    } else if (!strcmp(verb, "all"))
        command_all();
    else if (!strcmp(verb, "one") && atoi(second) > 0)
        command_one(first, (unsigned)atoi(second));
    else
        fail(verb, EINVAL);
}

int main(void)
{
    char line[512], verb[64], first[256], second[64];

    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        verb[0] = first[0] = second[0] = 0;
        sscanf(line, "%63s %255s %63s", verb, first, second);
        obey(verb, first, second);
    }
    return 0;
}
