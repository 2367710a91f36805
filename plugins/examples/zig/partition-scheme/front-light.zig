//! Partition scheme `front-light`: n / K blocks for every module; the remainder, one each, to the
//! last modules, so that the first ones are the light ones.

const std = @import("std");
const c = @import("incubate");

pub const panic = std.debug.FullPanic(report);

/// Has the host show the message of a panic.
fn report(message: []const u8, _: ?usize) noreturn {
    var text: c.plugin_string_t = .{ .ptr = @constCast(message.ptr), .len = message.len };
    c.log_write(c.LOG_LEVEL_ERROR, &text);
    @trap();
}

var meta_depth: i64 = 1;

export fn exports_description_describe(info: *c.exports_description_plugin_info_t) void {
    var parameter = c.parameter_integer("meta_depth", "Blocks of every meta module", 1);
    parameter.minimum = c.at(1.0);
    c.describe(info, &parameter, 1);
}

export fn exports_partition_configure(settings: *c.exports_partition_list_setting_t, fault: *c.fault_t) bool {
    defer c.exports_partition_list_setting_free(settings);
    return c.setting_integer(settings.ptr, settings.len, "meta_depth", &meta_depth, fault);
}

export fn exports_partition_divide(request: *c.exports_partition_request_t, depths: *c.exports_partition_list_module_depth_t, fault: *c.fault_t) bool {
    defer c.exports_partition_request_free(request);
    const blocks: c_uint = request.blocks.len;
    const modules: c_uint = request.modules;
    if (modules == 0 or modules > blocks) {
        _ = c.fail(fault, "%u modules cannot divide %u blocks", modules, blocks);
        return c.hint(fault, "take from 1 module to as many as there are blocks");
    }
    const depth = blocks / modules;
    const deeper = blocks % modules;
    // The first module is the shallowest.
    if (meta_depth > depth) {
        _ = c.fail(fault, "`meta_depth` is %d, and a target module has %u blocks", meta_depth, depth);
        return c.hint(fault, "take a smaller `meta_depth` or fewer modules");
    }
    const memory = c.calloc(modules, @sizeOf(c.exports_partition_module_depth_t)) orelse c.abort();
    const list: [*]c.exports_partition_module_depth_t = @ptrCast(@alignCast(memory));
    for (list[0..modules], 0..) |*module, index| {
        const more: u32 = @intFromBool(index >= modules - deeper);
        module.* = .{ .target = depth + more, .meta = @intCast(meta_depth) };
    }
    depths.* = .{ .ptr = list, .len = modules };
    return true;
}
