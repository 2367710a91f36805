"""Makes tables.json: rates of timm, torch, and Transformers, and of formulas where none of them has
the schedule, each beside the plugin and the parameters that must give the same rates.

    python3 -m venv --system-site-packages VENV     # torch, Debian's python3-torch for instance
    VENV/bin/pip install --no-deps timm==1.0.31 transformers==5.23.0
    VENV/bin/pip install safetensors huggingface-hub pyyaml packaging tqdm regex typer
    VENV/bin/python tests/schedules/tables.py > tests/schedules/tables.json
"""

import json
import math
import sys
import types
import warnings

import numpy
import timm
import timm.scheduler as timm_schedulers
import torch
from torch.optim import lr_scheduler as torch_schedulers

# Transformers asks for a newer torch than its schedules need, and leaves out what this module takes
# its dummies from.
stub = types.ModuleType("transformers.trainer_pt_utils")
stub.LayerWiseDummyOptimizer = stub.LayerWiseDummyScheduler = object
sys.modules[stub.__name__] = stub
import transformers  # noqa: E402
from transformers import optimization as hf  # noqa: E402

warnings.simplefilter("ignore")

EPOCHS = 30
UPDATES = 7  # of an epoch
LENGTH = EPOCHS * UPDATES
BASE = 1e-3

cases = []


def add(source, plugin, parameters, rates, observations=None):
    """A case; the number of rates says whether they are for epochs or for updates."""
    per = {EPOCHS: "epoch", LENGTH: "update"}[len(rates)]
    case = {
        "source": source,
        "plugin": plugin,
        "parameters": {"per": per, **parameters},
        "rates": rates,
    }
    if observations is not None:
        case["observations"] = observations
    cases.append(case)


def optimizer():
    return torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=BASE)


def rate_of(the_optimizer):
    return the_optimizer.param_groups[0]["lr"]


# timm


def timm_rates(name, per, **options):
    the_optimizer = optimizer()
    schedule = getattr(timm_schedulers, name)(
        the_optimizer, t_in_epochs=per == "epoch", **options
    )
    rates = []
    for time in range(EPOCHS if per == "epoch" else LENGTH):
        (schedule.step if per == "epoch" else schedule.step_update)(time)
        rates.append(rate_of(the_optimizer))
    return rates


def add_timm(name, per, options, plugin, parameters):
    words = ", ".join(f"{key}={value!r}" for key, value in options.items())
    add(f"timm {name}({words})", plugin, parameters, timm_rates(name, per, **options))


