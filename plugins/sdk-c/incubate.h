// The SDK for plugins in C: short ways to say what the bindings (plugin.h) say at length.
//
//   text, is, say           texts and messages
//   fail, panic             errors
//   parameter_*, describe   what a plugin is and what can be set
//   setting_*               the values of the parameters
//   begin, tensor_*, finish a loss composed of tensors
//
// Functions that can fail answer false and fill a fault, so that they chain with `&&`.
#pragma once

#include "manifest.h" // PLUGIN_NAME, PLUGIN_VERSION, PLUGIN_DESCRIPTION, from plugin.toml
#include "plugin.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef types_fault_t fault_t;
typedef types_parameter_t parameter_t;
typedef types_setting_t setting_t;

// --- Texts ---

// A text of the contract for words that stay, such as a literal.
static inline plugin_string_t text(const char *words) {
    return (plugin_string_t){(uint8_t *)words, strlen(words)};
}

// Whether a text has these words.
static inline bool is(plugin_string_t given, const char *words) {
    return given.len == strlen(words) && memcmp(given.ptr, words, given.len) == 0;
}

// A new text from a pattern: %s takes a `const char *`, %u an `unsigned`, %d an `int64_t`; %%
// is a per cent sign.
plugin_string_t say(const char *pattern, ...);

// --- Errors ---

// Fills a fault and answers false: `return fail(fault, "`depth` is %u", depth)`. The message is one
// sentence without a full stop that says what is wrong, with the value.
bool fail(fault_t *fault, const char *pattern, ...);

// Says what to do next about the fault that was just filled; answers false.
static inline bool hint(fault_t *fault, const char *words) {
    fault->hint = (plugin_option_string_t){true, text(words)};
    return false;
}

// Ends the call with a message that the host shows.
_Noreturn static inline void panic(const char *words) {
    plugin_string_t message = text(words);
    log_write(LOG_LEVEL_ERROR, &message);
    __builtin_trap();
}

// --- What a plugin is ---

static inline plugin_option_f64_t at(double bound) { return (plugin_option_f64_t){true, bound}; }

// A number with its default; bounds are set in `minimum` and `maximum`, as in
// `parameter.minimum = at(0.0)`.
static inline parameter_t parameter_number(const char *name, const char *summary, double value) {
    return (parameter_t){
        .name = text(name),
        .summary = text(summary),
        .kind = TYPES_SETTING_KIND_NUMBER,
        .default_ = {true, {.tag = TYPES_SETTING_VALUE_NUMBER, .val.number = value}},
    };
}

// A whole number with its default.
static inline parameter_t parameter_integer(const char *name, const char *summary, int64_t value) {
    return (parameter_t){
        .name = text(name),
        .summary = text(summary),
        .kind = TYPES_SETTING_KIND_INTEGER,
        .default_ = {true, {.tag = TYPES_SETTING_VALUE_INTEGER, .val.integer = value}},
    };
}

// Answers `description.describe`: name, version, and summary are those of plugin.toml.
static inline void describe(exports_description_plugin_info_t *info, parameter_t *parameters,
                            size_t count) {
    info->name = text(PLUGIN_NAME);
    info->version = text(PLUGIN_VERSION);
    info->summary = text(PLUGIN_DESCRIPTION);
    // The bindings free what they have sent, so they get a list of their own.
    info->parameters.ptr = malloc(count * sizeof(parameter_t));
    if (count > 0 && !info->parameters.ptr) abort();
    memcpy(info->parameters.ptr, parameters, count * sizeof(parameter_t));
    info->parameters.len = count;
}

// --- The values of the parameters ---

// The value of a parameter, or NULL when it was not given.
static inline const types_setting_value_t *setting_find(const setting_t *settings, size_t count,
                                                        const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (is(settings[i].name, name)) return &settings[i].value;
    }
    return NULL;
}

// The number `name`.
static inline bool setting_number(const setting_t *settings, size_t count, const char *name,
                                  double *value, fault_t *fault) {
    const types_setting_value_t *found = setting_find(settings, count, name);
    if (!found) return fail(fault, "`%s` was not given", name);
    if (found->tag != TYPES_SETTING_VALUE_NUMBER) return fail(fault, "`%s` is no number", name);
    *value = found->val.number;
    return true;
}

// The whole number `name`.
static inline bool setting_integer(const setting_t *settings, size_t count, const char *name,
                                   int64_t *value, fault_t *fault) {
    const types_setting_value_t *found = setting_find(settings, count, name);
    if (!found) return fail(fault, "`%s` was not given", name);
    if (found->tag != TYPES_SETTING_VALUE_INTEGER) {
        return fail(fault, "`%s` is no whole number", name);
    }
    *value = found->val.integer;
    return true;
}

// --- Loss hooks: composing tensors ---

#ifdef TENSORS_ELEMENT_TYPE_FLOAT

typedef tensors_own_tensor_t tensor_t;

// A loss under composition. Operations that follow a failed one do nothing, so the fault is looked
// at once, at the end; everything that was made on the way is dropped there.
typedef struct {
    fault_t *fault;
    bool failed;
    tensor_t *made;
    size_t count, room;
} composition_t;

static inline composition_t begin(fault_t *fault) { return (composition_t){.fault = fault}; }

