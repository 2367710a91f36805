// The part of <stdlib.h> that plugins have: memory, and the end of everything.
#pragma once
#include <stddef.h>

void *malloc(size_t size);
void *calloc(size_t count, size_t size);
void *realloc(void *block, size_t size);
// Memory that did not come from `malloc`, such as a literal, is left alone.
void free(void *block);
_Noreturn void abort(void);