WARM = {"warmup_t": 5, "warmup_lr_init": 1e-6}
OUR_WARM = {"warmup": 5, "warmup_rate": 1e-6}
add_timm(
    "CosineLRScheduler",
    "epoch",
    {"t_initial": 30, "lr_min": 1e-5, **WARM},
    "cosine",
    {"min_rate": 1e-5, **OUR_WARM},
)
add_timm(
    "CosineLRScheduler",
    "epoch",
    {"t_initial": 25, "lr_min": 1e-5, "warmup_prefix": True, **WARM},
    "cosine",
    {"min_rate": 1e-5, "warmup_prefix": True, **OUR_WARM},
)
add_timm(
    "CosineLRScheduler",
    "update",
    {"t_initial": 210, "lr_min": 1e-5, "warmup_t": 35, "warmup_lr_init": 1e-6},
    "cosine",
    {"min_rate": 1e-5, "warmup": "35up", "warmup_rate": 1e-6},
)
add_timm(
    "CosineLRScheduler",
    "epoch",
    {"t_initial": 4, "lr_min": 1e-6, "cycle_mul": 2.0, "cycle_decay": 0.5, "cycle_limit": 3},
    "cosine",
    {
        "min_rate": 1e-6,
        "cycle_epochs": 4,
        "cycle_mul": 2,
        "cycle_decay": 0.5,
        "cycle_decay_min": False,
        "cycles": 3,
    },
)
add_timm(
    "CosineLRScheduler",
    "update",
    {
        "t_initial": 63,
        "k_decay": 1.5,
        "cycle_decay": 0.3,
        "cycle_limit": 3,
        "warmup_t": 21,
        "warmup_lr_init": 1e-6,
        "warmup_prefix": True,
    },
    "cosine",
    {
        "min_rate": 0,
        "cycles": 3,
        "cycle_decay": 0.3,
        "k_decay": 1.5,
        "warmup": "10%",
        "warmup_rate": 1e-6,
        "warmup_prefix": True,
    },
)
add_timm(
    "PolyLRScheduler",
    "epoch",
    {"t_initial": 30, "lr_min": 1e-6, "power": 0.5, **WARM},
    "polynomial",
    {"power": 0.5, "min_rate": 1e-6, **OUR_WARM},
)
add_timm(
    "PolyLRScheduler",
    "update",
    {"t_initial": 105, "power": 2.0, "k_decay": 1.5, "cycle_decay": 0.2, "cycle_limit": 2},
    "polynomial",
    {"power": 2, "k_decay": 1.5, "cycle_decay": 0.2, "cycles": 2},
)
add_timm(
    "TanhLRScheduler",
    "epoch",
    {"t_initial": 30, "lr_min": 1e-5, **WARM},
    "tanh",
    {"lower": -7, "upper": 3, "min_rate": 1e-5, **OUR_WARM},
)
add_timm(
    "TanhLRScheduler",
    "epoch",
    {"t_initial": 25, "lb": -4.0, "ub": 4.0, "warmup_prefix": True, **WARM},
    "tanh",
    {
        "min_rate": 0,
        "lower": -4,
        "upper": 4,
        "warmup_prefix": True,
        "warmup_to": "base",
        **OUR_WARM,
    },
)
add_timm(
    "TanhLRScheduler",
    "update",
    {"t_initial": 30, "cycle_mul": 2.0, "cycle_decay": 0.5, "cycle_limit": 3, "lr_min": 1e-6},
    "tanh",
    {
        "lower": -7,
        "upper": 3,
        "min_rate": 1e-6,
        "cycles": 3,
        "cycle_mul": 2,
        "cycle_decay": 0.5,
        "cycle_decay_min": False,
    },
)
add_timm(
    "StepLRScheduler",
    "epoch",
    {"decay_t": 2.4, "decay_rate": 0.97, "warmup_prefix": True, **WARM},
    "step",
    {"every": 2.4, "factor": 0.97, "warmup_prefix": True, **OUR_WARM},
)
add_timm(
    "StepLRScheduler",
    "update",
    {"decay_t": 50, "decay_rate": 0.5, "warmup_prefix": False, "warmup_t": 14},
    "step",
    {"every": "50up", "factor": 0.5, "warmup": 2, "warmup_rate": 0},
)
# A milestone of timm is one step later here, where it is the step at which the rate changes.
add_timm(
    "MultiStepLRScheduler",
    "epoch",
    {"decay_t": [10, 16, 25], "decay_rate": 0.1, "warmup_prefix": False, **WARM},
    "step",
    {"milestones": [9, 15, 24], "factor": 0.1, **OUR_WARM},
)
for shape in ["linear", "cosine", "1-sqrt"]:
    add_timm(
        "WSDLRScheduler",
        "update",
        {
            "t_initial": 189,
            "decay_t": 60,
            "lr_min": 1e-5,
            "decay_fn": shape,
            "warmup_t": 21,
            "warmup_lr_init": 1e-6,
        },
        "wsd",
        {"decay": "60up", "shape": shape, "min_rate": 1e-5, "warmup": 3, "warmup_rate": 1e-6},
    )
add_timm(
    "WSDLRScheduler",
    "update",
    {
        "t_initial": 182,
        "decay_t": 42,
        "lr_min": 1e-6,
        "stable_fn": "rsqrt",
        "decay_fn": "linear",
        "warmup_t": 28,
        "warmup_lr_init": 1e-6,
    },
    "inverse-sqrt",
    {"warmup": "28up", "warmup_rate": 1e-6, "cooldown": "20%", "shape": "linear", "min_rate": 1e-6},
)

# A loss that falls, stays, and rises, with a value that is no number.
LOSSES = [
    2.0 * math.exp(-epoch / 4) + 0.2 * abs(math.sin(2.5 * epoch)) + 0.001 * epoch
    for epoch in range(EPOCHS)
]
LOSSES[20] = math.nan


