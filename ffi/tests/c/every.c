/* Every function, in both ways, and what each gives for arguments that cannot be. Run under
 * AddressSanitizer and under valgrind. Arguments: a path for the socket. */
#include "check.h"

static atomic_int heard_count;

static void heard(void *user, const fanfare_receipt *receipt) {
    CHECK(receipt->result == FANFARE_OK && receipt->position > 0);
    *(uint64_t *)user = receipt->offset;
    /* THREATS C4: nothing may be asked from here, and nothing hangs. */
    fanfare_numbers numbers = {.size = sizeof numbers};
    fanfare_t other = 0;
    CHECK(fanfare_stats(1, &numbers) == FANFARE_E_AGAIN);
    CHECK(fanfare_flush(1, UINT64_MAX) == FANFARE_E_AGAIN);
    CHECK(fanfare_close(1) == FANFARE_E_AGAIN);
    CHECK(fanfare_open("unix:/x", NULL, &other) == FANFARE_E_AGAIN);
    CHECK(fanfare_version() == FANFARE_VERSION);
    atomic_fetch_add(&heard_count, 1);
}

static void heard_all(void *user, const fanfare_receipt *receipts, size_t count) {
    uint64_t *offsets = user;
    for (size_t nth = 0; nth < count; nth++) {
        CHECK(receipts[nth].result == FANFARE_OK);
        offsets[nth] = receipts[nth].offset;
    }
    CHECK(fanfare_flush_async(1, NULL, NULL) == FANFARE_E_AGAIN);
    atomic_fetch_add(&heard_count, 1);
}

static void flushed(void *user, int32_t result) {
    CHECK(user == NULL && result == FANFARE_OK);
    atomic_fetch_add(&heard_count, 1);
}

static void heard_places(void *user, const fanfare_receipt *receipt) {
    CHECK(receipt->result == FANFARE_OK && receipt->also_count == 2);
    *(uint64_t *)user = receipt->also[0].offset + receipt->also[1].offset;
    atomic_fetch_add(&heard_count, 1);
}

/* One message in several channels: a place in each, also under its key, and all or none. It takes
 * no offset of `channel`, which is not among them. */
static void several(fanfare_t handle, const char *channel) {
    char names[3][300];
    for (int nth = 0; nth < 3; nth++)
        snprintf(names[nth], sizeof names[nth], "%s of several %d", channel, nth);
    fanfare_name also[2] = {{names[1], strlen(names[1])}, {names[2], strlen(names[2])}};
    fanfare_channel_receipt places[3] = {{77, 77}, {77, 77}, {77, 77}};
    fanfare_receipt receipt = {.size = sizeof receipt, .also = places, .also_room = 3};
    fanfare_message one = message(names[0], "to all");
    one.also = also;
    one.also_count = 2;
    one.key = "several";
    one.key_size = 7;
    for (int again = 0; again < 2; again++) {
        CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_OK);
        CHECK(receipt.offset == 1 && receipt.flags == (again ? FANFARE_DUPLICATE : 0));
        CHECK(receipt.also == places && receipt.also_room == 3 && receipt.also_count == 2);
        CHECK(places[0].offset == 1 && places[1].offset == 1 && places[1].subscribers == 0);
        CHECK(places[2].offset == 77 /* there are two */);
    }
    one.also_count = 1; /* another message under the key */
    CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_E_CONFLICT);
    one.key = NULL;
    one.key_size = 0;
    CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_OK);
    CHECK(receipt.offset == 2 && receipt.also_count == 1 && places[0].offset == 2);
    one.also_count = 2;
    receipt.also_room = 1;
    CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_OK);
    CHECK(receipt.offset == 3 && receipt.also_count == 0 /* no room for both */);
    CHECK(places[0].offset == 2);
    receipt.size = offsetof(fanfare_receipt, also); /* as it was before there were several */
    CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_OK && receipt.offset == 4);

    uint64_t offsets = 0;
    int before = atomic_load(&heard_count);
    CHECK(fanfare_publish_async(handle, &one, heard_places, &offsets) == FANFARE_OK);
    CHECK(fanfare_flush(handle, 10000) == FANFARE_OK);
    CHECK(atomic_load(&heard_count) == before + 1 && offsets == 5 + 4);
    fanfare_message batch[2] = {one, one};
    fanfare_channel_receipt each[2][2] = {{{0, 0}, {0, 0}}, {{0, 0}, {0, 0}}};
    fanfare_receipt receipts[2] = {{.size = sizeof receipt, .also = each[0], .also_room = 2},
                                   {.also = each[1], .also_room = 2}};
    CHECK(fanfare_publish_batch(handle, batch, 2, 10000, receipts) == FANFARE_OK);
    CHECK(each[0][0].offset == 6 && each[1][0].offset == 7 && each[1][1].offset == 6);

    receipt.size = sizeof receipt;
    also[1] = also[0];
    CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_E_BAD_CHANNELS);
    also[1].size = 0;
    CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_E_BAD_CHANNEL);
    one.also = NULL;
    CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_E_INVAL);
    one.also = also;
    one.also_count = SIZE_MAX;
    CHECK(fanfare_publish(handle, &one, 10000, &receipt) == FANFARE_E_INVAL);
}

