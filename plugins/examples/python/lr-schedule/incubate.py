"""What plugins in Python share: parameters, settings, faults, and the text of a crash."""

from functools import wraps
from importlib.util import find_spec

from componentize_py_types import Err
from wit_world.exports.description import PluginInfo
from wit_world.imports import log, types


def parameter(
    name, summary, kind, *, default=None, optional=False, minimum=None, maximum=None, choices=()
):
    """A parameter of an experiment; `kind` is boolean, integer, number, text, integers, numbers,
    or texts. Without a default it is required, unless it is optional."""
    if default is not None:
        default = getattr(types, f"SettingValue_{kind.capitalize()}")(default)
    return types.Parameter(
        name, summary, types.SettingKind[kind.upper()], default, optional, minimum, maximum, list(choices)
    )


def fault(code, message, hint=None):
    """Raise this to refuse a call; `code` is invalid-input, shape, element-type, budget,
    unsupported, or internal."""
    return Err(types.Fault(types.FaultCode[code.replace("-", "_").upper()], message, hint))


class Description:
    """A subclass says what the plugin is: name, version, summary, and parameters."""

    parameters = []

    def describe(self):
        return PluginInfo(self.name, self.version, self.summary, self.parameters)


class Plugin:
    """Keeps the settings by name, remembers nothing, and tells the host why it crashed."""

    def __init_subclass__(cls):
        for name, function in list(vars(cls).items()):
            if callable(function) and not name.startswith("_"):
                setattr(cls, name, reported(function))

    def configure(self, settings):
        self.settings = {setting.name: setting.value.value for setting in settings}

    def save(self):
        return b""

    def restore(self, state):
        if state:
            raise fault("invalid-input", f"a state of {len(state)} bytes, and nothing is remembered")


def reported(function):
    """The function, with a message to the host when it crashes: nothing else would be seen."""

    @wraps(function)
    def call(*arguments):
        try:
            return function(*arguments)
        except Err:
            raise
        except Exception as error:
            place = error.__traceback__
            while place.tb_next:
                place = place.tb_next
            file = place.tb_frame.f_code.co_filename.rsplit("/", 1)[-1]
            text = f"{type(error).__name__}: {error} ({file}:{place.tb_lineno})"
            log.write(log.Level.ERROR, text)
            raise

    return call


def give_operators(tensor):
    """Lets tensors be written as `a * b`, `a * 2`, `2 - a`, `-a`, `a ** 2`."""

    def either(with_tensor, with_number):
        return lambda self, other: (
            with_tensor(self, other) if isinstance(other, tensor) else with_number(self, float(other))
        )

    tensor.__add__ = tensor.__radd__ = either(tensor.add, lambda self, number: self.affine(1.0, number))
    tensor.__sub__ = either(tensor.sub, lambda self, number: self.affine(1.0, -number))
    tensor.__rsub__ = lambda self, number: self.affine(-1.0, float(number))
    tensor.__mul__ = tensor.__rmul__ = either(tensor.mul, lambda self, number: self.affine(number, 0.0))
    tensor.__truediv__ = either(tensor.div, lambda self, number: self.affine(1.0 / number, 0.0))
    tensor.__neg__ = lambda self: self.affine(-1.0, 0.0)
    tensor.__pow__ = lambda self, exponent: self.powf(float(exponent))


# Only loss hooks have tensors.
if find_spec("wit_world.imports.tensors"):
    from wit_world.imports.tensors import Tensor

    give_operators(Tensor)