def timm_plateau(losses, **options):
    """As timm's train.py steps it: with the number of finished epochs, after each."""
    the_optimizer = optimizer()
    schedule = timm_schedulers.PlateauLRScheduler(the_optimizer, **options)
    rates = []
    for epoch, loss in enumerate(losses):
        rates.append(rate_of(the_optimizer))
        schedule.step(epoch + 1, loss)
    return rates


def observed(values):
    """JSON has no word for what is not a number."""
    return [None if math.isnan(value) else value for value in values]


add(
    "timm PlateauLRScheduler(patience_t=1, decay_rate=0.5, cooldown_t=1, warmup_t=5, lr_min=2e-4)",
    "plateau",
    {"patience": 1, "factor": 0.5, "cooldown": 1, "min_rate": 2e-4, **OUR_WARM},
    timm_plateau(
        LOSSES, patience_t=1, decay_rate=0.5, cooldown_t=1, lr_min=2e-4, mode="min", **WARM
    ),
    observed(LOSSES),
)

# torch


def torch_rates(make, per, times=None):
    the_optimizer = optimizer()
    schedule = make(the_optimizer)
    # The closed forms where there are any: the others multiply from step to step.
    closed = getattr(schedule, "_get_closed_form_lr", None)
    rates = []
    for time in range(EPOCHS if per == "epoch" else LENGTH):
        if times is not None:
            schedule.step(times(time))
        rates.append(closed()[0] if closed else rate_of(the_optimizer))
        if times is None and len(rates) < LENGTH:
            the_optimizer.step()
            schedule.step()
    return rates


def add_torch(name, per, options, plugin, parameters, times=None):
    words = ", ".join(f"{key}={value!r}" for key, value in options.items())
    make = getattr(torch_schedulers, name)
    add(
        f"torch {name}({words})",
        plugin,
        parameters,
        torch_rates(lambda the_optimizer: make(the_optimizer, **options), per, times),
    )


add_torch("StepLR", "epoch", {"step_size": 7, "gamma": 0.3}, "step", {"every": 7, "factor": 0.3})
add_torch(
    "MultiStepLR",
    "update",
    {"milestones": [50, 105, 180], "gamma": 0.1},
    "step",
    {"milestones": ["50up", "50%", "180up"], "factor": 0.1},
)
add_torch("ExponentialLR", "epoch", {"gamma": 0.9}, "exponential", {"factor": 0.9})
add_torch(
    "ExponentialLR",
    "update",
    {"gamma": 0.97},
    "exponential",
    {"factor": 0.97, "every": "1up"},
)
add_torch("PolynomialLR", "epoch", {"total_iters": 30, "power": 2.0}, "polynomial", {"power": 2})
add_torch(
    "PolynomialLR",
    "epoch",
    {"total_iters": 20, "power": 1.5},
    "polynomial",
    {"power": 1.5, "cycle_epochs": 20},
)
add_torch(
    "LinearLR",
    "update",
    {"start_factor": 1.0, "end_factor": 0.1, "total_iters": 210},
    "polynomial",
    {"min_ratio": 0.1},
)
add_torch(
    "CosineAnnealingLR",
    "update",
    {"T_max": 210, "eta_min": 1e-6},
    "cosine",
    {"min_rate": 1e-6},
)
add_torch(
    "CosineAnnealingWarmRestarts",
    "epoch",
    {"T_0": 4, "T_mult": 2, "eta_min": 1e-6},
    "cosine",
    {"cycles": 0, "cycle_epochs": 4, "cycle_mul": 2, "min_rate": 1e-6},
)
add_torch(
    "CosineAnnealingWarmRestarts",
    "update",
    {"T_0": 50, "T_mult": 1},
    "cosine",
    {"cycles": 0, "cycle_epochs": "50up", "min_rate": 0},
)
add_torch(
    "CosineAnnealingWarmRestarts",
    "update",
    {"T_0": 3, "T_mult": 2, "eta_min": 1e-5},
    "cosine",
    {"cycles": 0, "cycle_epochs": 3, "cycle_mul": 2, "min_rate": 1e-5},
    times=lambda update: update / UPDATES,
)
for options, ours in [
    ({}, {}),
    (
        {"pct_start": 0.2, "div_factor": 10.0, "final_div_factor": 100.0},
        {"rise": 0.2, "div_factor": 10, "final_div_factor": 100},
    ),
    ({"anneal_strategy": "linear"}, {"shape": "linear"}),
    ({"three_phase": True}, {"three_phases": True}),
    (
        {"three_phase": True, "anneal_strategy": "linear", "pct_start": 0.4},
        {"three_phases": True, "shape": "linear", "rise": 0.4},
    ),
]:
    # The first parameter is the highest rate.
    add_torch(
        "OneCycleLR",
        "update",
        {"max_lr": BASE, "total_steps": LENGTH, **options},
        "one-cycle",
        ours,
    )


