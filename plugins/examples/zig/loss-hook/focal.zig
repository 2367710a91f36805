//! Loss hook `focal`: the mean over the pictures of -sum_c y_c (1 - p_c)^gamma log p_c, where p is
//! the softmax of the logits (Lin et al., 2017). The targets y are the soft targets when labels were
//! mixed, else the one-hot class ids.

const std = @import("std");
const c = @import("incubate");

pub const panic = std.debug.FullPanic(report);

/// Has the host show the message of a panic.
fn report(message: []const u8, _: ?usize) noreturn {
    var text: c.plugin_string_t = .{ .ptr = @constCast(message.ptr), .len = message.len };
    c.log_write(c.LOG_LEVEL_ERROR, &text);
    @trap();
}

var gamma: f64 = 2.0;

export fn exports_description_describe(info: *c.exports_description_plugin_info_t) void {
    var parameter = c.parameter_number(
        "gamma",
        "How much less pictures weigh that are classified well; 0 is cross-entropy",
        2.0,
    );
    parameter.minimum = c.at(0.0);
    c.describe(info, &parameter, 1);
}

export fn exports_loss_configure(settings: *c.exports_loss_list_setting_t, fault: *c.fault_t) bool {
    defer c.exports_loss_list_setting_free(settings);
    return c.setting_number(settings.ptr, settings.len, "gamma", &gamma, fault);
}

export fn exports_loss_needs() c.exports_loss_features_t {
    return 0;
}

export fn exports_loss_compute(step: *c.exports_loss_step_t, inputs: *c.exports_loss_inputs_t, answer: *c.tensor_t, fault: *c.fault_t) bool {
    defer c.exports_loss_inputs_free(inputs);
    var all = c.begin(fault);
    const targets = if (inputs.soft_targets.is_some)
        inputs.soft_targets.val
    else
        c.tensor_one_hot(&all, inputs.class_ids, step.classes);
    const log_p = c.tensor_log_softmax(&all, inputs.logits, -1);
    // 1 - p is kept above 0, where the derivative of a power below 1 has no value.
    const miss = c.tensor_affine(&all, c.tensor_exp(&all, log_p), -1.0, 1.0);
    const weight = c.tensor_powf(&all, c.tensor_clamp(&all, miss, 1e-7, 1.0), @floatCast(gamma));
    const terms = c.tensor_mul(&all, targets, c.tensor_mul(&all, weight, log_p));
    const pictures: f32 = @floatFromInt(step.pictures);
    const loss = c.tensor_affine(&all, c.tensor_total(&all, terms), -1.0 / pictures, 0.0);
    return c.finish(&all, loss, answer);
}

export fn exports_loss_save(state: *c.plugin_list_u8_t) void {
    c.save_nothing(state);
}

export fn exports_loss_restore(state: *c.plugin_list_u8_t, fault: *c.fault_t) bool {
    return c.restore_nothing(state, fault);
}
