// uWebSockets with its native publish, through the C interface of the library that the Python
// package socketify carries. uWebSockets is in no package registry itself; this is its C++ code,
// compiled over libuv as in uWebSockets.js, and no line of Python runs here.
//
//   server gathered|plain PORT

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

// What is used of the C interface (the package's native.py declares it whole).

typedef struct uws_app uws_app;
typedef struct uws_req uws_req;
typedef struct uws_res uws_res;
typedef struct uws_ws uws_ws_t;

typedef struct {
    const char *key_file, *cert_file, *passphrase, *dh_params_file, *ca_file, *ssl_ciphers;
    int ssl_prefer_low_memory_usage;
} us_socket_context_options;

typedef struct {
    int port;
    const char *host;
    int options;
} uws_listen_config;

typedef struct {
    int compression;
    unsigned int max_payload_length;
    unsigned short idle_timeout;
    unsigned int max_backpressure;
    bool close_on_backpressure_limit;
    bool reset_idle_timeout_on_send;
    bool send_pings_automatically;
    unsigned short max_lifetime;
    void (*upgrade)(uws_res *, uws_req *, void *, void *);
    void (*open)(uws_ws_t *, void *);
    void (*message)(uws_ws_t *, const char *, size_t, int, void *);
    void (*drain)(uws_ws_t *, void *);
    void (*ping)(uws_ws_t *, const char *, size_t, void *);
    void (*pong)(uws_ws_t *, const char *, size_t, void *);
    void (*close)(uws_ws_t *, int, const char *, size_t, void *);
    void (*subscription)(uws_ws_t *, const char *, size_t, int, int, void *);
} uws_behavior;

void *uws_get_loop_with_native(void *loop);
uws_app *uws_create_app(int ssl, us_socket_context_options options);
void uws_app_run(int ssl, uws_app *app);
void uws_app_listen_with_config(int ssl, uws_app *app, uws_listen_config config,
                                void (*listened)(void *, uws_listen_config, void *), void *user);
void uws_app_post(int ssl, uws_app *app, const char *pattern,
                  void (*handler)(uws_res *, uws_req *, void *), void *user);
void uws_ws(int ssl, uws_app *app, const char *pattern, uws_behavior behavior, void *user);
bool uws_ws_subscribe(int ssl, uws_ws_t *ws, const char *topic, size_t length);
bool uws_publish(int ssl, uws_app *app, const char *topic, size_t topic_length, const char *message,
                 size_t length, int opcode, bool compress);
unsigned uws_num_subscribers(int ssl, uws_app *app, const char *topic, size_t length);
size_t uws_req_get_parameter(uws_req *req, unsigned short nth, const char **text);
void uws_res_on_data(int ssl, uws_res *res,
                     void (*handler)(uws_res *, const char *, size_t, bool, void *), void *user);
void uws_res_on_aborted(int ssl, uws_res *res, void (*handler)(uws_res *, void *), void *user);
void uws_res_end(int ssl, uws_res *res, const char *bytes, size_t length, bool close);

enum { PLAIN_TCP = 0, OPCODE_TEXT = 1 };

// As benches/rivals/gather.cjs, which says why.
enum { QUIET_MS = 1, CLIENTS_PER_MS = 4000, MOMENTS_MAX = 8 };

// Everyone is in it; who names another as its first message is in that one too.
static const char TOPIC[] = "bench";
enum { NAME_MAX_BYTES = 64 };

typedef struct message {
    struct message *next;
    size_t length;
    size_t capacity;
    char *bytes;
    size_t topic_length;
    char topic[NAME_MAX_BYTES];
} message;

static struct {
    uws_app *app;
    bool gathers;
    uv_timer_t quiet;
    uint64_t first_ms;
    message *head, **tail;
} server = {.tail = &server.head};

// Publishes all that waits, in its order. uWebSockets coalesces what is published in a turn of the
// loop, for each subscriber.
static void fan_out(uv_timer_t *timer) {
    (void)timer;
    message *next = server.head;
    server.head = NULL;
    server.tail = &server.head;
    while (next != NULL) {
        message *it = next;
        next = it->next;
        uws_publish(PLAIN_TCP, server.app, it->topic, it->topic_length, it->bytes, it->length,
                    OPCODE_TEXT, false);
        free(it->bytes);
        free(it);
    }
}

