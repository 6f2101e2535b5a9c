/* What cgo calls in C: a message from its parts, because Go's memory must not hold the pointers. */
#include <fanfare.h>
#include <stdlib.h>

int32_t fanfare_go_offer_batch(fanfare_t handle, const fanfare_message *messages, size_t count,
                               uintptr_t user);
int32_t fanfare_go_flush(fanfare_t handle, uintptr_t user);

int32_t fanfare_go_offer(fanfare_t handle, uint32_t kind, uintptr_t user,
                         const char *channel, size_t channel_size, const void *data,
                         size_t data_size, const char *event, size_t event_size,
                         const void *key, size_t key_size, const char *except,
                         size_t except_size, uint32_t flags);