static void publishes(fanfare_t handle, const char *channel) {
    fanfare_receipt receipt = {.size = sizeof receipt};
    fanfare_message one = message(channel, "{\"n\":1}");
    CHECK(fanfare_publish(handle, &one, 60000, &receipt) == FANFARE_OK);
    CHECK(receipt.result == FANFARE_OK && receipt.offset == 1 && receipt.position > 0);
    CHECK(receipt.epoch != 0 && receipt.subscribers == 0 && receipt.flags == 0);

    /* Idempotent: THREATS P7. */
    one.key = "order-7";
    one.key_size = 7;
    CHECK(fanfare_publish(handle, &one, 60000, &receipt) == FANFARE_OK);
    CHECK(receipt.offset == 2 && receipt.flags == 0);
    CHECK(fanfare_publish(handle, &one, 60000, &receipt) == FANFARE_OK);
    CHECK(receipt.offset == 2 && receipt.flags == FANFARE_DUPLICATE);
    one.data = "{\"n\":2}";
    CHECK(fanfare_publish(handle, &one, 60000, &receipt) == FANFARE_E_CONFLICT);
    CHECK(receipt.offset == 2 /* written only on success */);

    fanfare_message named = message(channel, "x");
    named.event = "tick";
    named.event_size = 4;
    named.kind = FANFARE_BINARY;
    uint64_t offset = 0;
    int before = atomic_load(&heard_count);
    CHECK(fanfare_publish_async(handle, &named, heard, &offset) == FANFARE_OK);
    CHECK(fanfare_flush(handle, 60000) == FANFARE_OK);
    CHECK(offset == 3 && atomic_load(&heard_count) == before + 1);

    /* For those who follow now: without an offset, and it takes none from those that follow. */
    fanfare_message brief = message(channel, "typing");
    brief.flags = FANFARE_EPHEMERAL;
    brief.except = "3f9c0a51b7e2d846";
    brief.except_size = 16;
    CHECK(fanfare_publish(handle, &brief, 10000, &receipt) == FANFARE_OK);
    CHECK(receipt.offset == 0 && receipt.position > 0);
    brief.except_size = 15;
    CHECK(fanfare_publish(handle, &brief, 10000, &receipt) == FANFARE_E_BAD_EXCEPT);

    several(handle, channel);

    fanfare_message batch[3] = {message(channel, "a"), message(channel, "b"), message(channel, "c")};
    fanfare_receipt receipts[3] = {{.size = sizeof receipt}};
    batch[1].kind = FANFARE_JSON; /* and is not */
    CHECK(fanfare_publish_batch(handle, batch, 3, 60000, receipts) == FANFARE_E_BAD_DATA);
    CHECK(receipts[0].offset == 0 /* nothing was queued */);
    batch[1].kind = FANFARE_TEXT;
    CHECK(fanfare_publish_batch(handle, batch, 3, 60000, receipts) == FANFARE_OK);
    CHECK(receipts[0].offset == 4 && receipts[1].offset == 5);
    CHECK(receipts[2].offset == receipts[1].offset + 1);
    CHECK(fanfare_publish_batch(handle, batch, 3, 0, NULL) == FANFARE_OK);
    CHECK(fanfare_publish(handle, batch, 0, NULL) == FANFARE_OK);
    CHECK(fanfare_flush(handle, 60000) == FANFARE_OK);
    CHECK(fanfare_publish(handle, batch, 60000, &receipt) == FANFARE_OK);
    CHECK(receipt.offset == receipts[2].offset + 5 /* three, one, this */);

    /* The asynchronous twins: all receipts in one call, and one for the flush behind it. */
    before = atomic_load(&heard_count);
    uint64_t told[3] = {0};
    CHECK(fanfare_publish_batch_async(handle, batch, 3, heard_all, told) == FANFARE_OK);
    CHECK(fanfare_flush_async(handle, flushed, NULL) == FANFARE_OK);
    CHECK(fanfare_flush(handle, 60000) == FANFARE_OK);
    /* A flush waits for messages, not for the answer of another flush. Slept, not spun: valgrind runs
     * one thread at a time, and one that never sleeps can keep the library's from its turn. */
    wait_until(&heard_count, before + 2);
    CHECK(told[0] == receipt.offset + 1 && told[2] > told[0]);
    CHECK(fanfare_publish_batch_async(handle, batch, 0, heard_all, told) == FANFARE_E_INVAL);
    CHECK(fanfare_publish_batch_async(handle, batch, 3, NULL, told) == FANFARE_E_INVAL);
    CHECK(fanfare_flush_async(handle, NULL, NULL) == FANFARE_E_INVAL);

    fanfare_numbers numbers = {.size = sizeof numbers};
    CHECK(fanfare_flush(handle, 60000) == FANFARE_OK);
    CHECK(fanfare_stats(handle, &numbers) == FANFARE_OK);
    CHECK(numbers.connected == 1 && numbers.pending == 0 && numbers.unknown == 0);
    CHECK(numbers.epoch == receipt.epoch && numbers.duplicates == 2 && numbers.connects == 1);
}