static void gather(message *it) {
    uv_update_time(server.quiet.loop);
    uint64_t now_ms = uv_now(server.quiet.loop);
    if (server.head == NULL) {
        server.first_ms = now_ms;
    }
    *server.tail = it;
    server.tail = &it->next;
    if (!server.gathers) {
        // The timer's turn comes after this one, whose end sends the answer.
        uv_timer_start(&server.quiet, fan_out, 0, 0);
        return;
    }
    // What goes to one client each has no crowd to wait for.
    bool is_own = it->topic_length != sizeof TOPIC - 1;
    unsigned clients = is_own ? 0 : uws_num_subscribers(PLAIN_TCP, server.app, TOPIC, sizeof TOPIC - 1);
    uint64_t quiet_ms = QUIET_MS + clients / CLIENTS_PER_MS;
    if (now_ms - server.first_ms < MOMENTS_MAX * quiet_ms) {
        uv_timer_start(&server.quiet, fan_out, quiet_ms, 0);
    }
}

static void on_data(uws_res *res, const char *bytes, size_t length, bool is_last, void *user) {
    message *it = user;
    if (it->length + length > it->capacity) {
        it->capacity = 2 * (it->length + length);
        it->bytes = realloc(it->bytes, it->capacity);
        if (it->bytes == NULL) {
            abort();
        }
    }
    memcpy(it->bytes + it->length, bytes, length);
    it->length += length;
    if (is_last) {
        uws_res_end(PLAIN_TCP, res, "", 0, false);
        gather(it);
    }
}

// A publisher that goes before its message is whole. What it sent is left to leak: it happens once.
static void on_aborted(uws_res *res, void *user) {
    (void)res;
    (void)user;
}

static void on_post(uws_res *res, uws_req *req, void *user) {
    (void)user;
    message *it = calloc(1, sizeof *it);
    if (it == NULL) {
        abort();
    }
    const char *name = TOPIC;
    it->topic_length = uws_req_get_parameter(req, 0, &name);
    if (it->topic_length == 0 || it->topic_length > NAME_MAX_BYTES) {
        name = TOPIC;
        it->topic_length = sizeof TOPIC - 1;
    }
    memcpy(it->topic, name, it->topic_length);
    uws_res_on_aborted(PLAIN_TCP, res, on_aborted, it);
    uws_res_on_data(PLAIN_TCP, res, on_data, it);
}

static void on_open(uws_ws_t *ws, void *user) {
    (void)user;
    uws_ws_subscribe(PLAIN_TCP, ws, TOPIC, sizeof TOPIC - 1);
}

static void on_message(uws_ws_t *ws, const char *name, size_t length, int opcode, void *user) {
    (void)opcode;
    (void)user;
    uws_ws_subscribe(PLAIN_TCP, ws, name, length);
}

static void on_listen(void *socket, uws_listen_config config, void *user) {
    (void)user;
    if (socket == NULL) {
        fprintf(stderr, "server: cannot listen at port %d\n", config.port);
        exit(1);
    }
}

int main(int count, char **words) {
    if (count != 3) {
        fprintf(stderr, "server: gathered|plain PORT\n");
        return 64;
    }
    uv_loop_t *loop = uv_default_loop();
    uv_timer_init(loop, &server.quiet);
    server.gathers = strcmp(words[1], "gathered") == 0;
    uws_get_loop_with_native(loop);
    server.app = uws_create_app(PLAIN_TCP, (us_socket_context_options){0});
    uws_behavior behavior = {
        .max_payload_length = 16 << 10,
        // Beyond it messages are dropped: no healthy client comes near.
        .max_backpressure = 16 << 20,
        .open = on_open,
        .message = on_message,
    };
    uws_ws(PLAIN_TCP, server.app, "/ws", behavior, NULL);
    uws_app_post(PLAIN_TCP, server.app, "/publish", on_post, NULL);
    uws_app_post(PLAIN_TCP, server.app, "/publish/:channel", on_post, NULL);
    uws_listen_config config = {.port = atoi(words[2]), .host = "127.0.0.1"};
    uws_app_listen_with_config(PLAIN_TCP, server.app, config, on_listen, NULL);
    uws_app_run(PLAIN_TCP, server.app);
    return 0;
}
