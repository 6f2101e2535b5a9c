/* The same messages without a library: Redis PUBLISH and XADD, and Fanfare's HTTP API.
 *
 *   wire KIND ADDRESS COUNT DEPTH
 *
 *   KIND      redis-publish | redis-xadd | http | http-batch (1,000 messages a request)
 *   ADDRESS   127.0.0.1:PORT, unix:/PATH, or sink: a child that reads and answers without work,
 *             which shows how fast this driver itself can be
 *   COUNT     messages
 *   DEPTH     requests under way at most
 *
 * The request is encoded once and repeated, so the driver costs little beside its system calls, and
 * every answer is read and checked. Prints name=value as publish.c does, with the median of a round
 * trip where DEPTH is 1. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <poll.h>
#include <unistd.h>

enum { PAYLOAD = 128, BATCH = 1000, OUT = 1 << 18, IN = 1 << 20 };

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, strerror(errno));
    exit(1);
}

static uint64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

static int dial(const char *address) {
    int descriptor, on = 1;
    if (strncmp(address, "unix:", 5) == 0) {
        struct sockaddr_un to = {.sun_family = AF_UNIX};
        if (strlen(address + 5) >= sizeof to.sun_path) fail("the socket's path");
        strcpy(to.sun_path, address + 5);
        descriptor = socket(AF_UNIX, SOCK_STREAM, 0);
        if (connect(descriptor, (struct sockaddr *)&to, sizeof to) != 0) fail(address);
        return descriptor;
    }
    char host[64];
    const char *colon = strrchr(address, ':');
    if (colon == NULL || (size_t)(colon - address) >= sizeof host) fail("the address");
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    inet_pton(AF_INET, host, &to.sin_addr);
    descriptor = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(descriptor, (struct sockaddr *)&to, sizeof to) != 0) fail(address);
    setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return descriptor;
}

/* A request, the messages in it, and the answer that a sink gives. */
struct kind {
    char *request;
    size_t size, messages;
    const char *answer;
    int is_http;
};

static char *text(size_t *size, const char *format, const char *first, const char *second,
                  const char *third) {
    char *made = NULL;
    int length = asprintf(&made, format, first, second, third);
    if (length < 0) fail("memory");
    *size = (size_t)length;
    return made;
}

static struct kind kind_of(const char *name, const char *channel) {
    char payload[PAYLOAD + 1] = "", number[32];
    memset(payload, 'x', PAYLOAD);
    struct kind kind = {.messages = 1, .answer = ":0\r\n"};
    snprintf(number, sizeof number, "%zu", strlen(channel));
    if (strcmp(name, "redis-publish") == 0) {
        kind.request = text(&kind.size, "*3\r\n$7\r\nPUBLISH\r\n$%s\r\n%s\r\n$128\r\n%s\r\n", number,
                            channel, payload);
    } else if (strcmp(name, "redis-xadd") == 0) {
        kind.request = text(&kind.size, "*8\r\n$4\r\nXADD\r\n$%s\r\n%s\r\n$6\r\nMAXLEN\r\n$1\r\n~\r\n"
                            "$4\r\n1000\r\n$1\r\n*\r\n$1\r\nm\r\n$128\r\n%s\r\n",
                            number, channel, payload);
        kind.answer = "$1\r\nx\r\n";
    } else if (strcmp(name, "http") == 0) {
        kind.is_http = 1;
        kind.request = text(&kind.size, "POST /v1/channels/%s HTTP/1.1\r\nHost: localhost\r\n"
                            "Content-Length: 128\r\n\r\n%s%s", channel, payload, "");
        kind.answer = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{\"offset\"}";
    } else if (strcmp(name, "http-batch") == 0) {
        kind.is_http = 1;
        kind.messages = BATCH;
        char *body = malloc(BATCH * 256 + 64), *end = stpcpy(body, "{\"messages\":[");
        for (int nth = 0; nth < BATCH; nth++)
            end += sprintf(end, "%s{\"channel\":\"%s\",\"data\":\"%.126s\"}", nth ? "," : "", channel,
                           payload);
        end = stpcpy(end, "]}");
        snprintf(number, sizeof number, "%zu", (size_t)(end - body));
        kind.request = text(&kind.size, "POST /v1/publish HTTP/1.1\r\nHost: localhost\r\nContent-Type: "
                            "application/json\r\nContent-Length: %s\r\n\r\n%s%s", number, body, "");
        free(body);
        char *answer = malloc(BATCH * 8 + 128);
        end = answer + sprintf(answer, "HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n", BATCH * 8);
        for (int nth = 0; nth < BATCH; nth++) end = stpcpy(end, "\"offset\"");
        kind.answer = answer;
    } else {
        fprintf(stderr, "%s is no kind\n", name);
        exit(64);
    }
    return kind;
}

/* Whole answers at the front of `in`, as messages; how many bytes they take is written. */
static uint64_t answered(const struct kind *kind, char *in, size_t size, size_t *used) {
    uint64_t messages = 0;
    char *at = in, *end = in + size;
    while (at < end) {
        char *line = memchr(at, '\n', (size_t)(end - at));
        if (line == NULL) break;
        if (!kind->is_http && *at == ':') {
            at = line + 1;
        } else if (!kind->is_http && *at == '$') {
            size_t whole = (size_t)(line + 1 - at) + (size_t)atoi(at + 1) + 2;
            if ((size_t)(end - at) < whole) break;
            at += whole;
        } else if (kind->is_http) {
            char *body = memmem(at, (size_t)(end - at), "\r\n\r\n", 4);
            if (body == NULL) break;
            body += 4;
            char kept = *(body - 1);
            *(body - 1) = 0;
            char *length = strcasestr(at, "content-length: ");
            *(body - 1) = kept;
            if (strncmp(at, "HTTP/1.1 200", 12) != 0 || length == NULL) {
                fprintf(stderr, "unexpected: %.200s\n", at);
                exit(1);
            }
            size_t bytes = (size_t)atoi(length + 16), found = 0;
            if ((size_t)(end - body) < bytes) break;
            for (char *hit = body; (hit = memmem(hit, (size_t)(body + bytes - hit), "\"offset\"", 8));
                 hit += 8)
                found++;
            if (found != kind->messages) {
                fprintf(stderr, "%zu of %zu: %.200s\n", found, kind->messages, body);
                exit(1);
            }
            at = body + bytes;
        } else {
            fprintf(stderr, "unexpected: %.100s\n", at);
            exit(1);
        }
        messages += kind->messages;
    }
    *used = (size_t)(at - in);
    return messages;
}

/* A child that answers every request with the same bytes. */
static pid_t sink(const struct kind *kind, char *address, size_t room) {
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof here;
    if (bind(listener, (struct sockaddr *)&here, size) != 0 || listen(listener, 1) != 0 ||
        getsockname(listener, (struct sockaddr *)&here, &size) != 0)
        fail("the sink");
    snprintf(address, room, "127.0.0.1:%d", ntohs(here.sin_port));
    pid_t child = fork();
    if (child != 0) {
        close(listener);
        return child;
    }
    int peer = accept(listener, NULL, NULL);
    static char in[IN];
    size_t length = strlen(kind->answer), most = IN / kind->size + 2;
    char *answers = malloc(most * length);
    for (size_t nth = 0; nth < most; nth++) memcpy(answers + nth * length, kind->answer, length);
    for (size_t have = 0;;) {
        ssize_t got = read(peer, in, sizeof in);
        if (got <= 0) _exit(0);
        have += (size_t)got;
        size_t left = have / kind->size * length;
        have %= kind->size;
        for (char *from = answers; left > 0;) {
            ssize_t put = write(peer, from, left);
            if (put <= 0) _exit(0);
            from += put;
            left -= (size_t)put;
        }
    }
}

static int by_size(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: wire KIND ADDRESS COUNT DEPTH\n");
        return 64;
    }
    signal(SIGPIPE, SIG_IGN);
    const char *channel = getenv("CHANNEL") ? getenv("CHANNEL") : "bench:wire";
    struct kind kind = kind_of(argv[1], channel);
    uint64_t depth = strtoull(argv[4], NULL, 10);
    uint64_t requests = (strtoull(argv[3], NULL, 10) + kind.messages - 1) / kind.messages;
    char address[128];
    pid_t child = 0;
    if (strcmp(argv[2], "sink") == 0) child = sink(&kind, address, sizeof address);
    else snprintf(address, sizeof address, "%s", argv[2]);
    int peer = dial(address);

