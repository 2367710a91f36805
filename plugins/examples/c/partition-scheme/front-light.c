// Partition scheme `front-light`: n / K blocks for every module; the remainder, one each, to the last
// modules, so that the first ones are the light ones.
#include "incubate.h"

static int64_t meta_depth;

void exports_description_describe(exports_description_plugin_info_t *info) {
    parameter_t depth = parameter_integer("meta_depth", "Blocks of every meta module", 1);
    depth.minimum = at(1.0);
    describe(info, &depth, 1);
}

bool exports_partition_configure(exports_partition_list_setting_t *settings, fault_t *fault) {
    bool done = setting_integer(settings->ptr, settings->len, "meta_depth", &meta_depth, fault);
    exports_partition_list_setting_free(settings);
    return done;
}

static bool divide(unsigned blocks, unsigned modules,
                   exports_partition_list_module_depth_t *depths, fault_t *fault) {
    if (modules == 0 || modules > blocks) {
        fail(fault, "%u modules cannot divide %u blocks", modules, blocks);
        return hint(fault, "take from 1 module to as many as there are blocks");
    }
    unsigned depth = blocks / modules, deeper = blocks % modules;
    // The first module is the shallowest.
    if (meta_depth > depth) {
        fail(fault, "`meta_depth` is %d, and a target module has %u blocks", meta_depth, depth);
        return hint(fault, "take a smaller `meta_depth` or fewer modules");
    }
    depths->len = modules;
    depths->ptr = calloc(modules, sizeof *depths->ptr);
    if (!depths->ptr) abort();
    for (unsigned module = 0; module < modules; module++) {
        depths->ptr[module].target = depth + (module >= modules - deeper);
        depths->ptr[module].meta = (uint32_t)meta_depth;
    }
    return true;
}

bool exports_partition_divide(exports_partition_request_t *request,
                              exports_partition_list_module_depth_t *depths, fault_t *fault) {
    bool done = divide(request->blocks.len, request->modules, depths, fault);
    exports_partition_request_free(request);
    return done;
}
