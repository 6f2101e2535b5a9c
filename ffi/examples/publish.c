/* Publishes its arguments: cc publish.c $(pkg-config --cflags --libs fanfare) -o publish
 *                          ./publish unix:/tmp/fanfare-0.sock demo 'hello, world'                  */
#include <fanfare.h>
#include <stdio.h>
#include <string.h>

int main(int count, char **arguments) {
    if (count < 4)
        return fprintf(stderr, "usage: publish URL CHANNEL MESSAGE...\n"), 2;
    char why[512] = "";
    fanfare_options options = {.size = sizeof options, .abi = FANFARE_ABI, .connect_ms = 2000,
                               .error_text = why, .error_text_size = sizeof why};
    fanfare_t publisher;
    if (fanfare_open(arguments[1], &options, &publisher) != FANFARE_OK)
        return fprintf(stderr, "cannot open: %s\n", why), 1;
    int failures = 0;
    for (int nth = 3; nth < count; nth++) {
        fanfare_message message = {.size = sizeof message,
                                   .channel = arguments[2], .channel_size = strlen(arguments[2]),
                                   .data = arguments[nth], .data_size = strlen(arguments[nth])};
        fanfare_receipt receipt = {.size = sizeof receipt};
        int32_t result = fanfare_publish(publisher, &message, 5000, &receipt);
        if (result == FANFARE_OK)
            printf("offset %llu, %llu subscribers\n", (unsigned long long)receipt.offset,
                   (unsigned long long)receipt.subscribers);
        else
            failures += fprintf(stderr, "not published: %s\n", fanfare_result_text(result)) > 0;
    }
    fanfare_close(publisher);
    return failures > 0;
}
