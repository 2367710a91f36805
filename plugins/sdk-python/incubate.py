"""What plugins in Python share: parameters, settings, faults, and the text of a crash.

`incubate plugin build` writes this file and manifest.py, which says what plugin.toml says."""

from functools import wraps
from importlib.util import find_spec

from componentize_py_types import Err
from manifest import NAME, SUMMARY, VERSION
from wit_world.exports.description import PluginInfo
from wit_world.imports import log, types


def parameter(
    name, summary, kind, *, default=None, optional=False, minimum=None, maximum=None, choices=()
):
    """A parameter of an experiment. `kind` is boolean, integer, number, text, integers, numbers, or
    texts. Without a default it is required, unless it is optional."""
    if default is not None:
        default = getattr(types, f"SettingValue_{kind.capitalize()}")(default)
    kind = types.SettingKind[kind.upper()]
    return types.Parameter(
        name, summary, kind, default, optional, minimum, maximum, list(choices)
    )


def describe(*parameters):
    """The class for the interface `description`."""

    class Description:
        def describe(self):
            return PluginInfo(NAME, VERSION, SUMMARY, list(parameters))

    return Description


def fault(code, message, hint=None):
    """Raise it to refuse a call. `code` is invalid-input, shape, element-type, budget, unsupported,
    or internal; `hint` says what to do, if anything is known."""
    return Err(types.Fault(types.FaultCode[code.replace("-", "_").upper()], message, hint))


class Plugin:
    """The base of the classes Loss, Schedule, and Partition. Their methods find the settings by name
    in `self.settings`. A plugin that remembers something has its own `save` and `restore`, and no
    `__init__`, which would run before every call."""

    def __new__(cls):
        # An object is made for every call; all of them are the same one.
        if "_only" not in vars(cls):
            cls._only = super().__new__(cls)
        return cls._only

    def __init_subclass__(cls):
        for name, method in list(vars(cls).items()):
            if callable(method) and not name.startswith("_"):
                setattr(cls, name, told(method))

    def configure(self, settings):
        self.settings = {setting.name: setting.value.value for setting in settings}

    def save(self):
        return b""

    def restore(self, state):
        if state:
            raise fault(
                "invalid-input", f"a state of {len(state)} bytes, and this plugin remembers nothing"
            )


def told(method):
    """The method; the host shows an error that is no fault, and where it was raised: the plugin
    crashes of it."""

    @wraps(method)
    def call(*values):
        try:
            return method(*values)
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
    """Lets tensors and numbers be combined as in `-(1 - a * b) ** 2 / c`."""

    def either(with_tensor, with_number):
        def combine(left, right):
            if isinstance(right, tensor):
                return with_tensor(left, right)
            return with_number(left, float(right))

        return combine

    tensor.__add__ = either(tensor.add, lambda a, number: a.affine(1.0, number))
    tensor.__sub__ = either(tensor.sub, lambda a, number: a.affine(1.0, -number))
    tensor.__mul__ = either(tensor.mul, lambda a, number: a.affine(number, 0.0))
    tensor.__truediv__ = either(tensor.div, lambda a, number: a.affine(1.0 / number, 0.0))
    tensor.__pow__ = lambda a, exponent: a.powf(float(exponent))
    tensor.__neg__ = lambda a: a.affine(-1.0, 0.0)
    tensor.__radd__ = tensor.__add__
    tensor.__rmul__ = tensor.__mul__
    tensor.__rsub__ = lambda a, number: a.affine(-1.0, float(number))


# Only loss hooks have tensors.
if find_spec("wit_world.imports.tensors"):
    from wit_world.imports.tensors import Tensor

    give_operators(Tensor)
