/* Signals: a storm of them interrupts nothing, none reaches a thread of the library, and a server
 * that goes away raises no SIGPIPE (THREATS C6). Argument: a path for the socket. */
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <unistd.h>

static pthread_t main_thread;
static atomic_int storms, strangers, pipes;

static void stormed(int number) {
    (void)number;
    atomic_fetch_add(&storms, 1);
    if (!pthread_equal(pthread_self(), main_thread))
        atomic_fetch_add(&strangers, 1);
    /* What may be called here. */
    if (fanfare_version() != FANFARE_VERSION || fanfare_result_text(FANFARE_OK) == NULL)
        abort();
}

static void piped(int number) {
    (void)number;
    atomic_fetch_add(&pipes, 1);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    main_thread = pthread_self();
    struct sigaction action = {.sa_handler = stormed}; /* no SA_RESTART */
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    action.sa_handler = piped;
    CHECK(sigaction(SIGPIPE, &action, NULL) == 0);
    struct itimerval often = {{0, 500}, {0, 500}};
    char text[600];
    fanfare_t node, line;
    snprintf(text, sizeof text, NODE, arguments[1]);
    CHECK(fanfare_open(text, NULL, &node) == FANFARE_OK);
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    fanfare_options options = {.size = sizeof options, .abi = FANFARE_ABI, .connect_ms = 60000};
    snprintf(text, sizeof text, "unix:%s", arguments[1]);
    CHECK(fanfare_open(text, &options, &line) == FANFARE_OK);
    fanfare_message one = message("storm", "x");
    for (uint64_t nth = 1; nth <= 2000; nth++) {
        fanfare_receipt receipt = {.size = sizeof receipt};
        CHECK(fanfare_publish(nth % 2 ? line : node, &one, 60000, &receipt) == FANFARE_OK);
        CHECK(receipt.offset == nth);
    }
    /* The mask of this thread is as it was. */
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_SETMASK, NULL, &mask) == 0 && sigismember(&mask, SIGALRM) == 0);
    CHECK(fanfare_close(node) == FANFARE_OK);
    for (int nth = 0; nth < 2000; nth++)
        fanfare_publish(line, &one, 0, NULL);
    usleep(100000);
    CHECK(fanfare_close(line) == FANFARE_OK);
    CHECK(atomic_load(&storms) > 10 && atomic_load(&strangers) == 0 && atomic_load(&pipes) == 0);
    puts("done");
    return 0;
}
