package fanfare

// #include "glue.h"
import "C"

import (
	"runtime/cgo"
	"unsafe"
)

// batch is messages in C's memory: C must not be given Go's pointers to pointers.
type batch struct {
	messages []C.fanfare_message
	bytes    unsafe.Pointer
	also     unsafe.Pointer
}

func newBatch(messages []Message) *batch {
	count, size, further := len(messages), 1, 1
	for _, message := range messages {
		size += len(message.Channel) + len(message.Data) + len(message.Event) + len(message.Key)
		size += len(message.Except)
		further += len(message.Also)
		for _, name := range message.Also {
			size += len(name)
		}
	}
	made := &batch{
		messages: unsafe.Slice((*C.fanfare_message)(C.calloc(C.size_t(count), C.sizeof_fanfare_message)), count),
		bytes:    C.malloc(C.size_t(size)),
		also:     C.calloc(C.size_t(further), C.sizeof_fanfare_name),
	}
	names := unsafe.Slice((*C.fanfare_name)(made.also), further)
	room := unsafe.Slice((*byte)(made.bytes), size)
	put := func(bytes string) (unsafe.Pointer, C.size_t) {
		at := unsafe.Pointer(&room[0])
		room = room[copy(room, bytes):]
		return at, C.size_t(len(bytes))
	}
	for nth, message := range messages {
		to := &made.messages[nth]
		to.size, to.kind = C.sizeof_fanfare_message, C.uint32_t(message.Kind)
		var name unsafe.Pointer
		name, to.channel_size = put(message.Channel)
		to.channel = (*C.char)(name)
		to.data, to.data_size = put(unsafe.String(unsafe.SliceData(message.Data), len(message.Data)))
		if message.Event != "" {
			name, to.event_size = put(message.Event)
			to.event = (*C.char)(name)
		}
		if message.Key != nil {
			to.key, to.key_size = put(unsafe.String(unsafe.SliceData(message.Key), len(message.Key)))
		}
		if message.Except != "" {
			name, to.except_size = put(message.Except)
			to.except = (*C.char)(name)
		}
		to.flags = message.flags()
		if len(message.Also) > 0 {
			to.also, to.also_count = &names[0], C.size_t(len(message.Also))
			for nth, also := range message.Also {
				name, names[nth].size = put(also)
				names[nth].name = (*C.char)(name)
			}
			names = names[len(message.Also):]
		}
	}
	return made
}

// offer hands the messages over; who hears what became of them is a chan []Receipt.
func (b *batch) offer(handle C.fanfare_t, user cgo.Handle) C.int32_t {
	return C.fanfare_go_offer_batch(handle, &b.messages[0], C.size_t(len(b.messages)), C.uintptr_t(user))
}

func (b *batch) enqueue(handle C.fanfare_t) C.int32_t {
	return C.fanfare_publish_batch(handle, &b.messages[0], C.size_t(len(b.messages)), 0, nil)
}

func (b *batch) free() {
	C.free(unsafe.Pointer(&b.messages[0]))
	C.free(b.bytes)
	C.free(b.also)
}
