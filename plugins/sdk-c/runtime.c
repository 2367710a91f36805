// What C needs beneath it: memory, a few functions on bytes, and a way to end. Nothing of this is
// imported; the only memory is the plugin's own.
#include "plugin.h"
#include <stdlib.h>
#include <string.h>

// Memory. Blocks have sizes of 16, 32, 64, ... bytes with a head before each; a freed block goes to
// the list of its size and is taken from there again. Blocks are never split or joined.

enum { HEAD = 16, SIZES = 28, PAGE = 65536 };

typedef struct head {
    struct head *next; // the next free block, while this one is free
    uint32_t size;     // index of its size: 16 << size bytes
} head;

_Static_assert(sizeof(head) <= HEAD, "the head of a block fits");

extern unsigned char __heap_base; // set by the linker: where the plugin's own data end

static head *free_blocks[SIZES];
static uintptr_t fresh; // memory from here to `end` was never used
static uintptr_t end;

static bool reserve(uintptr_t bytes) {
    if (fresh == 0) {
        fresh = ((uintptr_t)&__heap_base + HEAD - 1) / HEAD * HEAD;
        end = __builtin_wasm_memory_size(0) * PAGE;
    }
    if (bytes > UINT32_MAX - PAGE - fresh) return false;
    if (fresh + bytes <= end) return true;
    uintptr_t pages = (fresh + bytes - end + PAGE - 1) / PAGE;
    if (__builtin_wasm_memory_grow(0, pages) == (size_t)-1) return false;
    end += pages * PAGE;
    return true;
}

void *malloc(size_t bytes) {
    uint32_t size = 0;
    while (size < SIZES && ((size_t)16 << size) < bytes) size++;
    if (size == SIZES) return NULL;
    head *block = free_blocks[size];
    if (block) {
        free_blocks[size] = block->next;
    } else {
        uintptr_t whole = HEAD + ((uintptr_t)16 << size);
        if (!reserve(whole)) return NULL;
        block = (head *)fresh;
        fresh += whole;
    }
    block->size = size;
    return (unsigned char *)block + HEAD;
}

static bool is_ours(const void *block) {
    return (uintptr_t)block >= (uintptr_t)&__heap_base;
}

void free(void *block) {
    // The bindings free what a plugin answers, which may be a literal.
    if (!is_ours(block)) return;
    head *freed = (head *)((unsigned char *)block - HEAD);
    freed->next = free_blocks[freed->size];
    free_blocks[freed->size] = freed;
}

void *calloc(size_t count, size_t size) {
    if (size != 0 && count > SIZE_MAX / size) return NULL;
    void *block = malloc(count * size);
    return block ? memset(block, 0, count * size) : NULL;
}

void *realloc(void *block, size_t bytes) {
    if (!is_ours(block)) return malloc(bytes);
    size_t room = (size_t)16 << ((head *)((unsigned char *)block - HEAD))->size;
    if (bytes <= room) return block;
    void *larger = malloc(bytes);
    if (!larger) return NULL;
    memcpy(larger, block, room);
    free(block);
    return larger;
}

// Bytes.

void *memcpy(void *restrict to, const void *restrict from, size_t size) {
    return __builtin_memcpy(to, from, size);
}

void *memmove(void *to, const void *from, size_t size) {
    return __builtin_memmove(to, from, size);
}

void *memset(void *block, int byte, size_t size) {
    return __builtin_memset(block, byte, size);
}

int memcmp(const void *left, const void *right, size_t size) {
    const unsigned char *one = left, *other = right;
    for (size_t i = 0; i < size; i++) {
        if (one[i] != other[i]) return one[i] - other[i];
    }
    return 0;
}

size_t strlen(const char *words) {
    size_t length = 0;
    while (words[length]) length++;
    return length;
}

int strcmp(const char *left, const char *right) {
    while (*left && *left == *right) left++, right++;
    return (unsigned char)*left - (unsigned char)*right;
}

// The end. The host shows the last message of level `error` as the reason of a trap.

_Noreturn void abort(void) {
    static char reason[] = "the plugin called abort(); out of memory, if it did not call it itself";
    plugin_string_t message = {(uint8_t *)reason, sizeof reason - 1};
    log_write(LOG_LEVEL_ERROR, &message);
    __builtin_trap();
}
