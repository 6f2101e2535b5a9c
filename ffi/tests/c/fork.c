/* A fork: the child is told so, hangs in nothing, and opens a handle of its own (THREATS C3). The
 * parent goes on. Argument: a path for the socket. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static fanfare_t node, line;
static atomic_int over;

static void *busy(void *unused) {
    fanfare_message one = message("busy", "x");
    while (!atomic_load(&over)) {
        int32_t result = fanfare_publish(line, &one, 0, NULL);
        CHECK(result == FANFARE_OK || result == FANFARE_E_AGAIN);
    }
    return unused;
}

static void child(const char *path) {
    alarm(120);
    fanfare_message one = message("child", "x");
    fanfare_receipt receipt = {.size = sizeof receipt};
    fanfare_numbers numbers = {.size = sizeof numbers};
    fanfare_t both[2] = {node, line};
    for (int nth = 0; nth < 2; nth++) {
        CHECK(fanfare_publish(both[nth], &one, 1000, &receipt) == FANFARE_E_FORKED);
        CHECK(fanfare_publish_async(both[nth], &one, (fanfare_callback)abort, NULL) == FANFARE_E_FORKED);
        CHECK(fanfare_publish_batch(both[nth], &one, 1, 1000, &receipt) == FANFARE_E_FORKED);
        CHECK(fanfare_flush(both[nth], 1000) == FANFARE_E_FORKED);
        CHECK(fanfare_stats(both[nth], &numbers) == FANFARE_E_FORKED);
        CHECK(fanfare_close(both[nth]) == FANFARE_E_FORKED);
    }
    char url[300];
    fanfare_t own;
    fanfare_options options = {.size = sizeof options, .abi = FANFARE_ABI, .connect_ms = 60000};
    snprintf(url, sizeof url, "unix:%s", path);
    CHECK(fanfare_open(url, &options, &own) == FANFARE_OK);
    CHECK(fanfare_publish(own, &one, 60000, &receipt) == FANFARE_OK);
    CHECK(fanfare_close(own) == FANFARE_OK);
    _exit(0);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    char text[600];
    pthread_t thread;
    snprintf(text, sizeof text, NODE, arguments[1]);
    CHECK(fanfare_open(text, NULL, &node) == FANFARE_OK);
    snprintf(text, sizeof text, "unix:%s", arguments[1]);
    CHECK(fanfare_open(text, NULL, &line) == FANFARE_OK);
    CHECK(pthread_create(&thread, NULL, busy, NULL) == 0);
    for (int nth = 0; nth < 40; nth++) {
        usleep(1000); /* so that the fork finds the other thread anywhere */
        pid_t process = fork();
        if (process == 0)
            child(arguments[1]);
        int status = -1;
        CHECK(process > 0 && waitpid(process, &status, 0) == process && status == 0);
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
    fanfare_message one = message("parent", "x");
    fanfare_receipt receipt = {.size = sizeof receipt};
    CHECK(fanfare_flush(line, 60000) == FANFARE_OK); /* the busy thread left a full queue */
    CHECK(fanfare_publish(line, &one, 60000, &receipt) == FANFARE_OK);
    CHECK(fanfare_publish(node, &one, 60000, &receipt) == FANFARE_OK);
    CHECK(fanfare_close(line) == FANFARE_OK && fanfare_close(node) == FANFARE_OK);
    puts("done");
    return 0;
}
