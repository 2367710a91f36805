//! Learning-rate schedule `poly`: end_rate + (base_rate - end_rate) * (1 - epoch / epochs)^power.

const std = @import("std");
const c = @import("incubate");

pub const panic = std.debug.FullPanic(report);

/// Has the host show the message of a panic.
fn report(message: []const u8, _: ?usize) noreturn {
    var text: c.plugin_string_t = .{ .ptr = @constCast(message.ptr), .len = message.len };
    c.log_write(c.LOG_LEVEL_ERROR, &text);
    @trap();
}

var power: f64 = 1.0;
var end_rate: f64 = 0.0;

export fn exports_description_describe(info: *c.exports_description_plugin_info_t) void {
    var parameters = [_]c.parameter_t{
        c.parameter_number("power", "The power of the decay; 1 is a straight line", 1.0),
        c.parameter_number("end_rate", "The rate at the end of the phase", 0.0),
    };
    for (&parameters) |*parameter| parameter.minimum = c.at(0.0);
    c.describe(info, &parameters, parameters.len);
}

export fn exports_schedule_configure(settings: *c.exports_schedule_list_setting_t, fault: *c.fault_t) bool {
    defer c.exports_schedule_list_setting_free(settings);
    return c.setting_number(settings.ptr, settings.len, "power", &power, fault) and
        c.setting_number(settings.ptr, settings.len, "end_rate", &end_rate, fault);
}

export fn exports_schedule_stepping() c.exports_schedule_interval_t {
    return c.EXPORTS_SCHEDULE_INTERVAL_PER_EPOCH;
}

export fn exports_schedule_rate(moment: *c.exports_schedule_moment_t, rate: *f64, _: *c.fault_t) bool {
    defer c.exports_schedule_moment_free(moment);
    const epochs: f64 = @floatFromInt(moment.epochs);
    rate.* = end_rate + (moment.base_rate - end_rate) * c.pow(1.0 - moment.epoch / epochs, power);
    return true;
}

export fn exports_schedule_observe(moment: *c.exports_schedule_moment_t, metrics: *c.exports_schedule_list_metric_t, _: *c.fault_t) bool {
    c.exports_schedule_moment_free(moment);
    c.exports_schedule_list_metric_free(metrics);
    return true;
}

export fn exports_schedule_save(state: *c.plugin_list_u8_t) void {
    c.save_nothing(state);
}

export fn exports_schedule_restore(state: *c.plugin_list_u8_t, fault: *c.fault_t) bool {
    return c.restore_nothing(state, fault);
}
