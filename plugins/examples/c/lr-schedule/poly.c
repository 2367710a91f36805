// Learning-rate schedule `poly`: end_rate + (base_rate - end_rate) * (1 - epoch / epochs)^power.
#include "incubate.h"

static double power, end_rate;

void exports_description_describe(exports_description_plugin_info_t *info) {
    parameter_t parameters[] = {
        parameter_number("power", "The power of the decay; 1 is a straight line", 1.0),
        parameter_number("end_rate", "The rate at the end of the phase", 0.0),
    };
    parameters[0].minimum = parameters[1].minimum = at(0.0);
    describe(info, parameters, 2);
}

bool exports_schedule_configure(exports_schedule_list_setting_t *settings, fault_t *fault) {
    bool done = setting_number(settings->ptr, settings->len, "power", &power, fault) &&
                setting_number(settings->ptr, settings->len, "end_rate", &end_rate, fault);
    exports_schedule_list_setting_free(settings);
    return done;
}

exports_schedule_interval_t exports_schedule_stepping(void) {
    return EXPORTS_SCHEDULE_INTERVAL_PER_EPOCH;
}

bool exports_schedule_rate(exports_schedule_moment_t *moment, double *rate, fault_t *fault) {
    double remaining = 1.0 - moment->epoch / moment->epochs;
    *rate = end_rate + (moment->base_rate - end_rate) * pow(remaining, power);
    exports_schedule_moment_free(moment);
    return true;
}

bool exports_schedule_observe(exports_schedule_moment_t *moment,
                              exports_schedule_list_metric_t *metrics, fault_t *fault) {
    exports_schedule_moment_free(moment);
    exports_schedule_list_metric_free(metrics);
    return true;
}

void exports_schedule_save(plugin_list_u8_t *state) { save_nothing(state); }

bool exports_schedule_restore(plugin_list_u8_t *state, fault_t *fault) {
    return restore_nothing(state, fault);
}
