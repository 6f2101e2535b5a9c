#include "glue.h"
#include "_cgo_export.h"

static void heard(void *user, const fanfare_receipt *receipt) {
    fanfareGoHeard((uintptr_t)user, (fanfare_receipt *)receipt);
}

int32_t fanfare_go_offer(fanfare_t handle, uint32_t kind, uintptr_t user,
                         const char *channel, size_t channel_size, const void *data,
                         size_t data_size, const char *event, size_t event_size,
                         const void *key, size_t key_size, const char *except,
                         size_t except_size, uint32_t flags) {
    fanfare_message message = {.size = sizeof message, .kind = kind,
                               .channel = channel, .channel_size = channel_size,
                               .data = data, .data_size = data_size,
                               .event = event_size ? event : NULL, .event_size = event_size,
                               .key = key, .key_size = key_size,
                               .except = except_size ? except : NULL,
                               .except_size = except_size, .flags = flags};
    if (user == 0)
        return fanfare_publish(handle, &message, 0, NULL);
    return fanfare_publish_async(handle, &message, heard, (void *)user);
}

static void heard_all(void *user, const fanfare_receipt *receipts, size_t count) {
    fanfareGoHeardAll((uintptr_t)user, (fanfare_receipt *)receipts, count);
}

int32_t fanfare_go_offer_batch(fanfare_t handle, const fanfare_message *messages, size_t count,
                               uintptr_t user) {
    return fanfare_publish_batch_async(handle, messages, count, heard_all, (void *)user);
}

static void flushed(void *user, int32_t result) {
    fanfareGoFlushed((uintptr_t)user, result);
}

int32_t fanfare_go_flush(fanfare_t handle, uintptr_t user) {
    return fanfare_flush_async(handle, flushed, (void *)user);
}
