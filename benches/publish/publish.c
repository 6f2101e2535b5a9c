/* Publishes through libfanfare as fast as one thread can, and checks that every message stands.
 *
 *   publish URL MODE COUNT
 *
 *   single   one fanfare_publish for each message, nobody waits for it
 *   batch    fanfare_publish_batch of 1,000, nobody waits for it
 *   await    the same, each batch waiting for its receipts
 *   return   as single, at most 1,000 under way, and how long each call took to return
 *
 * The time runs from the first call until fanfare_flush returns, so it ends when the last message has
 * its outcome. Then one more message is published with a receipt: its offset says how many stand
 * before it. One line of name=value comes out; anything unexpected ends with exit code 1. */
#define _GNU_SOURCE
#include <fanfare.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BATCH = 1000, PAYLOAD = 128, PATIENCE_MS = 60000 };

static uint64_t now_ns(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000 + (uint64_t)at.tv_nsec;
}

static void must(int32_t result, const char *what) {
    if (result == FANFARE_OK) return;
    fprintf(stderr, "%s: %s\n", what, fanfare_result_text(result));
    exit(1);
}

/* The queue is full; what is in it takes longer than this. */
static void nap(uint64_t *naps) {
    nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    ++*naps;
}

static int by_size(const void *one, const void *other) {
    uint32_t a = *(const uint32_t *)one, b = *(const uint32_t *)other;
    return (a > b) - (a < b);
}

static fanfare_t handle;
static uint64_t naps;

static void one_by_one(const fanfare_message *message, uint64_t count) {
    for (uint64_t nth = 0; nth < count; nth++) {
        int32_t result;
        while ((result = fanfare_publish(handle, message, 0, NULL)) == FANFARE_E_AGAIN) nap(&naps);
        must(result, "fanfare_publish");
    }
}

static void in_batches(const fanfare_message *message, uint64_t count, int awaits) {
    static fanfare_message batch[BATCH];
    static fanfare_receipt receipts[BATCH];
    for (int nth = 0; nth < BATCH; nth++) {
        batch[nth] = *message;
        receipts[nth].size = sizeof *receipts;
    }
    for (uint64_t left = count; left > 0;) {
        uint64_t part = left < BATCH ? left : BATCH;
        int32_t result;
        while ((result = fanfare_publish_batch(handle, batch, part, PATIENCE_MS,
                                               awaits ? receipts : NULL)) == FANFARE_E_AGAIN)
            nap(&naps);
        must(result, "fanfare_publish_batch");
        left -= part;
    }
}

static void timed(const fanfare_message *message, uint64_t count, uint32_t *took) {
    for (uint64_t nth = 0; nth < count; nth++) {
        uint64_t began = now_ns();
        int32_t result = fanfare_publish(handle, message, 0, NULL);
        took[nth] = (uint32_t)(now_ns() - began);
        must(result, "fanfare_publish");
        if (nth % BATCH == BATCH - 1) must(fanfare_flush(handle, PATIENCE_MS), "fanfare_flush");
    }
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: publish URL single|batch|await|return COUNT\n");
        return 64;
    }
    const char *mode = argv[2];
    uint64_t count = strtoull(argv[3], NULL, 10);
    char why[512] = "";
    fanfare_options options = {.size = sizeof options, .abi = FANFARE_ABI, .connect_ms = 5000,
                               .error_text = why, .error_text_size = sizeof why};
    int32_t opened = fanfare_open(argv[1], &options, &handle);
    if (opened != FANFARE_OK) {
        fprintf(stderr, "%s: %s\n", fanfare_result_text(opened), why);
        return 1;
    }
    char payload[PAYLOAD], channel[64];
    memset(payload, 'x', sizeof payload);
    snprintf(channel, sizeof channel, "bench:%s:%llu", mode, (unsigned long long)now_ns());
    fanfare_message message = {.size = sizeof message, .kind = FANFARE_TEXT, .channel = channel,
                               .channel_size = strlen(channel), .data = payload,
                               .data_size = sizeof payload};
    uint32_t *took = calloc(count, sizeof *took);
    if (took == NULL) return 1;

    uint64_t began = now_ns();
    if (strcmp(mode, "single") == 0) one_by_one(&message, count);
    else if (strcmp(mode, "batch") == 0) in_batches(&message, count, 0);
    else if (strcmp(mode, "await") == 0) in_batches(&message, count, 1);
    else if (strcmp(mode, "return") == 0) timed(&message, count, took);
    else return 64;
    must(fanfare_flush(handle, PATIENCE_MS), "fanfare_flush");
    double seconds = (double)(now_ns() - began) / 1e9;

    fanfare_receipt last = {.size = sizeof last};
    must(fanfare_publish(handle, &message, PATIENCE_MS, &last), "the last message");
    must(fanfare_flush(handle, PATIENCE_MS), "fanfare_flush");
    fanfare_numbers numbers = {.size = sizeof numbers};
    must(fanfare_stats(handle, &numbers), "fanfare_stats");
    if (last.offset != count + 1 || numbers.published != count + 1 || numbers.refused != 0 ||
        numbers.unknown != 0 || numbers.duplicates != 0) {
        fprintf(stderr, "%llu were published, the channel has %llu\n", (unsigned long long)count + 1,
                (unsigned long long)last.offset);
        return 1;
    }
    must(fanfare_close(handle), "fanfare_close");
    printf("messages=%llu seconds=%.6f naps=%llu resent=%llu", (unsigned long long)count, seconds,
           (unsigned long long)naps, (unsigned long long)numbers.resent);
    if (strcmp(mode, "return") == 0) {
        qsort(took, count, sizeof *took, by_size);
        printf(" median_ns=%u p99_ns=%u", took[count / 2], took[count - 1 - count / 100]);
    }
    printf("\n");
    free(took);
    return 0;
}
