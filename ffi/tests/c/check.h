/* What the C tests share. */
#include <fanfare.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(what)                                                           \
    do {                                                                      \
        if (!(what)) {                                                        \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #what); \
            abort();                                                          \
        }                                                                     \
    } while (0)

/* A node on free ports, with the socket at a path. */
#define NODE                                                                  \
    "embedded:listen = \"127.0.0.1:0\"\napi = \"127.0.0.1:0\"\n"              \
    "socket = \"%s\"\ndriver = \"epoll\"\nshards = 1\n"

static inline fanfare_message message(const char *channel, const char *data) {
    fanfare_message one = {.size = sizeof one, .channel = channel, .channel_size = strlen(channel),
                           .data = data, .data_size = strlen(data)};
    return one;
}

/* Waits until a counter has come to a number, at most a minute. */
static inline void wait_until(const atomic_int *counter, int number) {
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int nth = 0; nth < 60000 && atomic_load(counter) < number; nth++)
        nanosleep(&moment, NULL);
    CHECK(atomic_load(counter) == number);
}
