/* What the C tests share. */
#include <fanfare.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