def torch_plateau(values, **options):
    the_optimizer = optimizer()
    schedule = torch_schedulers.ReduceLROnPlateau(the_optimizer, **options)
    rates = []
    for value in values:
        rates.append(rate_of(the_optimizer))
        schedule.step(value)
    return rates


for options, ours in [
    ({"patience": 2}, {"patience": 2}),
    (
        {"patience": 0, "factor": 0.7, "cooldown": 2, "threshold": 0.1, "min_lr": 1e-4},
        {"patience": 0, "factor": 0.7, "cooldown": 2, "threshold": 0.1, "min_rate": 1e-4},
    ),
    (
        {"patience": 1, "factor": 0.5, "threshold": 0.05, "threshold_mode": "abs", "eps": 1e-4},
        {
            "patience": 1,
            "factor": 0.5,
            "threshold": 0.05,
            "threshold_mode": "absolute",
            "min_change": 1e-4,
        },
    ),
    (
        {"mode": "max", "patience": 1, "factor": 0.5},
        {"mode": "max", "patience": 1, "factor": 0.5},
    ),
    (
        {"mode": "max", "patience": 0, "factor": 0.9, "threshold_mode": "abs"},
        {"mode": "max", "patience": 0, "factor": 0.9, "threshold_mode": "absolute"},
    ),
]:
    words = ", ".join(f"{key}={value!r}" for key, value in options.items())
    add(
        f"torch ReduceLROnPlateau({words})",
        "plateau",
        ours,
        torch_plateau(LOSSES, **options),
        observed(LOSSES),
    )

# Transformers


def add_hf(name, options, plugin, parameters):
    words = ", ".join(f"{key}={value!r}" for key, value in options.items())
    make = getattr(hf, name)
    rates = torch_rates(lambda the_optimizer: make(the_optimizer, **options), "update")
    add(f"Transformers {name}({words})", plugin, parameters, rates)


WHOLE = {"num_warmup_steps": 21, "num_training_steps": LENGTH}
FROM_ZERO = {"warmup": "21up", "warmup_rate": 0}
PREFIX = {"warmup_prefix": True, **FROM_ZERO}
add_hf("get_constant_schedule", {}, "constant", {})
add_hf("get_constant_schedule_with_warmup", {"num_warmup_steps": 21}, "constant", FROM_ZERO)
add_hf("get_linear_schedule_with_warmup", WHOLE, "polynomial", PREFIX)
add_hf("get_cosine_schedule_with_warmup", WHOLE, "cosine", {"min_rate": 0, **PREFIX})
add_hf(
    "get_cosine_schedule_with_warmup",
    {"num_cycles": 1.5, **WHOLE},
    "cosine",
    {"min_rate": 0, "waves": 1.5, **PREFIX},
)
add_hf(
    "get_cosine_with_hard_restarts_schedule_with_warmup",
    {"num_cycles": 4, **WHOLE},
    "cosine",
    {"min_rate": 0, "cycles": 4, **PREFIX},
)
add_hf(
    "get_cosine_with_min_lr_schedule_with_warmup",
    {"min_lr_rate": 0.1, **WHOLE},
    "cosine",
    {"min_ratio": 0.1, **PREFIX},
)
add_hf(
    "get_cosine_with_min_lr_schedule_with_warmup_lr_rate",
    {"min_lr_rate": 0.1, **WHOLE},
    "cosine",
    {"min_ratio": 0.1, "count_from": 1, **PREFIX},
)
add_hf(
    "get_polynomial_decay_schedule_with_warmup",
    {"lr_end": 1e-7, "power": 2.0, **WHOLE},
    "polynomial",
    {"min_rate": 1e-7, "power": 2, **PREFIX},
)
add_hf("get_inverse_sqrt_schedule", {"num_warmup_steps": 21}, "inverse-sqrt", FROM_ZERO)
add_hf("get_inverse_sqrt_schedule", {"num_warmup_steps": 0}, "inverse-sqrt", {})
add_hf(
    "get_inverse_sqrt_schedule",
    {"num_warmup_steps": 21, "timescale": 70},
    "inverse-sqrt",
    {"timescale": 10, **FROM_ZERO},
)
for rise, fall in [("linear", "cosine"), ("cosine", "1-sqrt"), ("1-sqrt", "linear")]:
    add_hf(
        "get_wsd_schedule",
        {
            "num_decay_steps": 63,
            "warmup_type": rise,
            "decay_type": fall,
            "min_lr_ratio": 0.05,
            **WHOLE,
        },
        "wsd",
        {
            "decay": "30%",
            "shape": fall,
            "min_ratio": 0.05,
            "warmup": "10%",
            "warmup_rate": 0.05 * BASE,
            "warmup_shape": rise,
        },
    )