static void refuses(fanfare_t handle) {
    fanfare_receipt receipt = {.size = sizeof receipt};
    struct { const char *channel; size_t channel_size; const char *data; size_t data_size;
             const char *event; size_t key_size; uint32_t kind; int32_t expected; } cases[] = {
        {"", 0, "x", 1, NULL, 0, 0, FANFARE_E_BAD_CHANNEL},
        {"a*", 2, "x", 1, NULL, 0, 0, FANFARE_E_BAD_CHANNEL},
        {"\xff", 1, "x", 1, NULL, 0, 0, FANFARE_E_BAD_CHANNEL},
        {"a", 1, "", 0, NULL, 0, 0, FANFARE_E_BAD_DATA},
        {"a", 1, "\xff", 1, NULL, 0, FANFARE_TEXT, FANFARE_E_BAD_DATA},
        {"a", 1, "{", 1, NULL, 0, FANFARE_JSON, FANFARE_E_BAD_DATA},
        {"a", 1, "x", 1, "fanfare.gap", 0, 0, FANFARE_E_BAD_EVENT},
        {"a", 1, "x", 1, NULL, 256, 0, FANFARE_E_BAD_KEY},
        {NULL, 1, "x", 1, NULL, 0, 0, FANFARE_E_INVAL},
        {"a", 1, NULL, 1, NULL, 0, 0, FANFARE_E_INVAL},
        {"a", SIZE_MAX, "x", 1, NULL, 0, 0, FANFARE_E_INVAL},
        {"a", 1, "x", (size_t)PTRDIFF_MAX + 1, NULL, 0, 0, FANFARE_E_INVAL},
        {"a", 1, "x", 1, NULL, 0, 4, FANFARE_E_INVAL},
    };
    static const char key[256];
    for (size_t nth = 0; nth < sizeof cases / sizeof *cases; nth++) {
        fanfare_message one = message("a", "x");
        one.kind = cases[nth].kind;
        one.channel = cases[nth].channel;
        one.channel_size = cases[nth].channel_size;
        one.data = cases[nth].data;
        one.data_size = cases[nth].data_size;
        one.event = cases[nth].event;
        one.event_size = cases[nth].event ? strlen(cases[nth].event) : 0;
        one.key = cases[nth].key_size ? key : NULL;
        one.key_size = cases[nth].key_size;
        int32_t result = fanfare_publish(handle, &one, 60000, &receipt);
        if (result != cases[nth].expected)
            fprintf(stderr, "case %zu: %d\n", nth, result);
        CHECK(result == cases[nth].expected);
        CHECK(receipt.position == 0);
    }
    fanfare_message one = message("a", "x");
    CHECK(fanfare_publish(handle, NULL, 1, &receipt) == FANFARE_E_INVAL);
    CHECK(fanfare_publish_async(handle, &one, NULL, NULL) == FANFARE_E_INVAL);
    CHECK(fanfare_publish_batch(handle, &one, 0, 1, &receipt) == FANFARE_E_INVAL);
    CHECK(fanfare_publish_batch(handle, &one, SIZE_MAX, 1, &receipt) == FANFARE_E_INVAL);
    CHECK(fanfare_publish_batch(handle, NULL, 1, 1, &receipt) == FANFARE_E_INVAL);
    CHECK(fanfare_stats(handle, NULL) == FANFARE_E_INVAL);
    /* Misaligned. */
    char room[sizeof one + 1];
    memcpy(room + 1, &one, sizeof one);
    CHECK(fanfare_publish(handle, (void *)(room + 1), 1, NULL) == FANFARE_E_INVAL ||
          ((uintptr_t)room & 7) == 7);
}

