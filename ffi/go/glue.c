#include "glue.h"
#include "_cgo_export.h"

static void heard(void *user, const fanfare_receipt *receipt) {
    fanfareGoHeard((uintptr_t)user, (fanfare_receipt *)receipt);
}

int32_t fanfare_go_offer(fanfare_t handle, uint32_t kind, uintptr_t user,
                         const char *channel, size_t channel_size, const void *data,
                         size_t data_size, const char *event, size_t event_size,
                         const void *key, size_t key_size) {
    fanfare_message message = {.size = sizeof message, .kind = kind,
                               .channel = channel, .channel_size = channel_size,
                               .data = data, .data_size = data_size,
                               .event = event_size ? event : NULL, .event_size = event_size,
                               .key = key, .key_size = key_size};
    if (user == 0)
        return fanfare_publish(handle, &message, 0, NULL);
    return fanfare_publish_async(handle, &message, heard, (void *)user);
}
