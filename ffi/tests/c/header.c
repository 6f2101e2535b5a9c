/* Compiled as C11 and as C++17 with every warning on: the header alone, and the use of each name. */
#include <fanfare.h>

#if FANFARE_VERSION < 0x000100 || FANFARE_ABI != 1
#error "the header has a version and an ABI number"
#endif

static void heard(void *user, const fanfare_receipt *receipt) {
    *(int32_t *)user = receipt->result;
}

int use_all(void);
int use_all(void) {
    int32_t told = FANFARE_OK;
    fanfare_t handle = 0;
    fanfare_options options = {sizeof options, FANFARE_ABI, 0, 0, 0, 0, NULL, 0};
    fanfare_name also = {"b", 1};
    fanfare_message message = {sizeof message, FANFARE_TEXT, "a", 1, "b", 1, NULL, 0, NULL, 0,
                               NULL, 0, FANFARE_EPHEMERAL, 0, &also, 1};
    fanfare_channel_receipt place = {0, 0};
    fanfare_receipt receipt = {sizeof receipt, 0, 0, 0, 0, 0, 0, 0, &place, 1, 0};
    fanfare_numbers numbers = {sizeof numbers, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    const char *text = fanfare_result_text(FANFARE_E_AGAIN);
    int32_t result = fanfare_open("unix:/run/fanfare.sock", &options, &handle);
    result |= fanfare_publish(handle, &message, 1000, &receipt);
    result |= fanfare_publish_async(handle, &message, heard, &told);
    result |= fanfare_publish_batch(handle, &message, 1, 1000, &receipt);
    result |= fanfare_flush(handle, 1000);
    result |= fanfare_stats(handle, &numbers);
    result |= fanfare_close(handle);
    return result == FANFARE_OK && text != NULL && fanfare_version() != 0 && fanfare_abi() != 0;
}