# Formulas


def add_formula(words, plugin, parameters, formula, length=LENGTH):
    add(words, plugin, parameters, [float(formula(time)) for time in range(length)])


def noam(time):
    step = time + 1
    return BASE * 192**-0.5 * min(step**-0.5, step * 40**-1.5)


add_formula(
    "Vaswani et al. 2017, equation 3, with d_model = 192 and warmup_steps = 40, times 1e-3",
    "inverse-sqrt",
    {"width": 192, "warmup": "40up", "warmup_rate": 0, "count_from": 1},
    noam,
)
add_formula(
    "a geometric series from the base rate to a hundredth of it, not below a twentieth",
    "exponential",
    {"final_ratio": 0.01, "min_ratio": 0.05},
    lambda epoch: BASE * max(numpy.geomspace(1.0, 0.01, EPOCHS + 1)[epoch], 0.05),
    EPOCHS,
)
add_formula(
    "numpy.interp",
    "piecewise",
    {"at": ["0", "10%", "20ep", "100%"], "factors": [0, 1, 0.6, 0.05]},
    lambda time: BASE * numpy.interp(time, [0, 21, 140, 210], [0, 1, 0.6, 0.05]),
)
add_formula(
    "numpy.interp over the angle of a cosine",
    "piecewise",
    {"at": [0, 10, 24], "factors": [0.1, 1, 0.2], "between": "cosine"},
    lambda epoch: BASE
    * (
        0.1 + 0.9 * (1 - math.cos(math.pi * epoch / 10)) / 2
        if epoch < 10
        else 0.2 + 0.8 * (1 + math.cos(math.pi * min((epoch - 10) / 14, 1))) / 2
    ),
    EPOCHS,
)
add_formula(
    "numpy.interp of logarithms",
    "piecewise",
    {"at": ["0", "35up", "100%"], "factors": [0.01, 1, 0.001], "between": "exponential"},
    lambda time: BASE * math.exp(numpy.interp(time, [0, 35, 210], numpy.log([0.01, 1, 0.001]))),
)
add_formula(
    "numpy.searchsorted",
    "piecewise",
    {"at": [0, 3, 18.5], "factors": [0.1, 1, 0.3], "between": "constant"},
    lambda epoch: BASE
    * [0.1, 1, 0.3][numpy.searchsorted([0, 3, 18.5], epoch, side="right") - 1],
    EPOCHS,
)

head = {
    "versions": {
        "timm": timm.__version__,
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    },
    "epochs": EPOCHS,
    "updates_per_epoch": UPDATES,
    "base_rate": BASE,
}
lines = ",\n".join(json.dumps(case) for case in cases)
text = json.dumps(head)[:-1] + ',\n"cases": [\n' + lines + "\n]}"
json.loads(text)
print(text)
