/* Random calls with handles that are open, null, stale, foreign and closed twice, and with pointers
 * that are null, misaligned and of a wrong size: none crashes, and none is taken for what it is
 * not. Arguments: how many sequences, a seed, a path for a socket. THREATS C1, C2. */
#include "check.h"
#include <pthread.h>

#define SLOTS 8
#define THREADS 4

static _Atomic fanfare_t handles[SLOTS]; /* open or closed ones, of all threads */
static const char *configuration;
static long sequences;
static atomic_long callbacks_due, callbacks_heard, worked;

static uint64_t next(uint64_t *state) { /* SplitMix64 */
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void heard(void *user, const fanfare_receipt *receipt) {
    CHECK(user == &callbacks_due && receipt->size == sizeof *receipt);
    CHECK(fanfare_flush(atomic_load(&handles[0]), 0) == FANFARE_E_AGAIN);
    atomic_fetch_add(&callbacks_heard, 1);
}

static fanfare_t some_handle(uint64_t *state) {
    uint64_t dice = next(state);
    fanfare_t handle = atomic_load(&handles[dice % SLOTS]);
    switch (dice >> 32 & 15) {
    case 0: return 0;
    case 1: return next(state);                              /* foreign */
    case 2: return handle ^ (fanfare_t)1 << (dice >> 40 & 63);
    case 3: return handle - ((fanfare_t)1 << 32);            /* an earlier life */
    case 4: return handle & 0xffff;
    default: return handle;                                  /* open, closed, closed twice */
    }
}

static int may_be(int32_t result) {
    static const int32_t known[] = {
        FANFARE_OK, FANFARE_E_BADF, FANFARE_E_AGAIN, FANFARE_E_INVAL, FANFARE_E_PIPE,
        FANFARE_E_TIMEOUT, FANFARE_E_MFILE, FANFARE_E_UNKNOWN, FANFARE_E_CONFIG,
        FANFARE_E_UNAVAILABLE, FANFARE_E_VERSION, FANFARE_E_BAD_CHANNEL, FANFARE_E_BAD_DATA,
        FANFARE_E_BAD_KEY, FANFARE_E_BAD_EVENT, FANFARE_E_CONFLICT, FANFARE_E_TOO_LARGE};
    for (size_t nth = 0; nth < sizeof known / sizeof *known; nth++)
        if (result == known[nth])
            return 1;
    fprintf(stderr, "%d: %s\n", result, fanfare_result_text(result));
    return 0;
}

static void open_one(uint64_t *state) {
    uint64_t dice = next(state);
    fanfare_t handle = 0;
    fanfare_options options = {.size = sizeof options, .abi = FANFARE_ABI, .queue_messages = 64};
    options.abi += (dice & 31) == 0;
    options.size = (dice >> 5 & 31) ? sizeof options : (uint32_t)(dice >> 40);
    const char *url = dice >> 10 & 63 ? "unix:/nowhere/s" : NULL;
    /* A socket that a node of this process listens on, now and then. */
    char own[300];
    if (dice >> 16 & 1) {
        snprintf(own, sizeof own, "unix:%s", configuration);
        url = own;
    }
    int32_t result = fanfare_open(url, dice >> 17 & 7 ? &options : NULL, &handle);
    CHECK(may_be(result));
    if (result != FANFARE_OK)
        return;
    /* Whoever is pushed out is closed; its number stays in the hands of others. */
    fanfare_t old = atomic_exchange(&handles[1 + dice % (SLOTS - 1)], handle);
    CHECK(may_be(fanfare_close(old)));
}

static void publish_one(uint64_t *state) {
    static char text[64] = "0123456789";
    uint64_t dice = next(state);
    fanfare_t handle = some_handle(state);
    fanfare_message batch[3];
    fanfare_receipt receipts[3];
    for (int nth = 0; nth < 3; nth++) {
        batch[nth] = message("room", text);
        receipts[nth] = (fanfare_receipt){.size = sizeof receipts[nth]};
    }
    switch (dice & 31) {
    case 0: batch[0].size = (uint32_t)(dice >> 32); if (batch[0].size > sizeof batch) batch[0].size = 0; break;
    case 1: batch[0].channel = NULL; break;
    case 2: batch[0].data_size = SIZE_MAX - (dice >> 60); break;
    case 3: batch[0].channel_size = (size_t)(dice >> 58); break;
    case 4: batch[0].kind = (uint32_t)(dice >> 61); break;
    case 5: batch[0].event = text; batch[0].event_size = dice >> 60; break;
    case 6: batch[0].key = text; batch[0].key_size = dice >> 62; break;
    case 7: receipts[0].size = (uint32_t)(dice >> 60); break;
    default: break;
    }
    const fanfare_message *first = dice >> 5 & 63 ? batch : NULL;
    if ((dice >> 11 & 63) == 0)
        first = (const void *)((const char *)batch + 1 + (dice >> 61 & 1) * 3);
    fanfare_receipt *told = dice >> 17 & 1 ? receipts : NULL;
    int32_t result;
    switch (dice >> 18 & 3) {
    case 0: result = fanfare_publish(handle, first, 0, told); break;
    case 1: result = fanfare_publish_batch(handle, first, dice >> 20 & 3, 0, told); break;
    case 2: result = fanfare_publish(handle, first, 0, NULL); break;
    default:
        atomic_fetch_add(&callbacks_due, 1);
        result = fanfare_publish_async(handle, first, dice >> 20 & 7 ? heard : NULL, &callbacks_due);
        if (result != FANFARE_OK)
            atomic_fetch_sub(&callbacks_due, 1);
    }
    CHECK(may_be(result));
    worked += result == FANFARE_OK;
}

static void *play(void *seed) {
    uint64_t state = *(uint64_t *)seed;
    for (long nth = 0; nth < sequences / THREADS; nth++) {
        /* A sequence of one to four calls. */
        for (uint64_t calls = 1 + next(&state) % 4; calls > 0; calls--) {
            fanfare_numbers numbers = {.size = sizeof numbers};
            uint64_t dice = next(&state);
            switch (dice & 31) {
            case 0: CHECK(may_be(fanfare_flush(some_handle(&state), 0))); break;
            case 1: numbers.size -= (uint32_t)(dice >> 63); /* fall through */
            case 2: CHECK(may_be(fanfare_stats(some_handle(&state), dice >> 40 & 7 ? &numbers : NULL))); break;
            case 3:
                if ((dice >> 32 & 31) == 0) { open_one(&state); break; }
                /* fall through */
            case 4: {
                fanfare_t handle = some_handle(&state);
                if (handle != atomic_load(&handles[0]) && (dice >> 32 & 7) == 0) {
                    CHECK(may_be(fanfare_close(handle)));
                    CHECK(fanfare_close(handle) == FANFARE_E_BADF);
                }
                break;
            }
            default: publish_one(&state);
            }
        }
    }
    return NULL;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    sequences = atol(arguments[1]);
    uint64_t seed = strtoull(arguments[2], NULL, 10), seeds[THREADS];
    configuration = arguments[3];
    char text[600];
    fanfare_t node;
    snprintf(text, sizeof text, NODE, arguments[3]);
    CHECK(fanfare_open(text, NULL, &node) == FANFARE_OK);
    atomic_store(&handles[0], node);
    pthread_t threads[THREADS];
    for (int nth = 0; nth < THREADS; nth++) {
        seeds[nth] = seed + (uint64_t)nth;
        CHECK(pthread_create(&threads[nth], NULL, play, &seeds[nth]) == 0);
    }
    for (int nth = 0; nth < THREADS; nth++)
        pthread_join(threads[nth], NULL);
    for (int nth = SLOTS - 1; nth >= 0; nth--)
        CHECK(may_be(fanfare_close(atomic_load(&handles[nth]))));
    CHECK(atomic_load(&callbacks_due) == atomic_load(&callbacks_heard));
    printf("%ld calls published, %ld callbacks\n", worked, atomic_load(&callbacks_heard));
    CHECK(worked > sequences / 10 && callbacks_heard > sequences / 100);
    return 0;
}
