// Loss hook `focal`: the mean over the pictures of -sum_c y_c (1 - p_c)^gamma log p_c, where p is the
// softmax of the logits (Lin et al., 2017). The targets y are the soft targets when labels were mixed,
// else the one-hot class ids.
#include "incubate.h"

static double gamma_;

void exports_description_describe(exports_description_plugin_info_t *info) {
    parameter_t gamma = parameter_number(
        "gamma", "How much less pictures weigh that are classified well; 0 is cross-entropy", 2.0);
    gamma.minimum = at(0.0);
    describe(info, &gamma, 1);
}

bool exports_loss_configure(exports_loss_list_setting_t *settings, fault_t *fault) {
    bool done = setting_number(settings->ptr, settings->len, "gamma", &gamma_, fault);
    exports_loss_list_setting_free(settings);
    return done;
}

exports_loss_features_t exports_loss_needs(void) { return 0; }

bool exports_loss_compute(exports_loss_step_t *step, exports_loss_inputs_t *inputs,
                          tensor_t *answer, fault_t *fault) {
    composition_t all = begin(fault);
    tensor_t targets = inputs->soft_targets.is_some
                           ? inputs->soft_targets.val
                           : tensor_one_hot(&all, inputs->class_ids, step->classes);
    tensor_t log_p = tensor_log_softmax(&all, inputs->logits, -1);
    // 1 - p is kept above 0, where the derivative of a power below 1 has no value.
    tensor_t miss = tensor_affine(&all, tensor_exp(&all, log_p), -1.0f, 1.0f);
    tensor_t weight = tensor_powf(&all, tensor_clamp(&all, miss, 1e-7f, 1.0f), (float)gamma_);
    tensor_t terms = tensor_mul(&all, targets, tensor_mul(&all, weight, log_p));
    tensor_t loss = tensor_affine(&all, tensor_total(&all, terms), -1.0f / step->pictures, 0.0f);
    bool done = finish(&all, loss, answer);
    exports_loss_inputs_free(inputs);
    return done;
}

void exports_loss_save(plugin_list_u8_t *state) { save_nothing(state); }

bool exports_loss_restore(plugin_list_u8_t *state, fault_t *fault) {
    return restore_nothing(state, fault);
}
