// Messages with values in them.
#include "incubate.h"
#include <stdarg.h>

static plugin_string_t say_list(const char *pattern, va_list values) {
    size_t room = 64, length = 0;
    char *words = malloc(room);
    if (!words) abort();
    for (; *pattern; pattern++) {
        char digits[24];
        const char *part = pattern;
        size_t size = 1;
        if (pattern[0] == '%' && pattern[1] == '%') {
            pattern++;
        } else if (pattern[0] == '%' && pattern[1] == 's') {
            part = va_arg(values, const char *), size = strlen(part), pattern++;
        } else if (pattern[0] == '%' && (pattern[1] == 'u' || pattern[1] == 'd')) {
            bool with_sign = pattern[1] == 'd';
            int64_t value = with_sign ? va_arg(values, int64_t) : (int64_t)va_arg(values, unsigned);
            uint64_t rest = value < 0 ? -(uint64_t)value : (uint64_t)value;
            char *first = digits + sizeof digits;
            do *--first = '0' + rest % 10; while (rest /= 10);
            if (value < 0) *--first = '-';
            part = first, size = (size_t)(digits + sizeof digits - first), pattern++;
        }
        while (length + size > room) {
            words = realloc(words, room *= 2);
            if (!words) abort();
        }
        memcpy(words + length, part, size);
        length += size;
    }
    return (plugin_string_t){(uint8_t *)words, length};
}

plugin_string_t say(const char *pattern, ...) {
    va_list values;
    va_start(values, pattern);
    plugin_string_t said = say_list(pattern, values);
    va_end(values);
    return said;
}

bool fail(fault_t *fault, const char *pattern, ...) {
    va_list values;
    va_start(values, pattern);
    *fault = (fault_t){
        .code = TYPES_FAULT_CODE_INVALID_INPUT,
        .message = say_list(pattern, values),
    };
    va_end(values);
    return false;
}