int main(int count, char **arguments) {
    CHECK(count == 2);
    char url[600], configuration[600], why[300] = "";
    fanfare_options options = {.size = sizeof options, .abi = FANFARE_ABI,
                               .error_text = why, .error_text_size = sizeof why};
    fanfare_t node = 7, line = 7;
    CHECK(fanfare_version() == FANFARE_VERSION && fanfare_abi() == FANFARE_ABI);
    for (int32_t code = -600; code < 10; code++)
        CHECK(strlen(fanfare_result_text(code)) > 3);

    CHECK(fanfare_open(NULL, NULL, &node) == FANFARE_E_INVAL);
    CHECK(fanfare_open("unix:/x", NULL, NULL) == FANFARE_E_INVAL);
    CHECK(fanfare_open("http://x", &options, &node) == FANFARE_E_INVAL && strstr(why, "unix:"));
    CHECK(fanfare_open("unix:relative", &options, &node) == FANFARE_E_INVAL);
    CHECK(fanfare_open("unix:\xff", NULL, &node) == FANFARE_E_INVAL);
    CHECK(fanfare_open("embedded:nonsense = 1", &options, &node) == FANFARE_E_CONFIG);
    CHECK(strstr(why, "nonsense"));
    options.error_text_size = 5; /* cut, with its NUL */
    CHECK(fanfare_open("http://x", &options, &node) == FANFARE_E_INVAL && strlen(why) == 4);
    options.error_text_size = sizeof why;
    CHECK(node == 7 /* written only on success */);

    snprintf(configuration, sizeof configuration, NODE, arguments[1]);
    CHECK(fanfare_open(configuration, &options, &node) == FANFARE_OK);
    fanfare_numbers numbers = {.size = sizeof numbers};
    CHECK(fanfare_stats(node, &numbers) == FANFARE_OK);
    CHECK(numbers.listen_port > 0 && numbers.api_port > 0 && numbers.epoch > 0);
    CHECK(fanfare_open(configuration, &options, &line) == FANFARE_E_UNAVAILABLE && strlen(why) > 9);

    snprintf(url, sizeof url, "unix:%s", arguments[1]);
    options.connect_ms = 60000;
    CHECK(fanfare_open(url, &options, &line) == FANFARE_OK);
    publishes(node, "embedded");
    publishes(line, "connected");
    refuses(node);
    refuses(line);

    /* Closed with messages on their way: each callback is called, once. */
    uint64_t offsets[100];
    int before = atomic_load(&heard_count);
    fanfare_message last = message("last", "x");
    for (int nth = 0; nth < 100; nth++)
        CHECK(fanfare_publish_async(node, &last, heard, &offsets[nth]) == FANFARE_OK);
    CHECK(fanfare_close(node) == FANFARE_OK);
    CHECK(atomic_load(&heard_count) == before + 100);
    CHECK(fanfare_close(node) == FANFARE_E_BADF);
    CHECK(fanfare_publish(node, &last, 1, NULL) == FANFARE_E_BADF);

    /* The server is gone: what is queued waits, a full queue says so, nothing hangs (C6). */
    fanfare_receipt receipt = {.size = sizeof receipt};
    CHECK(fanfare_publish(line, &last, 50, &receipt) == FANFARE_E_TIMEOUT);
    CHECK(fanfare_flush(line, 10) == FANFARE_E_TIMEOUT);
    CHECK(fanfare_close(line) == FANFARE_OK);
    options.queue_messages = 2;
    options.connect_ms = 0;
    CHECK(fanfare_open(url, &options, &line) == FANFARE_OK);
    CHECK(fanfare_publish(line, &last, 0, NULL) == FANFARE_OK);
    CHECK(fanfare_publish(line, &last, 0, NULL) == FANFARE_OK);
    CHECK(fanfare_publish(line, &last, 0, NULL) == FANFARE_E_AGAIN);
    CHECK(fanfare_close(line) == FANFARE_OK);
    options.connect_ms = 30;
    CHECK(fanfare_open(url, &options, &line) == FANFARE_E_UNAVAILABLE && strstr(why, "running"));
    puts("done");
    return 0;
}