    /* Requests end to end, so that one write takes as many as fit. */
    size_t fit = kind.size >= OUT ? 1 : OUT / kind.size;
    char *out = malloc(fit * kind.size);
    for (size_t nth = 0; nth < fit; nth++) memcpy(out + nth * kind.size, kind.request, kind.size);
    char *in = malloc(IN + 1);
    uint32_t *took = depth == 1 ? calloc(requests, sizeof *took) : NULL;
    uint64_t written = 0 /* bytes */, done = 0 /* requests */, last = 0;
    size_t have = 0;
    uint64_t began = now_ns();
    last = began;
    while (done < requests) {
        uint64_t goal = (done + depth < requests ? done + depth : requests) * kind.size;
        struct pollfd wait = {.fd = peer, .events = (short)(POLLIN | (written < goal ? POLLOUT : 0))};
        if (depth > 1 && poll(&wait, 1, -1) < 0) fail("poll");
        if (written < goal && (depth == 1 || wait.revents & POLLOUT)) {
            size_t at = written % (fit * kind.size), room = fit * kind.size - at;
            size_t part = goal - written < room ? goal - written : room;
            ssize_t put = send(peer, out + at, part, depth == 1 ? 0 : MSG_DONTWAIT);
            if (put < 0 && errno != EAGAIN) fail("send");
            if (put > 0) written += (uint64_t)put;
        }
        if (depth == 1 ? written == goal : wait.revents & POLLIN) {
            ssize_t got = recv(peer, in + have, IN - have, 0);
            if (got <= 0) fail("the server has ended the connection");
            have += (size_t)got;
            size_t used;
            uint64_t messages = answered(&kind, in, have, &used);
            memmove(in, in + used, have - used);
            have -= used;
            if (messages > 0 && took != NULL) {
                uint64_t now = now_ns();
                took[done] = (uint32_t)(now - last);
                last = now;
            }
            done += messages / kind.messages;
        }
    }
    double seconds = (double)(now_ns() - began) / 1e9;
    close(peer);
    printf("messages=%llu seconds=%.6f", (unsigned long long)(requests * kind.messages), seconds);
    if (took != NULL) {
        qsort(took, requests, sizeof *took, by_size);
        printf(" median_ns=%u p99_ns=%u", took[requests / 2], took[requests - 1 - requests / 100]);
    }
    printf("\n");
    if (child > 0) waitpid(child, NULL, 0);
    return 0;
}