// Has a tensor dropped at the end.
static inline tensor_t tensor_keep(composition_t *all, tensor_t made) {
    if (all->count == all->room) {
        all->room = all->room ? 2 * all->room : 16;
        all->made = realloc(all->made, all->room * sizeof(tensor_t));
        if (!all->made) abort();
    }
    all->made[all->count++] = made;
    return made;
}

// Drops what was made but for the answer, which is given to the host. Answers whether all went well.
static inline bool finish(composition_t *all, tensor_t loss, tensor_t *answer) {
    for (size_t i = 0; i < all->count; i++) {
        if (all->failed || all->made[i].__handle != loss.__handle) {
            tensors_tensor_drop_own(all->made[i]);
        }
    }
    free(all->made);
    if (!all->failed) *answer = loss;
    return !all->failed;
}

#define TENSOR_SELF tensors_borrow_tensor(self)
#define TENSOR_OTHER tensors_borrow_tensor(other)
#define TENSOR_OPERATION(name, parameters, arguments)                                             \
    static inline tensor_t tensor_##name parameters {                                             \
        tensor_t made = {0};                                                                      \
        if (all->failed) return made;                                                             \
        if (!tensors_method_tensor_##name arguments) {                                            \
            all->failed = true;                                                                   \
            return made;                                                                          \
        }                                                                                         \
        return tensor_keep(all, made);                                                            \
    }
#define TENSOR_BINARY(name)                                                                       \
    TENSOR_OPERATION(name, (composition_t * all, tensor_t self, tensor_t other),                  \
                     (TENSOR_SELF, TENSOR_OTHER, &made, all->fault))
#define TENSOR_UNARY(name)                                                                        \
    TENSOR_OPERATION(name, (composition_t * all, tensor_t self), (TENSOR_SELF, &made, all->fault))

// The operations of `tensors` in the contract, where their comments stand: tensor_add(&all, a, b).
TENSOR_BINARY(add)
TENSOR_BINARY(sub)
TENSOR_BINARY(mul)
TENSOR_BINARY(div)
TENSOR_BINARY(matmul)
TENSOR_UNARY(exp)
TENSOR_UNARY(log)
TENSOR_UNARY(abs)
TENSOR_UNARY(log_sigmoid)
TENSOR_UNARY(detach)
TENSOR_OPERATION(affine, (composition_t * all, tensor_t self, float scale, float shift),
                 (TENSOR_SELF, scale, shift, &made, all->fault))
TENSOR_OPERATION(powf, (composition_t * all, tensor_t self, float exponent),
                 (TENSOR_SELF, exponent, &made, all->fault))
TENSOR_OPERATION(clamp, (composition_t * all, tensor_t self, float minimum, float maximum),
                 (TENSOR_SELF, minimum, maximum, &made, all->fault))
TENSOR_OPERATION(log_softmax, (composition_t * all, tensor_t self, int32_t dim),
                 (TENSOR_SELF, dim, &made, all->fault))
TENSOR_OPERATION(transpose, (composition_t * all, tensor_t self, int32_t first, int32_t second),
                 (TENSOR_SELF, first, second, &made, all->fault))
TENSOR_OPERATION(slice, (composition_t * all, tensor_t self, int32_t dim, uint32_t start, uint32_t stop),
                 (TENSOR_SELF, dim, start, stop, &made, all->fault))
TENSOR_OPERATION(one_hot, (composition_t * all, tensor_t self, uint32_t classes),
                 (TENSOR_SELF, classes, &made, all->fault))
TENSOR_OPERATION(greater, (composition_t * all, tensor_t self, float threshold),
                 (TENSOR_SELF, threshold, &made, all->fault))
TENSOR_OPERATION(argmax, (composition_t * all, tensor_t self, int32_t dim),
                 (TENSOR_SELF, dim, &made, all->fault))
TENSOR_OPERATION(reshape, (composition_t * all, tensor_t self, plugin_list_u32_t shape),
                 (TENSOR_SELF, &shape, &made, all->fault))
TENSOR_OPERATION(sum, (composition_t * all, tensor_t self, plugin_list_s32_t dims),
                 (TENSOR_SELF, &dims, &made, all->fault))

#undef TENSOR_UNARY
#undef TENSOR_BINARY
#undef TENSOR_OPERATION
#undef TENSOR_OTHER
#undef TENSOR_SELF

// The sum of all elements, as a scalar.
static inline tensor_t tensor_total(composition_t *all, tensor_t self) {
    return tensor_sum(all, self, (plugin_list_s32_t){0});
}

#endif

// --- Plugins that remember nothing ---

#if defined TENSORS_ELEMENT_TYPE_FLOAT || defined EXPORTS_SCHEDULE_INTERVAL_PER_EPOCH

// Answers `save`.
static inline void save_nothing(plugin_list_u8_t *state) { *state = (plugin_list_u8_t){NULL, 0}; }

// Answers `restore`: there is nothing to restore.
static inline bool restore_nothing(const plugin_list_u8_t *state, fault_t *fault) {
    return state->len == 0 || fail(fault, "the state has %u bytes, and this plugin remembers nothing",
                                   (unsigned)state->len);
}

#endif
