/* Commands come as lines on stdin, answers go as JSON lines to stdout; time is taken around the work only. */
#define _GNU_SOURCE
#include "demo.h"
#include "namespace.h"
#include "netlink.h"
#include "operate.h"
#include "ports.h"
#include "star.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

static double now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static double seconds_of(struct timeval time)
{
    return (double)time.tv_sec + (double)time.tv_usec / 1e6;
}

/* What this process has had of the processors, by itself and in the kernel. */
static struct used { double user, system; } used(void)
{
    struct rusage usage;

    getrusage(RUSAGE_SELF, &usage);
    return (struct used){ seconds_of(usage.ru_utime), seconds_of(usage.ru_stime) };
}

static double began;
static struct used had;

static void start(void)
{
    had = used();
    began = now();
}

static void print_seconds(void)
{
    double seconds = now() - began;
    struct used has = used();
    double user = has.user - had.user;

    printf("{\"seconds\": %.9f, \"cpu\": %.6f, \"user\": %.6f}\n", seconds,
           user + has.system - had.system, user);
}

static unsigned number(const char *text)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);

    if (end == text || *end || value > 1000000)
        fail(text, EINVAL);
    return (unsigned)value;
}

static void command_build(const char *first, const char *second)
{
    (void)first, (void)second;
    start();
    demo_build();
    print_seconds();
}

static void command_teardown(const char *first, const char *second)
{
    (void)first, (void)second;
    start();
    demo_teardown();
    print_seconds();
}

static void command_namespaces(const char *first, const char *second)
{
    (void)first, (void)second;
    demo_print_namespaces();
}

static void command_settle(const char *first, const char *second)
{
    (void)first, (void)second;
    start();
    settle();
    print_seconds();
}

static void command_open(const char *path, const char *second)
{
    (void)second;
    start();
    read_open(path);
    print_seconds();
}

static void command_all(const char *first, const char *second)
{
    unsigned addresses, links;
    double seconds;

    (void)first, (void)second;
    start();
    links = read_all(&addresses);
    seconds = now() - began;
    printf("{\"seconds\": %.9f, \"links\": %u, \"addresses\": %u}\n", seconds, links, addresses);
}

static void command_one(const char *name, const char *times)
{
    unsigned count = number(times);
    int index = 0;

    start();
    for (unsigned i = 0; i < count; i++)
        index = read_one(name);
    printf("{\"seconds\": %.9f, \"index\": %d}\n", (now() - began) / count, index);
}

static void command_hub(const char *first, const char *second)
{
    (void)first, (void)second;
    star_print_hub();
}

static void command_place(const char *container, const char *second)
{
    (void)second;
    star_print_place(number(container));
}

static void command_star(const char *size, const char *kind)
{
    struct star_options options = { .ipv6 = !strcmp(kind, "ipv6"), .quiet = !strcmp(kind, "quiet") };

    start();
    star_build(number(size), options);
    print_seconds();
}

static void command_unstar(const char *first, const char *second)
{
    (void)first, (void)second;
    start();
    star_teardown();
    print_seconds();
}

static void command_vanish(const char *path, const char *second)
{
    (void)second;
    printf("{\"waited\": %d}\n", vanish(path));
}

static void command_operate(const char *path, const char *index)
{
    start();
    operate_open(path, (int)number(index));
    print_seconds();
}

static void print_each(double seconds, unsigned count)
{
    printf("{\"seconds\": %.9f}\n", seconds / count);
}

static void command_address(const char *times, const char *second)
{
    unsigned count = number(times);
    double seconds;

    (void)second;
    start();
    for (unsigned i = 0; i < count; i++)
        operate_add_address(i);
    seconds = now() - began;
    for (unsigned i = 0; i < count; i++)
        operate_remove_address(i);
    print_each(seconds, count);
}

static void command_route(const char *network, const char *times)
{
    unsigned count = number(times);

    start();
    for (unsigned i = 0; i < count; i++)
        operate_route(network);
    print_each(now() - began, count);
}

static void command_ports(const char *path, const char *second)
{
    (void)second;
    start();
    ports_open(path);
    print_seconds();
}

static void command_publish(const char *count, const char *second)
{
    (void)second;
    start();
    ports_publish(number(count));
    print_seconds();
}

static void command_unpublish(const char *first, const char *second)
{
    (void)first, (void)second;
    start();
    ports_unpublish();
    print_seconds();
}

static void command_list(const char *first, const char *second)
{
    unsigned count;

    (void)first, (void)second;
    start();
    count = ports_list();
    printf("{\"seconds\": %.9f, \"count\": %u}\n", now() - began, count);
}

/* Added one after the other; their removal is not timed. */
static void command_single(const char *first, const char *times)
{
    unsigned from = number(first), count = number(times);

    start();
    for (unsigned i = 0; i < count; i++)
        ports_add(from + i);
    print_seconds();
}

static void command_more(const char *first, const char *times)
{
    unsigned from = number(first), count = number(times);
    double seconds;

    start();
    for (unsigned i = 0; i < count; i++)
        ports_add(from + i);
    seconds = now() - began;
    for (unsigned i = 0; i < count; i++)
        ports_remove(from + i);
    print_each(seconds, count);
}

static void command_enter(const char *path, const char *second)
{
    (void)second;
    start();
    namespace_go(path);
    print_seconds();
}

static void command_datagrams(const char *where, const char *count)
{
    start();
    datagrams_send(where, number(count));
    print_seconds();
}

static const struct verb {
    const char *name;
    void (*obey)(const char *first, const char *second);
} verbs[] = {
    { "build", command_build }, { "teardown", command_teardown }, { "namespaces", command_namespaces },
    { "open", command_open }, { "all", command_all }, { "one", command_one },
    { "hub", command_hub }, { "place", command_place }, { "star", command_star }, { "unstar", command_unstar },
    { "operate", command_operate }, { "address", command_address }, { "route", command_route },
    { "ports", command_ports }, { "publish", command_publish }, { "unpublish", command_unpublish },
    { "list", command_list }, { "more", command_more },
    { "single", command_single },
    { "enter", command_enter }, { "datagrams", command_datagrams },
    { "settle", command_settle }, { "vanish", command_vanish },
};

static void obey(const char *verb, const char *first, const char *second)
{
    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
        if (!strcmp(verb, verbs[i].name)) {
            verbs[i].obey(first, second);
            return;
        }
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
